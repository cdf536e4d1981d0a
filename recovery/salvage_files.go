package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"mmjournal/segment"
)

// salvage is one call of [Salvage].
type salvage struct {
	fsys    segment.FS
	path    string
	id      segment.ID
	journal *segment.JournalFile // nil if it is missing, damaged, or another journal's
	noFile  string               // why it is nil
	found   *segment.JournalFile // what JOURNAL says, whichever journal's it is

	files []*relic          // every file under a segment's name, ascending by ordinal
	names map[uint64]*relic // the same by the ordinal of the name
	own   []*relic          // the segments of this journal, and the stand-in; ascending by ordinal
	live  []*relic          // those of them that were not dropped
	claim segment.Position  // the highest claim of what was not dropped

	out *Salvaged
}

// relic is a file under a segment's name, or the stand-in in JOURNAL.
type relic struct {
	name    string
	ordinal uint64            // that of the name
	id      *segment.Identity // nil if it is damaged, and of the stand-in
	bad     error             // why it is damaged
	size    int64             // how many bytes of the segment there are: too few if the file was cut
	state   SalvageState
	note    string

	link    segment.Link
	hasLink bool
	noLink  error
	succ    *relic         // the segment whose link names this one
	end     segment.Offset // where that link ends it

	survey    *segment.Survey
	stretches []segment.Stretch // what is admitted of the survey
	torn      bool              // and there is more, which no claim covers
	firstLive segment.Seq       // records of the segment before it had been dropped
	ceiling   segment.Seq       // records from here on are of another history; of the segment by:
	by        *relic
}

// list reads the directory, the identities of all segments and JOURNAL.
func (s *salvage) list() error {
	d := &directory{fsys: s.fsys, path: s.path}
	err := d.readJournalFile()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return err
	case err != nil:
		d.badFile = err
	case d.newer != nil:
		return d.newer
	}
	s.journal, s.found = d.journal, d.journal
	for _, text := range d.faults.Texts() {
		s.warn("%s: %s", segment.JournalName, text)
	}
	if s.journal == nil {
		s.noFile = fmt.Sprintf("%s is damaged: %v", segment.JournalName, d.badFile)
		if errors.Is(d.badFile, segment.ErrMissing) {
			s.noFile = segment.JournalName + " is missing"
		}
	}
	entries, err := s.fsys.ReadDir(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: %w", s.path, ErrNotExist, err)
	}
	if err != nil {
		return err
	}
	stranger := ""
	for _, e := range entries {
		ordinal, isSegment := segment.ParseFileName(e.Name())
		class := classify(e.Name())
		switch {
		case class == foreign, class == suspect, class == own && e.Type() != 0:
			stranger = e.Name()
			s.warn("%s is not a file of the journal", printable(stranger))
		case isSegment:
			if err := s.add(e.Name(), ordinal); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(s.files, func(a, b *relic) int { return cmp.Compare(a.ordinal, b.ordinal) })
	switch {
	case len(s.files) > 0 || !errors.Is(d.badFile, segment.ErrMissing):
		return nil
	case stranger != "":
		return fmt.Errorf("%s: %w: %q, and no journal", s.path, ErrNotJournal, stranger)
	}
	return fmt.Errorf("%s: %w", s.path, ErrNotExist)
}

func (s *salvage) warn(format string, args ...any) {
	s.out.Warnings = append(s.out.Warnings, fmt.Sprintf(format, args...))
}

// checkStill warns if a writer has changed the directory since it was listed.
func (s *salvage) checkStill() error {
	entries, err := s.fsys.ReadDir(s.path)
	if err != nil {
		return err
	}
	now := &directory{fsys: s.fsys, path: s.path}
	_ = now.readJournalFile() // what cannot be read was damage before
	same, n := true, 0
	for _, e := range entries {
		if o, ok := segment.ParseFileName(e.Name()); ok && e.Type() == 0 {
			n++
			same = same && s.names[o] != nil
		}
	}
	if now.journal != nil && s.found != nil {
		same = same && *now.journal == *s.found
	}
	if !same || n != len(s.files) {
		s.warn("files have changed while they were read: a writer is active, and what it changes " +
			"looks like damage; stop it, and salvage again")
	}
	return nil
}

// open opens a segment's file. It returns nil if that cannot be done for a reason that is the
// file's own: that is damage. A person who lacks a permission wants to know.
func (s *salvage) open(name string) (segment.File, error, error) {
	f, err := s.fsys.Open(filepath.Join(s.path, name), segment.ReadOnly)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, segment.ErrFileLocked) {
		return nil, nil, err
	}
	return f, err, nil
}

// add reads the identity of a file under a segment's name.
func (s *salvage) add(name string, ordinal uint64) error {
	r := &relic{name: name, ordinal: ordinal}
	f, bad, err := s.open(name)
	if err != nil {
		return err
	}
	if bad == nil {
		defer f.Close()
		bad = r.identify(f)
	}
	if errors.Is(bad, segment.ErrVersion) {
		return fmt.Errorf("%s: %w", filepath.Join(s.path, name), bad)
	}
	if r.bad = bad; bad != nil {
		r.state, r.note = SalvageBad, bad.Error()
	}
	s.files = append(s.files, r)
	s.names[ordinal] = r
	return nil
}

