package recovery

import (
	"errors"
	"math"
	"slices"

	"mmjournal/segment"
)

// refuse notes that promised data is damaged or missing, and finds out what is left below. from is
// the ordinal of the candidate that was tried last, or 0.
func (s *search) refuse(fact *bool, brk *breakage, from uint64) error {
	*fact = true
	s.newest, s.chain = nil, nil
	s.note(brk)
	if lost := s.maybeLinked(from); lost > brk.pos.Ordinal {
		brk = s.missing(lost)
		s.note(brk)
	}
	chain, brk, err := s.left(brk)
	if err != nil || s.refused() { // newer software has written there
		return err
	}
	s.chain, s.err = chain, brk.err
	return nil
}

// refuseUnlinked is refuse for a segment above the newest one that is missing or has a bad
// identity: if it has never been linked, the whole chain is left.
func (s *search) refuseUnlinked(fact *bool, brk *breakage, from uint64) error {
	if s.newest == nil || s.maybeLinked(from) > 0 {
		return s.refuse(fact, brk, from)
	}
	*fact = true
	s.note(brk)
	brk.err.Seq, s.firstLive = s.newest.scan.Next, s.newest.scan.FirstLive
	s.newest.state = Active
	s.newest, s.err = nil, brk.err
	return nil
}

// note remembers a place where promised data is damaged or missing, once.
func (s *search) note(brk *breakage) {
	for _, b := range s.breaks {
		if b.pos == brk.pos {
			return
		}
	}
	s.breaks = append(s.breaks, brk)
}

// brokenIn reports whether promised data in a segment is damaged.
func (s *search) brokenIn(f *file) bool {
	return slices.ContainsFunc(s.breaks, func(b *breakage) bool { return b.pos.Ordinal == f.ordinal })
}

// maybeLinked returns the highest ordinal above from of a segment that is missing, or has a bad
// identity, and may have been linked to any place: what it cut off is not known. 0: there is none.
// JOURNAL names such a segment, or a higher one, before it is linked.
func (s *search) maybeLinked(from uint64) (lost uint64) {
	most := uint64(math.MaxUint64)
	if j := s.d.journal; j != nil {
		most = max(j.Newest, j.Claim.Ordinal)
		if f := s.d.byOrdinal(most); most > from && (f == nil || f.seg == nil) {
			return most
		}
	}
	last := from
	for _, f := range s.d.files {
		if f.ordinal <= from || f.stray != "" && f.ordinal > most {
			continue
		}
		if gap := min(f.ordinal-1, most); from > 0 && gap > last {
			lost = gap
		}
		if f.seg == nil && f.ordinal <= most {
			lost = f.ordinal
		}
		last = f.ordinal
	}
	return lost
}

// left returns the segments that hold what is left of a corrupt journal, newest first: what is on
// the chain for certain, below a break and below every one that is met further back. It notes
// those, and from where on each affects records, and returns the last one: what is left ends there.
func (s *search) left(brk *breakage) ([]*file, *breakage, error) {
	for {
		f, err := s.below(brk)
		if f == nil || err != nil || s.refused() {
			return nil, brk, err
		}
		chain, next, err := s.descend(f, s.firstLive)
		if next == nil || err != nil || s.refused() {
			return chain, brk, err
		}
		s.note(next)
		brk = next
	}
}

// below returns the segment that begins what is left below a break, with its scan: the damaged one,
// if its link is valid, or the one whose last frame is a seal that names it. Without one, any cut
// may have been lost, and nothing is certain.
func (s *search) below(brk *breakage) (*file, error) {
	f := s.d.byOrdinal(brk.pos.Ordinal)
	if f != nil && f.seg != nil && !f.standIn && brk.pos.Offset > segment.FirstFrame {
		if err := s.scanBelow(f, brk.pos.Offset); err != nil {
			return nil, err
		}
		return f, s.begin(f)
	}
	f, err := s.sealing(brk.pos)
	if f != nil {
		err = s.begin(f)
		brk.err.Seq = max(f.scan.Next, s.firstLive)
	} else if brk.linked {
		brk.err.Seq = s.firstLive
	}
	return f, err
}

// begin takes what a segment in which something is left says about dropped records, and what is
// damaged in it and costs none.
func (s *search) begin(f *file) error {
	f.gaps, f.index = f.scan.Gaps, nil
	s.firstLive = max(s.firstLive, f.scan.FirstLive)
	if j := s.d.journal; j != nil && f.ordinal <= j.Claim.Ordinal {
		s.firstLive = max(s.firstLive, j.FirstLive)
	}
	if f.scan.Seal == nil {
		return nil
	}
	err := f.seg.CheckIndex(f.scan)
	if !errors.Is(err, segment.ErrIndex) {
		return err
	}
	f.index = err
	return nil
}

// scanBelow reads the frames below damage, those of a batch that it interrupts included.
func (s *search) scanBelow(f *file, end segment.Offset) (err error) {
	if f.scan, err = f.seg.Scan(end); err != nil || f.scan.Stop == nil {
		return err
	}
	f.scan, err = f.seg.ScanPast(end, segment.Slack{Claimed: end, Live: s.firstLive})
	return err
}

// sealing returns the segment whose last frame is a seal that names the one at a position; nil if
// there is none.
func (s *search) sealing(at segment.Position) (*file, error) {
	named := s.d.byOrdinal(at.Ordinal)
	for i := len(s.d.files) - 1; i >= 0; i-- {
		f := s.d.files[i]
		if f.ordinal >= at.Ordinal || f.seg == nil || f.standIn {
			continue
		}
		sc, err := f.seg.Scan(0)
		if err == nil && sc.Stop != nil && sc.StopNext <= s.firstLive && s.claim.Ordinal > f.ordinal {
			sc, err = f.seg.ScanPast(0,
				segment.Slack{Claimed: segment.Offset(f.seg.Size), Live: s.firstLive})
		}
		if err != nil {
			return nil, err
		}
		if sc.Seal == nil || sc.Seal.Succ != at.Ordinal ||
			at.Offset > 0 && sc.Seal.SuccSalt != named.seg.Salt {
			continue // a lost link may have cut it anywhere
		}
		f.scan, f.state = sc, Sealed
		return f, nil
	}
	return nil, nil
}
