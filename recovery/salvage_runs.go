package recovery

import (
	"errors"
	"fmt"
	"math"

	"mmjournal/segment"
)

// builder makes runs and missing ranges from the segments that count, from the lowest up.
type builder struct {
	*salvage
	run  *SalvagedRun     // that goes on; nil if the next record begins one
	next segment.Seq      // of the record that is expected
	last *relic           // the segment before
	at   segment.Position // where what was read of it ends
	why  []Cause          // what is wrong there; nil if nothing is
	open bool             // a batch is not complete there
}

func (s *salvage) build() {
	b := &builder{salvage: s}
	for _, r := range s.live {
		if !r.counts() {
			continue
		}
		switch {
		case b.last == nil:
			b.bottom(r)
		case r.follows(b.last):
			b.follow(r)
		default:
			b.jump(r)
		}
		b.last = r
		b.segment(r)
	}
	b.top()
	for _, run := range s.out.Runs {
		s.out.Records += run.Count
	}
}

// gap notes that the records from the expected one up to before another are missing, as far as they
// are live and of this history.
func (b *builder) gap(r *relic, to segment.Seq, ack Acknowledged, causes ...Cause) {
	first, to := max(b.next, r.firstLive, 1), min(to, r.ceiling)
	if b.next = max(b.next, to); first < to {
		b.out.Missing = append(b.out.Missing, MissingRange{first, to - 1, ack, causes})
	}
}

// acknowledged says whether what begins at a position had been acknowledged.
func (b *builder) acknowledged(p segment.Position, otherwise Acknowledged) Acknowledged {
	if p.Less(b.claim) {
		return Yes
	}
	return otherwise
}

// bottom begins with the lowest segment that counts. The records before it are missing if a link
// says that there were any.
func (b *builder) bottom(r *relic) {
	switch {
	case !r.hasLink:
		b.next = max(r.firstLive, 1)
		b.noLink(r)
	case r.link.Pred == 0:
		b.next = min(r.link.Base, r.ceiling)
	default:
		b.gap(r, r.link.Base, b.acknowledged(start(r.link.Pred), Unknown), *b.lostPred(r))
	}
}

// start is the position of what a segment holds.
func start(ordinal uint64) segment.Position {
	return segment.Position{Ordinal: ordinal, Offset: segment.FirstFrame}
}

// lostPred says why the predecessor that a link names does not count.
func (b *builder) lostPred(r *relic) *Cause {
	if c := b.cause(r.link.Pred, r.link.PredSalt); c != nil {
		return c
	}
	// It is there, and was dropped: no writer makes such a link.
	return &Cause{WrongFile, r.link.Pred, segment.FileName(r.link.Pred), 0,
		"it was dropped, and " + r.name + " follows it all the same"}
}

// linkless says what is wrong with a segment that has no valid link.
func linkless(r *relic) string {
	if r.noLink == nil {
		return "the link is not valid"
	}
	return "the link is not valid: " + r.noLink.Error()
}

// noLink notes that a segment has no valid link.
func (b *builder) noLink(r *relic) {
	b.at = start(r.ordinal)
	b.why = append(b.why, Cause{LinkBad, r.ordinal, r.name, segment.FirstFrame, linkless(r)})
}

// follow goes on in the next segment of an unbroken chain.
func (b *builder) follow(r *relic) {
	if !r.hasLink {
		if seal := b.last.survey.Seal; b.next < seal.Next {
			b.gap(b.last, seal.Next, b.lostAt(No), b.why...)
		}
		b.why = nil
		b.noLink(r)
		return
	}
	if b.next < r.link.Base {
		why := b.why
		if why == nil {
			b.at = start(r.ordinal)
			why = []Cause{{FrameDamaged, r.ordinal, r.name, segment.FirstFrame,
				fmt.Sprintf("seq %d is expected, and the segment begins with %d", b.next, r.link.Base)}}
		}
		b.gap(b.last, r.link.Base, b.lostAt(No), why...)
	}
	b.why = nil
}

// lostAt says whether what is missing from the last position on had been acknowledged.
func (b *builder) lostAt(otherwise Acknowledged) Acknowledged {
	for i := range b.why {
		if b.why[i].Kind == CutShort {
			otherwise = Unknown // no crash cuts a file
		}
	}
	return b.acknowledged(b.at, otherwise)
}

// jump goes on in a segment that nothing leads to from the one before.
func (b *builder) jump(r *relic) {
	if b.run != nil {
		b.doubt(r)
	}
	b.run = nil
	causes := b.why
	b.why = nil
	if !r.hasLink {
		b.noLink(r)
		b.why = append(causes, b.why...)
		return
	}
	c := b.lostPred(r)
	ack := b.acknowledged(start(c.Segment), Unknown)
	if b.at.Less(b.claim) && causes != nil {
		ack = Yes
	}
	b.gap(b.last, r.link.Base, ack, append(causes, *c)...)
}