// identify reads the identity, and how long the file is.
func (r *relic) identify(f segment.File) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, int64(segment.FirstFrame)))
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	id, err := segment.DecodeIdentity(b)
	if err != nil {
		return err
	}
	r.id, r.size = &id, min(size, id.Size)
	switch {
	case size < id.Size:
		r.note = fmt.Sprintf("cut short: %d bytes of %d", size, id.Size)
	case size > id.Size:
		r.note = fmt.Sprintf("longer than it was made: %d bytes instead of %d", size, id.Size)
	}
	return nil
}

// short reports whether bytes of the segment are missing at the end of its file.
func (r *relic) short() bool { return r.id != nil && r.size < r.id.Size }

// choose decides which journal's records are wanted, and which files are its segments.
func (s *salvage) choose(id segment.ID) {
	s.id = id
	if s.id == (segment.ID{}) {
		s.id = s.chosen()
	}
	s.out.ID = s.id.String()
	if s.journal != nil && s.journal.Journal != s.id {
		s.noFile = fmt.Sprintf("%s is of another journal, %v", segment.JournalName,
			s.journal.Journal)
		s.journal = nil
	}
	if s.noFile != "" {
		s.warn("%s: a cut that only it noted, and the loss of the newest segments, cannot be seen",
			s.noFile)
	}
	for _, r := range s.files {
		switch {
		case r.id == nil:
		case r.id.Journal != s.id:
			r.state, r.note = SalvageForeign, fmt.Sprintf("a segment of the journal %v", r.id.Journal)
		case r.id.Ordinal != r.ordinal:
			r.state, r.note = SalvageCopy, s.misnamed(r)
		default:
			s.own = append(s.own, r)
		}
	}
}

// chosen returns the id of the journal that the directory is.
func (s *salvage) chosen() (id segment.ID) {
	if s.journal != nil {
		return s.journal.Journal
	}
	count := map[segment.ID]int{}
	for _, r := range s.files {
		if r.id != nil && r.id.Ordinal == r.ordinal {
			count[r.id.Journal]++
		}
	}
	most := 0
	for _, r := range s.files { // of equals, the lowest
		if r.id != nil && count[r.id.Journal] > most {
			id, most = r.id.Journal, count[r.id.Journal]
		}
	}
	return id
}

// misnamed says what a segment under a wrong name is.
func (s *salvage) misnamed(r *relic) string {
	o := r.id.Ordinal
	switch own := s.names[o]; {
	case own == nil:
		return fmt.Sprintf("segment %d under the name of %d: rename it, since %s is missing", o,
			r.ordinal, segment.FileName(o))
	case own.id == nil:
		return fmt.Sprintf("segment %d under the name of %d; %s is damaged", o, r.ordinal, own.name)
	case own.id.Journal == r.id.Journal && own.id.Salt == r.id.Salt && own.id.Ordinal == o:
		return fmt.Sprintf("a copy of segment %d under the name of %d", o, r.ordinal)
	}
	return fmt.Sprintf("a segment %d, but not the one in %s, under the name of %d", o,
		segment.FileName(o), r.ordinal)
}

// addStandIn adds the segment that JOURNAL stands in for. A file with its ordinal cannot be the
// journal's.
func (s *salvage) addStandIn() {
	j := s.journal
	if j == nil || j.StandInOrdinal == 0 {
		return
	}
	v := &relic{
		name: segment.JournalName, ordinal: j.StandInOrdinal, link: j.StandIn, hasLink: true,
	}
	s.own = slices.DeleteFunc(s.own, func(r *relic) bool {
		if r.ordinal == v.ordinal {
			r.drop(v)
		}
		return r.ordinal == v.ordinal
	})
	s.own = append(s.own, v)
	slices.SortFunc(s.own, func(a, b *relic) int { return cmp.Compare(a.ordinal, b.ordinal) })
}

// cause says what is wrong with the segment that has an ordinal and a salt; 0 for any salt. It
// returns nil if the segment is there.
func (s *salvage) cause(ordinal, salt uint64) *Cause {
	c := Cause{Segment: ordinal, File: segment.FileName(ordinal)}
	switch r := s.names[ordinal]; {
	case r == nil:
		c.Kind, c.Why = FileMissing, "the file is missing"
	case r.state == SalvageBad:
		c.Kind, c.Why = IdentityBad, "bad identity: "+r.note
	case r.state == SalvageForeign || r.state == SalvageCopy:
		c.Kind, c.Why = WrongFile, "the file under this name is "+r.note
	case salt != 0 && r.id.Salt != salt:
		c.Kind, c.Why = WrongFile, "the file under this name is another segment"
	default:
		return nil
	}
	return &c
}
