package segment

import "runtime/debug"

// Gap is a damaged stretch of a segment that costs no live record: FORMAT.md §6.
type Gap struct {
	From, To Offset
	Err      error // why the frame at From is not valid
}

// leaveOut returns the items without those of pages that the gap is in.
func (g *Gap) leaveOut(items []indexItem) (left []indexItem) {
	for _, e := range items {
		if page := e.offset() / pageSize; page < g.From/pageSize || page > g.To/pageSize {
			left = append(left, e)
		}
	}
	return left
}

// withoutTimes returns a copy of the items in which no time is known.
func withoutTimes(items []indexItem) (timeless []indexItem) {
	for _, e := range items {
		timeless = append(timeless, indexItem{delta: e.delta, at: e.at})
	}
	return timeless
}

// Slack says which damage costs no live record: see [Segment.ScanPast].
type Slack struct {
	Claimed Offset // only damage below it is passed over; above it, frames may be torn
	Live    Seq    // records before this one have been dropped
	Next    Seq    // with a limit: the seq of the record that follows the segment
}

// ScanPast is Scan, but continues after damage that costs no live record. It passes over frames
// before the first live record, up to the position of that record. With a limit, it also passes
// over frames before the segment's first record, and frames between its last record and the limit.
// Gaps lists what it has passed over.
func (s *Segment) ScanPast(limit Offset, slack Slack) (sc *Scan, err error) {
	defer s.catch("scan", debug.SetPanicOnFault(true), &err)
	return scanBytes(s.m.b, &s.Identity, limit, allOf(s.m.b), &slack), nil
}

// pass goes on after the frame at which the scan stopped, if the damage there costs no live record.
func (w *scanner) pass(slack *Slack) bool {
	if !w.HasLink || w.at >= slack.Claimed || w.Newer() {
		return false
	}
	gap := Gap{From: w.at, Err: w.Stop}
	switch {
	case w.next <= slack.Live:
		to := w.limit
		if to == 0 {
			to = Offset(len(w.b))
		}
		at, kind, ok := findFrame(w.b, w.at+8, to, w.id.Salt, slack.Live, false)
		if !ok {
			return false
		}
		gap.To, w.at, w.next = at, at, slack.Live
		w.pending, w.open = 0, kind == KindBatch || kind == KindBatchEnd
		w.Records = uint64(slack.Live - w.Link.Base)
		w.End, w.Next = at, slack.Live
	case w.limit > 0 && w.next == slack.Next && !w.open:
		gap.To, w.at = w.limit, w.limit
	case w.limit > 0 && w.next == w.Link.Base && !w.open:
		at, _, ok := findFrame(w.b, w.at+8, w.limit, w.id.Salt, w.next, false)
		if !ok {
			return false
		}
		gap.To, w.at = at, at
	default:
		return false
	}
	w.Gaps = append(w.Gaps, gap)
	w.Stop = nil
	return true
}

// findFrame returns the first valid frame with that seq, but no link, that starts at a multiple of
// 8 in from:to; if record is true, only a record's. It verifies not much more bytes than b has:
// a hostile file could make it verify the same ones again and again.
func findFrame(
	b []byte, from, to Offset, salt uint64, seq Seq, record bool,
) (at Offset, kind Kind, ok bool) {
	budget := 2 * int64(len(b))
	for at := max(from, FirstFrame); at <= to-HeaderSize && budget > 0; at += 8 {
		if Seq(le.Uint64(b[at+8:])>>8) != seq {
			continue
		}
		kind := Kind(b[at+8])
		if kind == KindLink || record && !kind.IsRecord() {
			continue
		}
		h, _, err := readFrame(b, at, salt)
		if err == nil {
			return at, kind, true
		}
		budget -= int64(h.length)
	}
	return 0, 0, false
}
