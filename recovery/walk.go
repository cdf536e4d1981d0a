package recovery

import (
	"errors"
	"fmt"

	"mmjournal/segment"
)

// descend follows the links back from a segment to the one that holds the record live. It returns
// the chain, newest first, or where it breaks.
func (s *search) descend(f *file, live segment.Seq) (chain []*file, brk *breakage, err error) {
	chain = []*file{f}
	for link := f.scan.Link; link.Base > live && link.Pred != 0; {
		p, brk := s.predecessor(&link)
		if brk == nil {
			link, brk, err = s.member(p, &link, live)
		}
		if brk != nil {
			brk.linked = true
		}
		if err != nil || brk != nil || s.refused() {
			return nil, brk, err
		}
		chain = append(chain, p)
	}
	return chain, nil, nil
}

// predecessor returns the file that a link names.
func (s *search) predecessor(l *segment.Link) (*file, *breakage) {
	p := s.d.byOrdinal(l.Pred)
	switch {
	case p == nil || p.seg == nil:
		return nil, s.missing(l.Pred)
	case p.seg.Salt != l.PredSalt || int64(l.PredEnd) > p.seg.Size:
		return nil, s.breakAt(p, 0, 0, segment.ErrForeign)
	}
	return p, nil
}

// reason strips the place from a corruption error.
func reason(err error) error {
	var c *segment.CorruptError
	if errors.As(err, &c) {
		return c.Err
	}
	return err
}

// member checks that p is what the link of its successor says, as far as no claim covers it yet,
// and returns its own link. Records before live have been dropped.
func (s *search) member(
	p *file, l *segment.Link, live segment.Seq,
) (segment.Link, *breakage, error) {
	p.index = nil
	end := segment.Position{Ordinal: p.ordinal, Offset: l.PredEnd}
	if !s.full && !s.claim.Less(end) {
		return s.vouched(p, l)
	}
	var err error
	if p.scan, err = p.scanTo(l.PredEnd); err != nil {
		return segment.Link{}, nil, err
	}
	p.index = p.linkedIndex
	if err := s.learn(p); err != nil || s.refused() {
		return segment.Link{}, nil, err
	}
	if p.scan.Stop != nil {
		if err := s.passMember(p, l, live); err != nil {
			return segment.Link{}, nil, err
		}
	}
	switch {
	case p.scan.Stop != nil:
		return segment.Link{}, s.breakAt(p, p.scan.StopAt, max(p.scan.StopNext, live), p.scan.Stop), nil
	case p.scan.Next != l.Base:
		return segment.Link{}, s.breakAt(p, segment.FirstFrame, 0, segment.ErrSeq), nil
	}
	p.gaps = p.scan.Gaps
	p.setState(l, p.scan.Seal)
	return p.scan.Link, nil, nil
}

// passMember reads a segment past damage that costs no live record.
func (s *search) passMember(p *file, l *segment.Link, live segment.Seq) error {
	slack := segment.Slack{Claimed: l.PredEnd, Live: live, Next: l.Base}
	if s.claim.Less(segment.Position{Ordinal: p.ordinal, Offset: l.PredEnd}) {
		if s.claim.Ordinal != p.ordinal {
			return nil
		}
		slack.Claimed = s.claim.Offset
	}
	sc, err := p.seg.ScanPast(l.PredEnd, slack)
	if err != nil {
		return err
	}
	p.scan = sc
	if sc.Seal != nil && sc.Stop == nil {
		err = p.seg.CheckIndex(sc)
		if err != nil && !errors.Is(err, segment.ErrIndex) {
			return err
		}
		p.index = err
	}
	return s.learn(p)
}

// setState notes what a member of the chain is: a roll links to a sealed segment.
func (f *file) setState(l *segment.Link, seal *segment.Seal) {
	f.state = Linked
	if seal != nil || l.Reason == segment.ReasonRoll {
		f.state = Sealed
	}
}

// scanTo reads the frames up to the end that a link names, and checks the index behind a seal
// there. It reads them once, however many candidates come by.
func (f *file) scanTo(end segment.Offset) (*segment.Scan, error) {
	if f.linked != nil && f.linkedEnd == end {
		return f.linked, nil
	}
	sc, err := f.seg.Scan(end)
	if err != nil {
		return nil, err
	}
	f.linkedIndex = nil
	if sc.Seal != nil && sc.Stop == nil {
		err := f.seg.CheckIndex(sc)
		if err != nil && !errors.Is(err, segment.ErrIndex) {
			return nil, err
		}
		f.linkedIndex = err
	}
	f.linked, f.linkedEnd = sc, end
	return sc, nil
}

// vouched reads only the link and the seal of a segment that a claim covers wholly.
func (s *search) vouched(p *file, l *segment.Link) (segment.Link, *breakage, error) {
	link, ok, err := p.seg.ReadLink()
	if err != nil {
		return link, nil, err
	}
	if !ok || !l.Plausible(&link) {
		return link, s.breakAt(p, segment.FirstFrame, 0, fmt.Errorf("link: %w", segment.ErrChecksum)), nil
	}
	seal, err := p.seg.ReadSeal(l.PredEnd)
	if err != nil {
		return link, nil, err
	}
	p.scan, p.gaps = nil, nil
	if seal == nil && l.Reason == segment.ReasonRoll {
		if err := s.lostSeal(p, l.PredEnd); err != nil || s.refused() {
			return link, nil, err
		}
	}
	p.setState(l, seal)
	p.seg.AdoptUnread(link, l.PredEnd, l.Base, seal)
	return link, nil, nil
}

// lostSeal notes that the seal of a segment is damaged, which costs no record.
func (s *search) lostSeal(p *file, end segment.Offset) error {
	at := end - segment.SealSize
	why, err := p.seg.CheckFrame(at)
	switch {
	case err != nil:
		return err
	case errors.Is(why, segment.ErrVersion):
		s.newer(p, at, why)
	case why == nil:
		why = segment.ErrFrame
	}
	p.gaps = []segment.Gap{{From: at, To: end, Err: why}}
	return nil
}
