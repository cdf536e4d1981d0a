package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mmjournal/segment"
)

var (
	// ErrNotExist: the directory does not exist, or contains no journal.
	ErrNotExist = errors.New("no journal here")
	// ErrNotJournal: the directory contains files that do not belong to a journal.
	ErrNotJournal = errors.New("the directory has files that do not belong to a journal")
)

// file is one segment file of a directory.
type file struct {
	ordinal uint64
	name    string
	seg     *segment.Segment // nil if the identity is bad
	bad     error            // why it is bad
	size    int64            // of a bad file
	is      segment.Identity // of a file that is a good segment, but not the one that its name says
	stray   string           // what it is then, or if it is no regular file

	scan *segment.Scan // nil if the frames were not read
	// linked is the scan up to linkedEnd, where a link says that the segment ends, and linkedIndex
	// what is wrong with the index behind that.
	linked      *segment.Scan
	linkedEnd   segment.Offset
	linkedIndex error
	standIn     bool // it has no file: JOURNAL holds its link
	state       SegmentState
	why         string        // for a person, in the report
	index       error         // what is wrong with the sparse index
	gaps        []segment.Gap // damage that costs no record
}

// directory is what a journal's directory lists.
type directory struct {
	fsys    segment.FS
	path    string
	files   []*file // ascending by ordinal
	temps   []string
	foreign []string             // names that cannot be the journal's
	suspect []string             // names that could be the journal's, or no regular files
	journal *segment.JournalFile // nil if missing or bad
	badFile error                // why the file JOURNAL is bad; ErrMissing if it is missing
	faults  segment.JournalFaults
	// shadowed are files in whose place the stand-in is.
	shadowed []string
	newer    error // a file that newer software made
	// readOnly is a file to whose journal only newer software may write. It matches ErrVersion.
	readOnly error
}

// OpenDir opens a journal's directory for reading. If it does not exist, OpenDir returns
// ErrNotExist.
func OpenDir(path string) (*segment.Directory, error) {
	d, err := segment.OpenDir(path, segment.DirOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNotExist, err)
	}
	return d, err
}

// read lists a directory and opens its segments for reading.
func read(fsys segment.FS, path string) (*directory, error) {
	d := &directory{fsys: fsys, path: path}
	if err := d.list(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) list() error {
	if err := d.readJournalFile(); err != nil {
		return err
	}
	entries, err := d.fsys.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: %w", d.path, ErrNotExist, err)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := d.add(e); err != nil {
			return err
		}
	}
	d.addStandIn()
	slices.SortFunc(d.files, func(a, b *file) int {
		return cmp.Compare(a.ordinal, b.ordinal)
	})
	return nil
}

// addStandIn adds the segment that the file JOURNAL has a link of. It takes the place of a file
// with its ordinal, which cannot be the journal's.
func (d *directory) addStandIn() {
	if d.journal == nil || d.journal.StandInOrdinal == 0 {
		return
	}
	j := d.journal
	d.files = slices.DeleteFunc(d.files, func(f *file) bool {
		if f.ordinal != j.StandInOrdinal {
			return false
		}
		if f.seg != nil {
			f.seg.Drop()
		}
		d.shadowed = append(d.shadowed, f.name)
		return true
	})
	path := filepath.Join(d.path, segment.JournalName)
	d.files = append(d.files, &file{
		ordinal: j.StandInOrdinal, name: segment.JournalName, standIn: true,
		seg:  segment.NewStandIn(path, j.Journal, j.StandInOrdinal, j.StandIn),
		scan: segment.StandInScan(j.StandIn),
	})
}

func (d *directory) add(e fs.DirEntry) error {
	name := e.Name()
	ordinal, isSegment := segment.ParseFileName(name)
	switch class := classify(name); {
	case class == ignored:
	case class == foreign:
		d.foreign = append(d.foreign, name)
	case isSegment:
		return d.open(ordinal, e)
	case class == suspect, e.Type() != 0:
		d.suspect = append(d.suspect, name)
	case strings.HasSuffix(name, segment.TempSuffix):
		d.temps = append(d.temps, name)
	}
	return nil
}

