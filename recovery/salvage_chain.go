package recovery

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"mmjournal/segment"
)

// links reads the links of this journal's segments and applies them.
func (s *salvage) links() error {
	for _, r := range s.own {
		f, bad, err := s.open(r.name)
		if err != nil {
			return err
		}
		if bad != nil { // it could be opened a moment ago
			return bad
		}
		r.link, r.noLink = segment.ReadLinkAt(f, r.size, r.id)
		f.Close()
		if errors.Is(r.noLink, segment.ErrVersion) {
			return s.newer(r, r.noLink)
		}
		r.hasLink = r.noLink == nil
	}
	s.addStandIn()
	s.apply()
	return nil
}

func (s *salvage) newer(r *relic, err error) error {
	return fmt.Errorf("%s: %w", filepath.Join(s.path, r.name), err)
}

// apply applies the valid links from the highest ordinal down. What is dropped has no say.
func (s *salvage) apply() {
	for i := len(s.own) - 1; i >= 0; i-- {
		r := s.own[i]
		if r.state == SalvageDropped {
			continue
		}
		s.live = append(s.live, r)
		if !r.hasLink {
			continue
		}
		for k := i - 1; k >= 0 && s.own[k].ordinal > r.link.Pred; k-- {
			s.own[k].drop(r)
		}
		p := s.named(r)
		if p != nil {
			p.succ, p.end = r, r.link.PredEnd
		}
	}
	slices.Reverse(s.live)
}

// named returns the segment that a link names; nil if it is not there.
func (s *salvage) named(r *relic) *relic {
	p := s.names[r.link.Pred]
	if p == nil || p.state != "" || p.id == nil || p.id.Salt != r.link.PredSalt {
		return nil
	}
	return p
}

// drop notes that a link has dropped the segment.
func (r *relic) drop(by *relic) {
	if r.state == "" {
		r.state = SalvageDropped
		r.say(fmt.Sprintf("%s dropped it: %v", by.name, by.link.Reason))
	}
}

// say adds to the note.
func (r *relic) say(text string) {
	if r.note != "" {
		r.note += "; "
	}
	r.note += text
}

// surveys reads what was not dropped, and finds the highest claim.
func (s *salvage) surveys() error {
	if s.journal != nil {
		s.learn(s.journal.Claim)
	}
	for _, r := range s.live {
		if r.id == nil { // the stand-in
			s.learn(r.link.Claim)
			r.survey = &segment.Survey{FirstLive: r.link.FirstLive}
			continue
		}
		f, bad, err := s.open(r.name)
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		limit := r.size
		if r.succ != nil {
			limit = min(limit, int64(r.end))
		}
		r.survey, err = segment.TakeSurvey(f, limit, r.id)
		f.Close()
		if err != nil {
			return s.newer(r, err)
		}
		if r.survey.GaveUp > 0 {
			s.warn("%s: nothing was searched from offset %d on: it is full of bytes that look like frames",
				r.name, r.survey.GaveUp)
		}
		s.learn(r.survey.Claim)
	}
	return nil
}

func (s *salvage) learn(claim segment.Position) {
	if s.claim.Less(claim) {
		s.claim = claim
	}
}

// admit decides which frames of the segments count, and which seqs.
func (s *salvage) admit() {
	firstLive, ceiling, by := segment.Seq(0), segment.Seq(math.MaxUint64), (*relic)(nil)
	least := firstSaid{seq: math.MaxUint64}
	for i, r := range slices.Backward(s.live) {
		r.admit(s.claimed(r))
		if !r.counts() {
			continue
		}
		if at := s.reset(r, least); at != "" {
			s.drop(s.live[:i+1], at)
			s.live = s.live[i+1:]
			return
		}
		firstLive = max(firstLive, r.survey.FirstLive)
		r.firstLive, r.ceiling, r.by = firstLive, ceiling, by
		if j := s.journal; j != nil && r.ordinal <= j.Claim.Ordinal {
			r.firstLive = max(firstLive, j.FirstLive)
		}
		base := r.link.Base
		if r.hasLink {
			least = least.or(firstSaid{r.link.FirstLive, r.name})
		} else if base = ceiling; len(r.stretches) > 0 {
			base = r.stretches[0].First
		}
		if base < ceiling {
			ceiling, by = base, r
		}
	}
}

// firstSaid is a first live seq, and which file says it.
type firstSaid struct {
	seq  segment.Seq
	name string
}

func (f firstSaid) or(g firstSaid) firstSaid {
	if g.seq < f.seq {
		return g
	}
	return f
}

// reset returns the file that says that the journal was reset after a segment was written: only a
// reset makes the first live seq lower.
func (s *salvage) reset(r *relic, least firstSaid) string {
	if j := s.journal; j != nil && j.Claim.Ordinal > r.ordinal && j.FirstLive > 0 {
		least = least.or(firstSaid{j.FirstLive, segment.JournalName})
	}
	if least.seq < r.survey.FirstLive {
		return least.name
	}
	return ""
}

// drop notes that a reset has dropped segments, as the first live seq in a file shows.
func (s *salvage) drop(segs []*relic, name string) {
	for _, r := range segs {
		r.state = SalvageDropped
		r.say(fmt.Sprintf("the journal was reset after it, since %s says a lower first live seq", name))
	}
}

// claimed returns up to which offset the journal is known to have had frames in a segment.
func (s *salvage) claimed(r *relic) segment.Offset {
	switch {
	case r.succ != nil:
		return r.end
	case r.survey.Seal != nil, r.ordinal < s.claim.Ordinal:
		return math.MaxInt64
	case r.ordinal == s.claim.Ordinal:
		return s.claim.Offset
	}
	return 0
}

// admit takes the stretches that count: the one that begins with the link, and those that begin in
// what is claimed, or where that ends.
func (r *relic) admit(claimed segment.Offset) {
	for _, st := range r.survey.Stretches {
		if st.From > segment.FirstFrame && st.From > claimed {
			r.torn = true
			return
		}
		if st.OpenAt >= max(claimed, segment.FirstFrame) && !r.endsAt(&st) {
			// No batch is there that was not acknowledged as a whole.
			st.To, st.Next, st.OpenAt, st.Open = st.OpenAt, st.Open, 0, 0
			st.HeadEnd = min(st.HeadEnd, st.Next)
			r.torn = true
		}
		r.stretches = append(r.stretches, st)
	}
	at := segment.FirstFrame
	if n := len(r.stretches); n > 0 {
		at = r.stretches[n-1].To
	}
	r.torn = r.torn || r.survey.Seal == nil && r.survey.DataEnd > at && at >= claimed
}

// counts reports whether a segment that was not dropped is a part of the journal: by its link, or,
// if that is damaged, by what is claimed in it.
func (r *relic) counts() bool { return r.hasLink || len(r.stretches) > 0 || r.succ != nil }

// follows reports whether r is known to be the segment after p: by its link, or, if that is
// damaged, by p's seal.
func (r *relic) follows(p *relic) bool {
	if r.hasLink {
		return p.succ == r
	}
	seal := p.survey.Seal
	return seal != nil && seal.Succ == r.ordinal && seal.SuccSalt == r.id.Salt
}
