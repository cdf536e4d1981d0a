package recovery

import (
	"errors"
	"fmt"
	"path/filepath"

	"mmjournal/segment"
)

// search finds the newest segment of a directory and the chain behind it: segment/FORMAT.md §6.
type search struct {
	d     *directory
	full  bool // read every frame of the chain, claimed or not
	claim segment.Position

	newest    *file
	chain     []*file     // newest first
	firstLive segment.Seq // what the highest segment with a link says
	facts     facts
	err       error // why the label is one that refuses
}

// breakage is where a chain cannot be walked on.
type breakage struct {
	pos segment.Position
	err *segment.CorruptError
}

// run fills in newest, chain, facts and err. It fails only with an I/O error or a fault.
func (s *search) run() error {
	if s.d.newer != nil {
		s.facts.newer, s.err = true, s.d.newer
		return nil
	}
	if s.err = s.d.strangers(); s.err != nil {
		s.facts.foreign = true
		return nil
	}
	if j := s.d.journal; j != nil {
		s.claim = j.Claim
	}
	if s.full {
		s.readAhead()
	}
	if err := s.candidates(); err != nil || s.refused() {
		return err
	}
	if s.newest == nil && s.claim.Ordinal > 0 {
		s.unfounded()
		return nil
	}
	s.above()
	if s.refused() { // the newest segment is not the newest: what it ends with may be dead
		var c *segment.CorruptError
		errors.As(s.err, &c)
		s.newest, s.chain = nil, s.readable(segment.Position{Ordinal: c.Segment})
		return nil
	}
	s.checkEnd()
	return nil
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
				s.damaged(f, segment.FirstFrame, 0, fmt.Errorf("link: %w", f.scan.Stop))
				return nil
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
		s.unfounded()
		return false, nil
	}
	if s.claim.Ordinal == f.ordinal && f.scan.End < s.claim.Offset {
		s.damaged(f, f.scan.StopAt, f.scan.Next, f.scan.Stop)
		return false, nil
	}
	chain, brk, err := s.walk(f)
	switch {
	case err != nil || s.refused():
		return false, err
	case brk != nil && brk.pos.Less(s.claim):
		s.facts.brokenChain, s.err = true, brk.err
		s.firstLive = f.scan.FirstLive
		s.chain = s.readable(brk.pos)
		return false, nil
	case brk != nil:
		f.why = "its predecessor was not durable: " + brk.err.Error()
		return false, nil
	}
	s.newest, s.chain = f, chain
	s.facts.found = true
	return true, nil
}

// damaged notes that a claim lies behind the end of a candidate, or of a segment that should be
// one.
func (s *search) damaged(f *file, at segment.Offset, seq segment.Seq, why error) {
	if why == nil {
		why = segment.ErrHole
	}
	s.facts.damagedEnd = true
	s.err = s.corrupt(f, at, seq, why)
	s.firstLive = f.scan.Tail.FirstLive
	s.chain = s.readable(segment.Position{Ordinal: f.ordinal, Offset: at})
}

func (s *search) corrupt(
	f *file, at segment.Offset, seq segment.Seq, why error,
) *segment.CorruptError {
	return &segment.CorruptError{
		Path:    filepath.Join(s.d.path, f.name),
		Segment: f.ordinal, Offset: at, Seq: seq, Err: why,
	}
}

// scanOpen reads the frames of a candidate, and what is behind them; with full, what the file
// system says is a hole, too.
func (s *search) scanOpen(f *file) (err error) {
	if s.full {
		if err := f.release(); err != nil {
			return err
		}
	}
	if f.scan, err = f.seg.Scan(0); err != nil {
		return err
	}
	return s.learn(f)
}

// learn takes the claims of a scan, and notices frames of newer software.
func (s *search) learn(f *file) error {
	if f.scan.Newer() {
		s.facts.newer = true
		s.err = fmt.Errorf("%s at offset %d: %w", f.seg.Path(), f.scan.StopAt, f.scan.Stop)
	}
	if p := f.scan.Promised(); s.claim.Less(p) {
		s.claim = p
	}
	return nil
}

// walk follows the links back from a candidate to the segment that holds the first live record. It
// returns the chain, newest first, or where it breaks.
func (s *search) walk(f *file) (chain []*file, brk *breakage, err error) {
	firstLive := f.scan.FirstLive
	link := f.scan.Link
	chain = []*file{f}
	for link.Base > firstLive && link.Pred != 0 {
		var p *file
		if p, brk = s.predecessor(&link); brk != nil {
			return chain, brk, nil
		}
		if link, brk, err = s.member(p, &link); err != nil || brk != nil || s.refused() {
			return chain, brk, err
		}
		chain = append(chain, p)
	}
	return chain, nil, nil
}

