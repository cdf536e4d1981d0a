package recovery

import (
	"fmt"
	"path/filepath"

	"mmjournal/segment"
)

// search finds the newest segment of a directory and the chain before it, and, of a corrupt
// journal, what is left: segment/FORMAT.md §6.
type search struct {
	d     *directory
	full  bool // read every frame of the chain, claimed or not
	claim segment.Position

	newest *file
	chain  []*file // newest first
	facts  facts

	// Of a corrupt journal: breaks are the places where promised data is damaged, in the order in
	// which they are met, and err the error of the lowest one.
	breaks    []*breakage
	firstLive segment.Seq // what the highest segment with a link says
	err       error       // why the label is one that refuses
}

// breakage is where a chain cannot be walked on.
type breakage struct {
	pos    segment.Position
	err    *segment.CorruptError
	linked bool // a link of the chain leads there: all live records below it may be affected
}

// run fills in newest, chain, facts and err. It fails only with an I/O error or a fault.
func (s *search) run() error {
	if s.d.newer != nil {
		s.facts.newer, s.err = true, s.d.newer
		return nil
	}
	if j := s.d.journal; j != nil {
		s.claim = j.Claim
	}
	stranger, err := s.d.strangers()
	if err != nil {
		return err
	}
	if stranger != nil {
		s.facts.foreign, s.err = true, stranger.bad
		s.note(s.breakAt(stranger, 0, 0, reason(stranger.bad)))
		return nil
	}
	if s.full {
		s.readAhead()
	}
	if err := s.candidates(); err != nil || s.refused() {
		return err
	}
	if s.newest == nil && s.claim.Ordinal > 0 {
		return s.unfounded(0)
	}
	if err := s.above(); err != nil || s.refused() {
		return err
	}
	return s.checkEnd()
}

func (s *search) refused() bool { return s.err != nil }

// candidates tries segments in descending order of ordinal until one can be the newest.
func (s *search) candidates() error {
	for i := len(s.d.files) - 1; i >= 0; i-- {
		f := s.d.files[i]
		if f.seg == nil {
			continue
		}
		if err := s.scanOpen(f); err != nil || s.refused() {
			return err
		}
		if !f.scan.HasLink {
			if s.claim.Ordinal == f.ordinal {
				s.firstLive = f.scan.Tail.FirstLive
				return s.damaged(f, segment.FirstFrame, fmt.Errorf("link: %w", f.scan.Stop))
			}
			continue
		}
		ok, err := s.try(f)
		if err != nil || ok || s.refused() {
			return err
		}
	}
	return nil
}

// try walks the chain from a candidate. It returns whether the candidate is the newest segment.
func (s *search) try(f *file) (ok bool, err error) {
	if s.claim.Ordinal > f.ordinal {
		return false, s.unfounded(f.ordinal)
	}
	if s.claim.Ordinal == f.ordinal && f.scan.End < s.claim.Offset {
		s.firstLive = max(f.scan.FirstLive, f.scan.Tail.FirstLive)
		passed, err := s.pass(f)
		if err != nil || s.refused() {
			return false, err
		}
		if !passed {
			return false, s.damaged(f, f.scan.StopAt, f.scan.Stop)
		}
	}
	chain, brk, err := s.descend(f, f.scan.FirstLive)
	switch {
	case err != nil || s.refused():
		return false, err
	case brk != nil && brk.pos.Less(s.claim):
		s.firstLive = f.scan.FirstLive
		return false, s.refuse(&s.facts.brokenChain, brk, f.ordinal)
	case brk != nil:
		f.why = "its predecessor was not durable: " + brk.err.Error()
		return false, nil
	}
	s.newest, s.chain = f, chain
	s.facts.found = true
	return true, nil
}

// pass reads a candidate past damage below the claim that costs no live record, and reports whether
// that is all there is.
func (s *search) pass(f *file) (passed bool, err error) {
	if f.standIn {
		return false, nil
	}
	sc, err := f.seg.ScanPast(0, segment.Slack{Claimed: s.claim.Offset, Live: s.firstLive})
	if err != nil || len(sc.Gaps) == 0 {
		return false, err
	}
	f.scan, f.gaps = sc, sc.Gaps
	return sc.End >= s.claim.Offset && sc.FirstLive >= s.firstLive, s.learn(f)
}

// damaged refuses a claim that lies after the end of a candidate, or of a segment that should be
// one.
func (s *search) damaged(f *file, at segment.Offset, why error) error {
	if why == nil {
		why = segment.ErrHole
	}
	seq := segment.Seq(0)
	if at > segment.FirstFrame {
		seq = f.scan.StopNext
	}
	return s.refuse(&s.facts.damagedEnd, s.breakAt(f, at, seq, why), f.ordinal)
}

func (s *search) corrupt(
	f *file, at segment.Offset, seq segment.Seq, why error,
) *segment.CorruptError {
	return &segment.CorruptError{
		Path:    filepath.Join(s.d.path, f.name),
		Segment: f.ordinal, Offset: at, Seq: seq, Err: why,
	}
}

func (s *search) breakAt(f *file, at segment.Offset, seq segment.Seq, why error) *breakage {
	return &breakage{
		pos: segment.Position{Ordinal: f.ordinal, Offset: at}, err: s.corrupt(f, at, seq, why),
	}
}

// scanOpen reads the frames of a candidate, and what follows them; with full, what the file system
// says is a hole, too.
func (s *search) scanOpen(f *file) (err error) {
	if f.standIn {
		return s.learn(f)
	}
	if s.full {
		if err := f.release(); err != nil {
			return err
		}
	}
	f.gaps, f.index = nil, nil
	if f.scan, err = f.seg.Scan(0); err != nil {
		return err
	}
	return s.learn(f)
}

