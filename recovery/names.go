package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mmjournal/segment"
)

// class says what a name in a journal's directory means.
type class int

const (
	own     class = iota // a file of the journal
	ignored              // hidden files, and what file systems make
	suspect              // could be meant for a file of the journal
	foreign              // anything else
)

// classify returns what a name means.
func classify(name string) class {
	base := strings.TrimSuffix(name, segment.TempSuffix)
	_, isSegment := segment.ParseFileName(base)
	switch {
	case name == "lost+found" || name[0] == '.':
		return ignored
	case isSegment, base == segment.JournalName, base == segment.LockName:
		return own
	case strings.Contains(strings.ToLower(name), ".seg"),
		strings.HasPrefix(name, segment.JournalName+"."), onlyDigits(base):
		return suspect
	}
	return foreign
}

// onlyDigits reports whether a name is that of a segment without its extension.
func onlyDigits(name string) bool {
	_, isSegment := segment.ParseFileName(name + ".seg")
	return isSegment
}

// CheckNames returns ErrNotJournal if nothing may be written to the directory. In a directory with
// a journal, that is so if a name could be meant for a file of the journal, or if a name of the
// journal leads to a symbolic link, a directory or the like. In a directory without a journal, it
// is so if there is any file.
func CheckNames(fsys segment.FS, path string) error {
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return err
	}
	refused, what, stray, journal := "", "", "", false
	for _, e := range entries {
		name := e.Name()
		c := classify(name)
		_, isSegment := segment.ParseFileName(name)
		switch {
		case c == suspect:
			refused, what = name, ""
		case c == own && e.Type() != 0:
			refused, what = name, kindOf(e.Type())
		case c == foreign:
			stray = name
		case isSegment, name == segment.JournalName:
			journal = true
		}
	}
	switch {
	case refused != "":
		return notJournal(path, refused, what)
	case stray != "" && !journal:
		return fmt.Errorf("%s: %w: %q, and no journal; use another directory", path, ErrNotJournal, stray)
	}
	return nil
}

// notJournal says which file forbids writing to a directory, and what it is.
func notJournal(path, name, what string) error {
	if what != "" {
		what = ", " + what
	}
	return fmt.Errorf("%s: %w: %q%s; move it away", path, ErrNotJournal, name, what)
}

// kindOf says what is not a regular file.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeDir:
		return "a directory"
	}
	return "no regular file"
}

// printable returns a name as it is, or quoted if it has characters that a terminal may obey.
func printable(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

// strangers finds the segments that are not of this journal. They are no part of it, unless it
// misses a segment of that name. If they all are of another journal than the file JOURNAL, or if
// there is no JOURNAL to tell which ones are strangers, that is corruption: it returns the first.
func (d *directory) strangers() (first *file, err error) {
	var id segment.ID
	var who string
	mine := 0
	if d.journal != nil {
		id, who = d.journal.Journal, segment.JournalName
	}
	var strange []*file
	for _, f := range d.files {
		if f.seg == nil {
			continue
		}
		if who == "" {
			id, who = f.seg.Journal, f.name
		}
		if f.seg.Journal == id {
			mine++
		} else {
			strange = append(strange, f)
		}
	}
	for _, f := range strange {
		f.bad = &segment.CorruptError{
			Path: f.seg.Path(), Segment: f.ordinal,
			Err: fmt.Errorf("%w: its journal is %v, that of %s is %v; move it away",
				segment.ErrForeign, f.seg.Journal, who, id),
		}
		j := d.journal
		if j == nil || mine == 0 && max(j.Newest, j.Claim.Ordinal) > 0 {
			return f, nil
		}
		f.is, f.size = f.seg.Identity, f.seg.Size
		err = errors.Join(err, f.seg.Drop())
		f.seg = nil
	}
	for _, f := range d.files {
		if f.is.Ordinal > 0 {
			f.stray = d.misplaced(f, id)
		}
	}
	return nil, err
}

// forbids returns ErrNotJournal for a file that forbids to write to the journal.
func (d *directory) forbids() error {
	for _, name := range d.suspect {
		return notJournal(d.path, name, "")
	}
	for _, f := range d.files {
		if f.stray != "" {
			return notJournal(d.path, f.name, f.stray)
		}
	}
	return nil
}

// misplaced says what a file is that is a good segment, but not the one that its name says.
func (d *directory) misplaced(f *file, id segment.ID) string {
	original := d.byOrdinal(f.is.Ordinal)
	switch {
	case f.is.Journal != id:
		return fmt.Sprintf("segment %d of another journal, %v", f.is.Ordinal, f.is.Journal)
	case original != nil && original.seg != nil && original.seg.Salt == f.is.Salt:
		return fmt.Sprintf("a copy of segment %d", f.is.Ordinal)
	}
	return fmt.Sprintf("segment %d under another name", f.is.Ordinal)
}