// open opens one segment. Damage is a fact, an I/O error an error.
func (d *directory) open(ordinal uint64, e fs.DirEntry) error {
	f := &file{ordinal: ordinal, name: e.Name()}
	path := filepath.Join(d.path, f.name)
	var err error
	if e.Type() != 0 {
		err = fmt.Errorf("%w: it is %s", segment.ErrNotRegular, kindOf(e.Type()))
	} else {
		f.seg, err = segment.Open(d.fsys, path, segment.ReadOnly)
	}
	switch {
	case errors.Is(err, segment.ErrVersion):
		d.newer = err
		f.bad = err
	case errors.Is(err, segment.ErrNotRegular):
		f.bad = &segment.CorruptError{Path: path, Segment: ordinal, Err: err}
		f.stray = "no regular file"
		if e.Type() != 0 {
			f.stray = kindOf(e.Type())
		}
	case errors.Is(err, segment.ErrCorrupt):
		f.bad = err
		if err := d.examine(f); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if f.seg != nil && f.seg.ReadOnly {
		d.onlyRead(f.seg.Path())
	}
	d.files = append(d.files, f)
	if n := len(d.files) - keptOpen; n > 0 {
		return d.files[n-1].release()
	}
	return nil
}

// examine finds out what else is known about a file that is not a good segment.
func (d *directory) examine(f *file) error {
	file, err := d.fsys.Open(filepath.Join(d.path, f.name), segment.ReadOnly)
	if err != nil {
		return err
	}
	defer file.Close()
	if f.size, err = file.Size(); err != nil || f.size < int64(segment.FirstFrame) {
		return err
	}
	b := make([]byte, segment.FirstFrame)
	if _, err := file.ReadAt(b, 0); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(d.path, f.name), err)
	}
	if id, err := segment.DecodeIdentity(b); err == nil && id.Ordinal != f.ordinal {
		f.is = id
	}
	return nil
}

// keptOpen is how many of the newest segments keep their descriptors while they are searched for
// the end: through them the file system tells where nothing was written yet. A journal may have
// more segments than a process descriptors.
const keptOpen = 4

// release closes the file of a segment; its mapping stays.
func (f *file) release() error {
	if f.seg == nil {
		return nil
	}
	return f.seg.Release()
}

// release closes what open has kept.
func (d *directory) release() error {
	var errs error
	for _, f := range d.files {
		errs = errors.Join(errs, f.release())
	}
	return errs
}

func (d *directory) readJournalFile() error {
	path := filepath.Join(d.path, segment.JournalName)
	f, err := d.fsys.Open(path, segment.ReadOnly)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.badFile = segment.ErrMissing
		return nil
	case errors.Is(err, segment.ErrNotRegular):
		d.badFile = segment.ErrNotRegular
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, segment.JournalFileSize+1))
	if _, err := f.ReadAt(b, 0); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	j, faults, err := segment.DecodeJournalFile(b)
	switch {
	case errors.Is(err, segment.ErrVersion):
		d.newer = fmt.Errorf("%s: %w", path, err)
	case err != nil:
		d.badFile = err
	default:
		d.journal, d.faults = &j, faults
		if j.ReadOnly {
			d.onlyRead(path)
		}
	}
	return nil
}

// onlyRead notes that newer software made a file with a feature that this software may not write
// beside.
func (d *directory) onlyRead(path string) {
	if d.readOnly == nil {
		d.readOnly = fmt.Errorf("%s: %w: it can be read, but not written to", path,
			segment.ErrVersion)
	}
}

func (d *directory) close() {
	for _, f := range d.files {
		if f.seg != nil {
			f.seg.Drop()
			f.seg = nil
		}
	}
}

// byOrdinal returns the file with that ordinal, or nil.
func (d *directory) byOrdinal(ordinal uint64) *file {
	i, ok := slices.BinarySearchFunc(d.files, ordinal, func(f *file, o uint64) int {
		return cmp.Compare(f.ordinal, o)
	})
	if !ok {
		return nil
	}
	return d.files[i]
}

// id returns the journal's id: that in JOURNAL, or else that of the segments; zero if nothing says
// it.
func (d *directory) id() (id segment.ID) {
	if d.journal != nil {
		return d.journal.Journal
	}
	for _, f := range d.files {
		if f.seg != nil {
			return f.seg.Journal
		}
	}
	return id
}

// highest returns the highest ordinal that a file has.
func (d *directory) highest() uint64 {
	if len(d.files) == 0 {
		return 0
	}
	return d.files[len(d.files)-1].ordinal
}