// learn takes the claims of a scan, and notices frames of newer software.
func (s *search) learn(f *file) error {
	if f.scan.Newer() {
		s.newer(f, f.scan.StopAt, f.scan.Stop)
	}
	if p := f.scan.Promised(); s.claim.Less(p) {
		s.claim = p
	}
	return nil
}

// newer notes a frame that newer software has written.
func (s *search) newer(f *file, at segment.Offset, why error) {
	s.facts.newer = true
	s.err = fmt.Errorf("%s at offset %d: %w", f.seg.Path(), at, why)
}

// unfounded refuses a claim about a segment that is no candidate: it is missing, or its identity is
// bad. (Those without a valid link were met before.) from is the highest candidate, or 0.
func (s *search) unfounded(from uint64) error {
	brk := s.missing(s.claim.Ordinal)
	if f := s.d.byOrdinal(s.claim.Ordinal); f != nil && f.seg != nil {
		brk = s.breakAt(f, segment.FirstFrame, 0, segment.ErrFrame)
	}
	return s.refuse(&s.facts.damagedEnd, brk, from)
}

// missing is the break where a segment is not there, or has a bad identity.
func (s *search) missing(ordinal uint64) *breakage {
	if f := s.d.byOrdinal(ordinal); f != nil && f.seg == nil {
		return s.breakAt(f, 0, 0, reason(f.bad))
	}
	f := &file{ordinal: ordinal, name: segment.FileName(ordinal)}
	return s.breakAt(f, 0, 0, segment.ErrMissing)
}

// above checks the segments above the newest one. Of what is wrong, the first in this order is
// reported: the successor that the newest one's seal names; a bad identity; an ordinal that is left
// out; the segment that JOURNAL names.
func (s *search) above() error {
	from := uint64(0)
	if s.newest != nil {
		from = s.newest.ordinal
	}
	for _, f := range s.d.files {
		s.facts.above = s.facts.above || f.ordinal > from && f.seg != nil && !f.scan.Unused()
	}
	if brk := s.successor(); brk != nil {
		return s.refuse(&s.facts.lostSuccessor, brk, from)
	}
	if fact, brk := s.badAbove(from); brk != nil {
		return s.refuseUnlinked(fact, brk, from)
	}
	if brk := s.lostNewest(); brk != nil {
		return s.refuse(&s.facts.lostNewest, brk, from)
	}
	return nil
}

// successor checks that the segment that the newest one's seal names is there.
func (s *search) successor() *breakage {
	if s.newest == nil || s.newest.scan.Seal == nil {
		return nil
	}
	seal := s.newest.scan.Seal
	f := s.d.byOrdinal(seal.Succ)
	switch {
	case f == nil || f.seg == nil:
		return s.missing(seal.Succ)
	case f.seg.Salt != seal.SuccSalt:
		return s.breakAt(f, 0, 0, segment.ErrForeign)
	}
	return nil
}

// badAbove looks for damaged identities above the newest segment, and for ordinals that are left
// out there.
func (s *search) badAbove(newest uint64) (*bool, *breakage) {
	gap := uint64(0)
	last := newest
	for _, f := range s.d.files {
		if f.ordinal <= newest || s.stray(f) {
			continue
		}
		if f.seg == nil {
			return &s.facts.badIdentity, s.missing(f.ordinal)
		}
		if f.ordinal != last+1 && gap == 0 && newest > 0 {
			gap = last + 1
		}
		last = f.ordinal
	}
	if gap > 0 {
		return &s.facts.gap, s.missing(gap)
	}
	return nil, nil
}

// stray reports whether a file above the newest segment is for certain no part of the journal: the
// file JOURNAL would name it, or a higher one, if it had been linked.
func (s *search) stray(f *file) bool {
	j := s.d.journal
	return f.stray != "" && j != nil && f.ordinal > max(j.Newest, j.Claim.Ordinal)
}

// lostNewest looks for the segment that the file JOURNAL names.
func (s *search) lostNewest() *breakage {
	j := s.d.journal
	if j == nil {
		return nil
	}
	want := max(j.Newest, j.Claim.Ordinal)
	if want > 0 && (s.newest == nil || want > s.newest.ordinal) && s.d.byOrdinal(want) == nil {
		return s.missing(want)
	}
	return nil
}

// checkEnd notes how the newest segment ends, and checks that the first live seq makes sense.
func (s *search) checkEnd() error {
	if s.newest == nil {
		return nil
	}
	sc := s.newest.scan
	s.facts.cleanMark = sc.Clean
	s.facts.tailBytes = sc.Tail.Bytes > 0
	s.facts.recycled = s.newest.seg.Recycled
	s.facts.gaps = len(sc.Gaps) > 0
	s.facts.standIn = s.newest.standIn
	oldest := s.chain[len(s.chain)-1]
	link := oldest.seg.Link
	if oldest.scan != nil {
		link = oldest.scan.Link
	}
	if sc.FirstLive >= link.Base && sc.FirstLive <= sc.Next {
		return nil
	}
	s.firstLive = sc.FirstLive
	return s.refuse(&s.facts.badFirstLive, s.breakAt(s.newest, sc.LiveAt, min(sc.FirstLive, sc.Next),
		fmt.Errorf("%w: first live seq %d of %d to %d",
			segment.ErrSeq, sc.FirstLive, link.Base, sc.Next)), s.newest.ordinal)
}