// predecessor returns the file that a link names.
func (s *search) predecessor(l *segment.Link) (*file, *breakage) {
	p := s.d.byOrdinal(l.Pred)
	why := error(nil)
	switch {
	case p == nil:
		p, why = &file{ordinal: l.Pred, name: segment.FileName(l.Pred)}, segment.ErrMissing
	case p.seg == nil:
		why = reason(p.bad)
	case p.seg.Salt != l.PredSalt || int64(l.PredEnd) > p.seg.Size:
		why = segment.ErrForeign
	default:
		return p, nil
	}
	return nil, &breakage{segment.Position{Ordinal: l.Pred}, s.corrupt(p, 0, 0, why)}
}

// reason strips the place from a corruption error.
func reason(err error) error {
	var c *segment.CorruptError
	if errors.As(err, &c) {
		return c.Err
	}
	return err
}

// member checks that p is what the link of its successor says, as far as nobody has vouched for it
// yet, and returns its own link.
func (s *search) member(p *file, l *segment.Link) (segment.Link, *breakage, error) {
	at := func(off segment.Offset, seq segment.Seq, why error) *breakage {
		return &breakage{segment.Position{Ordinal: p.ordinal, Offset: off}, s.corrupt(p, off, seq, why)}
	}
	p.index = nil
	end := segment.Position{Ordinal: p.ordinal, Offset: l.PredEnd}
	if !s.full && !s.claim.Less(end) {
		return s.vouched(p, l, at)
	}
	var err error
	if p.scan, err = p.scanTo(l.PredEnd); err != nil {
		return segment.Link{}, nil, err
	}
	p.index = p.linkedIndex
	if err := s.learn(p); err != nil || s.refused() {
		return segment.Link{}, nil, err
	}
	switch {
	case p.scan.Stop != nil:
		return segment.Link{}, at(p.scan.StopAt, p.scan.Next, p.scan.Stop), nil
	case p.scan.Next != l.Base:
		return segment.Link{}, at(segment.FirstFrame, p.scan.Link.Base, segment.ErrSeq), nil
	}
	p.state = Sealed
	if p.scan.Seal == nil {
		p.state = Linked
	}
	return p.scan.Link, nil, nil
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
func (s *search) vouched(
	p *file, l *segment.Link, at func(segment.Offset, segment.Seq, error) *breakage,
) (segment.Link, *breakage, error) {
	link, ok, err := p.seg.ReadLink()
	if err != nil {
		return link, nil, err
	}
	if !ok || !l.Plausible(&link) {
		return link, at(segment.FirstFrame, 0, fmt.Errorf("link: %w", segment.ErrChecksum)), nil
	}
	seal, err := p.seg.ReadSeal(l.PredEnd)
	if err != nil {
		return link, nil, err
	}
	p.state, p.scan = Linked, nil
	if seal != nil {
		p.state = Sealed
	}
	p.seg.AdoptUnread(link, l.PredEnd, l.Base, seal)
	return link, nil, nil
}

// above looks at the segments above the newest one.
func (s *search) above() {
	last := uint64(0)
	if s.newest != nil {
		last = s.newest.ordinal
		if seal := s.newest.scan.Seal; seal != nil {
			s.successor(seal)
		}
	}
	s.badAbove(last)
	for _, f := range s.d.files {
		if f.ordinal <= last {
			continue
		}
		if s.newest != nil && f.ordinal != last+1 && !s.refused() {
			s.facts.gap = true
			s.err = s.lost(last + 1)
		}
		last = f.ordinal
		s.facts.above = s.facts.above || f.seg != nil && !f.scan.Unused()
	}
	s.lostNewest()
}

// lostNewest looks for the segment that the file JOURNAL speaks of.
func (s *search) lostNewest() {
	j := s.d.journal
	if j == nil || s.refused() {
		return
	}
	want := max(j.Newest, j.Claim.Ordinal)
	if want > 0 && (s.newest == nil || want > s.newest.ordinal) && s.d.byOrdinal(want) == nil {
		s.facts.lostNewest, s.err = true, s.lost(want)
	}
}

// unfounded refuses a claim about a segment that is no candidate: it is missing, or its identity is
// bad. (Those without a valid link were met before.)
func (s *search) unfounded() {
	f := s.d.byOrdinal(s.claim.Ordinal)
	switch {
	case f == nil:
		s.err = s.lost(s.claim.Ordinal)
	case f.seg == nil:
		s.err = f.bad
	default:
		s.err = s.corrupt(f, segment.FirstFrame, 0, segment.ErrFrame)
	}
	s.facts.damagedEnd = true
	s.chain = s.readable(segment.Position{Ordinal: s.claim.Ordinal})
}

// badAbove looks for damaged identities above the newest segment.
func (s *search) badAbove(newest uint64) {
	for _, f := range s.d.files {
		if f.ordinal > newest && f.seg == nil && !s.refused() {
			s.facts.badIdentity, s.err = true, f.bad
		}
	}
}

// successor checks that the segment that the newest one's seal names is there.
func (s *search) successor(seal *segment.Seal) {
	f := s.d.byOrdinal(seal.Succ)
	switch {
	case f == nil:
		s.err = s.lost(seal.Succ)
	case f.seg == nil:
		s.err = f.bad
	case f.seg.Salt != seal.SuccSalt:
		s.err = s.corrupt(f, 0, seal.Next, segment.ErrForeign)
	default:
		return
	}
	s.facts.lostSuccessor = true
}

func (s *search) lost(ordinal uint64) error {
	seq := segment.Seq(0)
	if s.newest != nil {
		seq = s.newest.scan.Next
	}
	f := &file{ordinal: ordinal, name: segment.FileName(ordinal)}
	return s.corrupt(f, 0, seq, segment.ErrMissing)
}

// checkEnd looks at how the newest segment ends, and whether the first live seq makes sense.
func (s *search) checkEnd() {
	if s.newest == nil {
		return
	}
	sc := s.newest.scan
	s.facts.cleanMark = sc.Clean
	s.facts.tailBytes = sc.Tail.Bytes > 0
	s.facts.recycled = s.newest.seg.Recycled
	oldest := s.chain[len(s.chain)-1]
	link := oldest.seg.Link
	if oldest.scan != nil {
		link = oldest.scan.Link
	}
	if (sc.FirstLive > sc.Next || sc.FirstLive < link.Base) && !s.refused() {
		s.facts.badFirstLive = true
		s.err = s.corrupt(s.newest, segment.FirstFrame, sc.FirstLive,
			fmt.Errorf("%w: first live seq %d of %d to %d",
				segment.ErrSeq, sc.FirstLive, link.Base, sc.Next))
	}
}

// readable returns the segments that precede damage, newest first, as far as it is certain that
// they are on the chain. It serves people who want what is left.
func (s *search) readable(damage segment.Position) []*file {
	f := s.d.byOrdinal(damage.Ordinal)
	if damage.Offset >= segment.FirstFrame && f.scan != nil && f.scan.HasLink {
		return s.readableFrom(f, damage.Offset) // the damage is behind its link
	}
	for i := len(s.d.files) - 1; i >= 0; i-- {
		f := s.d.files[i]
		if f.ordinal >= damage.Ordinal || f.seg == nil {
			continue
		}
		sc, err := f.seg.Scan(0)
		if err != nil || sc.Seal == nil || sc.Seal.Succ != damage.Ordinal {
			continue // a lost link may have cut it anywhere
		}
		f.scan = sc
		return s.readableFrom(f, sc.End)
	}
	return nil
}

// readableFrom follows the links from what f holds below end. What is above a break is not certain:
// it returns what precedes the oldest one.
func (s *search) readableFrom(f *file, end segment.Offset) []*file {
	if end < f.scan.End {
		sc, err := f.seg.Scan(max(end, f.scan.LinkEnd))
		if err != nil {
			return nil
		}
		f.scan = sc
	}
	s.firstLive = max(s.firstLive, f.scan.FirstLive)
	if j := s.d.journal; j != nil && f.ordinal <= j.Claim.Ordinal {
		s.firstLive = max(s.firstLive, j.FirstLive)
	}
	chain := []*file{f}
	for l := f.scan.Link; l.Pred != 0 && l.Base > s.firstLive; {
		p, brk := s.predecessor(&l)
		if brk != nil {
			return s.readable(brk.pos)
		}
		link, ok, err := p.seg.ReadLink()
		if !ok || err != nil || !l.Plausible(&link) {
			return s.readable(segment.Position{Ordinal: p.ordinal})
		}
		p.scan, p.index = nil, nil
		p.seg.AdoptUnread(link, l.PredEnd, l.Base, nil)
		chain = append(chain, p)
		l = link
	}
	return chain
}