// doubt marks the runs since the last jump: a segment between them and r may have been a cut.
func (b *builder) doubt(r *relic) {
	why := r.name + " has no valid link"
	if r.hasLink {
		c := b.lostPred(r)
		why = c.String()
	}
	b.mark(why + "; it may have dropped them")
}

func (b *builder) mark(why string) {
	for i := len(b.out.Runs) - 1; i >= 0 && !b.out.Runs[i].MayBeDropped; i-- {
		b.out.Runs[i].MayBeDropped, b.out.Runs[i].Why = true, why
	}
}

// segment adds what a segment holds.
func (b *builder) segment(r *relic) {
	if r.hasLink {
		b.at = start(r.ordinal)
	}
	for i := range r.stretches {
		st := &r.stretches[i]
		whole := b.next >= st.First && !b.open
		if b.next < st.First {
			b.gap(r, st.First, b.lostAt(No), b.why...)
		}
		b.part(r, st, whole)
		b.next = max(b.next, min(st.Next, r.ceiling))
		b.at = segment.Position{Ordinal: r.ordinal, Offset: st.To}
		b.open = st.OpenAt > 0 && !r.endsAt(st)
		b.why = b.stopped(r, i)
	}
	b.next = max(b.next, min(r.link.Base, r.ceiling)) // if another history took all of it
}

// endsAt reports whether the segment's end, as a link says it, is that of a stretch: a truncation
// may have cut a batch there.
func (r *relic) endsAt(st *segment.Stretch) bool { return r.succ != nil && st.To == r.end }

// stopped says what is wrong behind the stretch with an index; nil if it is the end.
func (b *builder) stopped(r *relic, i int) []Cause {
	st, last := &r.stretches[i], i == len(r.stretches)-1
	switch {
	case r.endsAt(st), last && r.survey.Seal != nil:
		return nil
	case last && r.short():
		return []Cause{{CutShort, r.ordinal, r.name, st.To,
			fmt.Sprintf("the file has %d bytes of %d", r.size, r.id.Size)}}
	case last && r.succ == nil && r.survey.DataEnd <= st.To && errors.Is(st.Stop, segment.ErrHole) &&
		(b.claim.Ordinal != r.ordinal || b.claim.Offset <= st.To):
		return nil
	case st.Stop == nil:
		return nil // it is full of frames
	}
	return []Cause{{FrameDamaged, r.ordinal, r.name, st.To, st.Stop.Error()}}
}

// part adds the records of a stretch that are live and of this history to the runs.
func (b *builder) part(r *relic, st *segment.Stretch, whole bool) {
	first, next := max(st.First, r.firstLive), min(st.Next, r.ceiling)
	if first >= next {
		return
	}
	p := piece{r, *st, SeqRange{first, next - 1}}
	if b.run == nil || b.run.Last+1 != first {
		b.run = &SalvagedRun{
			First: first, fsys: b.fsys, path: b.path, Files: []string{}, BatchParts: []SeqRange{},
		}
		b.out.Runs = append(b.out.Runs, b.run)
	}
	run := b.run
	run.Last, run.Count = p.Last, run.Count+uint64(next-first)
	run.pieces = append(run.pieces, p)
	if n := len(run.Files); n == 0 || run.Files[n-1] != r.name {
		run.Files = append(run.Files, r.name)
	}
	run.SegmentSize = max(run.SegmentSize, r.id.Size)
	run.Bytes += int64(st.To - st.From)
	if st.HeadEnd > first && !whole {
		run.BatchParts = append(run.BatchParts, SeqRange{first, min(st.HeadEnd, next) - 1})
	}
	if st.OpenAt > 0 && !r.endsAt(st) && (whole || st.HeadEnd != st.Next) && st.Next == next {
		run.BatchParts = append(run.BatchParts, SeqRange{max(st.Open, first), next - 1})
	}
}

// top says what is missing above the last segment that counts, and whether that puts what is below
// in doubt.
func (b *builder) top() {
	ordinal, at := uint64(0), segment.Position{}
	if b.last != nil {
		ordinal, at = b.last.ordinal, b.at
	} else if j := b.journal; j != nil {
		b.next = j.FirstLive
	}
	if b.last != nil {
		b.next = max(b.next, b.last.firstLive)
	}
	causes, ack := b.lostEnd(), No
	if len(causes) > 0 {
		ack = b.lostAt(No)
	}
	above := b.lostAbove(ordinal)
	for i := range above {
		causes, ack = append(causes, above[i]), b.more(ack, start(above[i].Segment), Unknown)
	}
	if len(causes) == 0 && at.Less(b.claim) { // a claim lies above all there is
		causes, ack = append(causes, Cause{FrameDamaged, ordinal, segment.FileName(ordinal), at.Offset,
			segment.ErrHole.Error()}), Yes
	}
	causes = append(causes, b.tornAbove(ordinal)...)
	if len(causes) > 0 {
		b.out.Missing = append(b.out.Missing, MissingRange{max(b.next, 1), 0, ack, causes})
	}
	switch {
	case b.noFile != "":
		b.mark(b.noFile)
	case len(above) > 0:
		b.mark(above[0].String() + "; it may have dropped them")
	default:
		b.doubtNewest(ordinal)
	}
}

// doubtNewest marks the last runs if JOURNAL says that a segment above an ordinal is about to be a
// cut, and that has no link: a crash may have prevented it, or damage may have removed it.
func (b *builder) doubtNewest(ordinal uint64) {
	for _, r := range b.live {
		if b.journal != nil && r.ordinal > ordinal && r.ordinal <= b.journal.Newest {
			b.mark(fmt.Sprintf("%s has no link, and %s names it; it may have dropped them", r.name,
				segment.JournalName))
		}
	}
}

// more returns the worse of two answers.
func (b *builder) more(ack Acknowledged, p segment.Position, otherwise Acknowledged) Acknowledged {
	if ack == Yes || ack == Unknown && otherwise == No {
		return ack
	}
	return b.acknowledged(p, otherwise)
}

// lostEnd says what is damaged at the end of the highest segment that counts.
func (b *builder) lostEnd() (causes []Cause) {
	r := b.last
	switch {
	case r == nil:
		return nil
	case r.torn && !r.short() && !b.at.Less(b.claim):
		for _, c := range b.why {
			c.Kind = TornTail
			causes = append(causes, c)
		}
		return causes
	}
	return b.why
}

// lostAbove says which segments above an ordinal are missing or damaged, though something shows
// that they existed.
func (b *builder) lostAbove(ordinal uint64) (causes []Cause) {
	highest := b.claim.Ordinal
	if j := b.journal; j != nil {
		highest = max(highest, j.Newest)
	}
	if n := len(b.live); n > 0 {
		highest = max(highest, b.live[n-1].ordinal)
	}
	next := ordinal + 1
	if b.last == nil {
		next = max(highest, 1)
	} else if seal := b.last.survey.Seal; seal != nil {
		next = max(next, seal.Succ+1)
		if c := b.cause(seal.Succ, seal.SuccSalt); c != nil {
			causes = append(causes, *c)
		}
	}
	for ; next <= highest; next++ {
		if c := b.cause(next, 0); c != nil {
			causes = append(causes, *c)
			break // one is enough: which others there were is not known
		}
	}
	for _, r := range b.files {
		if r.ordinal > max(ordinal, highest) && r.state == SalvageBad {
			causes = append(causes, *b.cause(r.ordinal, 0))
		}
	}
	for _, r := range b.live {
		if r.ordinal > ordinal && b.lostLink(r) {
			causes = append(causes, Cause{LinkBad, r.ordinal, r.name, segment.FirstFrame,
				linkless(r)})
		}
	}
	return causes
}

// lostLink reports whether something says that a segment, of which nothing verifies, had a link.
func (b *builder) lostLink(r *relic) bool {
	return !r.counts() && start(r.ordinal).Less(b.claim)
}

// tornAbove returns the segments above an ordinal that have no valid link and hold something that
// no claim covers.
func (b *builder) tornAbove(ordinal uint64) (causes []Cause) {
	for _, r := range b.live {
		if r.ordinal > ordinal && !r.counts() && !r.survey.Unused() && !b.lostLink(r) {
			causes = append(causes, Cause{TornTail, r.ordinal, r.name, segment.FirstFrame,
				linkless(r)})
		}
	}
	return causes
}

// report says what was done with each file.
func (s *salvage) report() {
	for _, r := range s.live {
		if r.id == nil {
			continue
		}
		s.out.FirstLive = max(s.out.FirstLive, r.firstLive)
		switch {
		case r.counts():
			r.state = SalvageUsed
			if !r.hasLink {
				r.say(linkless(r))
			}
		case r.survey.Unused():
			r.state = SalvagePrepared
		default:
			r.state = SalvageTorn
		}
		if r.ceiling != math.MaxUint64 && r.survey != nil && len(r.stretches) > 0 {
			if last := r.stretches[len(r.stretches)-1].Next; last > r.ceiling {
				r.say(fmt.Sprintf("its records from %d on are of another history: %s begins with %d",
					r.ceiling, r.by.name, r.ceiling))
			}
		}
	}
	used := map[*relic]SeqRange{}
	for _, run := range s.out.Runs {
		for _, p := range run.pieces {
			if u, ok := used[p.file]; ok {
				p.First = u.First
			}
			used[p.file] = p.SeqRange
		}
	}
	for _, r := range s.files {
		f := SalvagedFile{File: r.name, Ordinal: r.ordinal, State: r.state, Note: r.note}
		if u, ok := used[r]; ok {
			f.First, f.Last = u.First, u.Last
		}
		if r.state == SalvageUsed && r.succ != nil {
			f.End = r.end
		}
		s.out.Files = append(s.out.Files, f)
	}
}
