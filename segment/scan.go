package segment

import (
	"encoding/binary"
	"errors"
	"runtime/debug"
	"slices"
	"time"
)

// Scan is the result of scanning a segment's frames: how far they are valid, and what they claim.
type Scan struct {
	Link    Link
	HasLink bool // the first frame is a valid link; without it there is nothing else but Stop and Tail

	LinkEnd Offset // where the link's frame ends

	End       Offset // where the valid frames end; an incomplete batch at the end is not counted
	Next      Seq    // of the record after the last one
	Records   uint64
	Claim     Position // the highest claim among the valid frames
	FirstLive Seq      // what the last link or mark says
	LiveAt    Offset   // of that link or mark
	Oldest    time.Time
	Newest    time.Time
	Clean     bool  // the last frame is a closing mark
	Seal      *Seal // the last frame, if it is a seal

	// Stop says why the frame at StopAt is not valid: ErrHole if nothing is written there; nil if
	// the scan reached its limit, or a seal. StopAt is End, or after End in an incomplete batch.
	// StopNext is the seq that the record at StopAt must have; records of that batch count.
	Stop     error
	StopAt   Offset
	StopNext Seq
	Tail     Tail // what follows End; empty if Stop is nil

	// Gaps are damaged stretches that cost no live record; only ScanPast goes on after one.
	Gaps []Gap

	items []indexItem
}

// Tail describes the bytes after the valid frames of a segment.
type Tail struct {
	Bytes     int64    // from the end of the valid frames to the last byte written after it
	Claim     Position // the highest claim of a mark found there
	FirstLive Seq      // what the last mark found there says; 0 without one
}

// Unused reports whether the segment is only prepared: it has no link and no other bytes.
func (s *Scan) Unused() bool { return !s.HasLink && s.Tail.Bytes == 0 }

// Promised returns the highest claim in the segment, including marks after its end.
func (s *Scan) Promised() Position {
	if s.Claim.Less(s.Tail.Claim) {
		return s.Tail.Claim
	}
	return s.Claim
}

// Scan reads the segment's frames. A limit above 0 is the end that the successor's link names: the
// frames must reach exactly to it, and Stop says if they do not. With limit 0, Scan reads to the
// end of the valid frames and checks the bytes after them. It allocates only the sparse index, at
// most 1/256 of the segment's size, and takes time linear in the size. The only error is a
// *FaultError.
func (s *Segment) Scan(limit Offset) (sc *Scan, err error) {
	defer s.catch("scan", debug.SetPanicOnFault(true), &err)
	data := allOf(s.m.b)
	if limit == 0 {
		data = s.data()
	}
	return scanBytes(s.m.b, &s.Identity, limit, data, nil), nil
}

// scanner walks frames and keeps the rules on their order (FORMAT.md §4, conditions 6 to 8).
type scanner struct {
	b  []byte
	id *Identity
	Scan
	at      Offset // of the next frame
	limit   Offset // where the frames must end; 0: open
	next    Seq    // of the next record, those of an open batch included
	open    bool   // inside a batch
	pending uint64 // records of the open batch
	idx     index
}

// scanBytes scans b. Without a slack it passes over no damage.
func scanBytes(b []byte, id *Identity, limit Offset, data []extent, slack *Slack) *Scan {
	w := scanner{b: b, id: id, at: FirstFrame, limit: limit}
	w.End = FirstFrame
	if len(data) == 0 || data[0].from > FirstFrame {
		w.Stop = ErrHole
	}
	w.frames(slack)
	if w.Stop != nil {
		w.tail(data)
	}
	items := w.idx.all()
	for len(items) > 0 && items[len(items)-1].offset() >= w.End {
		items = items[:len(items)-1]
	}
	w.items = slices.Clone(items)
	return &w.Scan
}

// frames reads frames up to a seal, the limit, or the first one that is not valid.
func (w *scanner) frames(slack *Slack) {
	for {
		for w.Stop == nil && w.Seal == nil && (w.limit == 0 || w.at < w.limit) {
			w.Stop = w.step()
		}
		if w.Stop == nil || slack == nil || !w.pass(slack) {
			break
		}
	}
	if w.limit > 0 && w.Stop == nil {
		if w.at == w.limit {
			w.complete() // a link may end a batch
		} else {
			w.Stop = ErrFrame // a seal stands before the limit
		}
	}
	w.StopAt, w.StopNext = w.at, w.next
}

// tail finds out what follows the valid frames. If a live writer has completed the frame at which
// the scan stopped, what follows was not there a moment ago and is no torn tail. But what its marks
// claim counts, as far as the scan has come: a scan before this one may have found the same claims,
// and what is known to be durable must not go back.
func (w *scanner) tail(data []extent) {
	if w.id.Recycled {
		w.Tail = lookBehindRecycled(w.b, w.id, w.End)
	} else {
		w.Tail = lookBehind(w.b, w.id, w.End, data)
	}
	if w.Tail.Bytes == 0 || !errors.Is(w.Stop, ErrHole) && !errors.Is(w.Stop, ErrChecksum) {
		return
	}
	if _, _, err := readFrame(w.b, w.at, w.id.Salt); err == nil {
		claim, end := w.Tail.Claim, Position{w.id.Ordinal, w.End}
		if end.Less(claim) {
			claim = end
		}
		w.Tail = Tail{Claim: claim}
	}
}

// step reads one frame. It returns why it is not valid.
func (w *scanner) step() error {
	h, payload, err := readFrame(w.b, w.at, w.id.Salt)
	if err != nil {
		return err
	}
	if err := w.order(&h); err != nil {
		return err
	}
	if w.limit > 0 && w.at+h.size() > w.limit {
		return ErrFrame
	}
	at := Position{w.id.Ordinal, w.at}
	switch h.kind {
	case KindLink:
		l, ok := decodeLink(payload, h.seq, w.id.Ordinal)
		if !ok {
			return ErrFrame
		}
		w.Link, w.HasLink, w.LinkEnd = l, true, w.at+h.size()
		w.next, w.Claim, w.FirstLive, w.LiveAt = l.Base, l.Claim, l.FirstLive, w.at
		w.Oldest, w.Newest = l.Time, l.Time
	case KindMark:
		m, ok := decodeMark(payload, h.seq, at)
		if !ok {
			return ErrFrame
		}
		w.Clean, w.FirstLive, w.LiveAt, w.Newest = m.Clean, m.FirstLive, w.at, m.Time
		if w.Claim.Less(m.Claim) {
			w.Claim = m.Claim
		}
	case KindSeal:
		s, ok := decodeSeal(payload, h.seq, w.at+h.size())
		if !ok || s.Records != w.Records {
			return ErrFrame
		}
		w.Seal = &s
	}
	if h.kind.IsRecord() {
		w.idx.add(w.next-w.Link.Base, w.at, w.Newest.UnixNano())
		w.next++
		w.pending++
		w.open = h.kind == KindBatch
	}
	w.Clean = w.Clean && h.kind == KindMark
	w.at += h.size()
	if !w.open {
		w.complete()
	}
	return nil
}

// order checks that a frame may stand where it stands.
func (w *scanner) order(h *header) error {
	switch {
	case (w.at == FirstFrame) != (h.kind == KindLink):
		return ErrFrame
	case w.at > FirstFrame && h.seq != w.next:
		return ErrSeq
	case w.open && h.kind != KindBatch && h.kind != KindBatchEnd:
		return ErrFrame
	case h.kind == KindBatchEnd && !w.open:
		return ErrFrame
	}
	return nil
}

// complete counts everything up to here.
func (w *scanner) complete() {
	w.End, w.Next = w.at, w.next
	w.Records += w.pending
	w.pending = 0
}

// lookBehind looks at all data from off on: for bytes that are not zero, and for marks.
func lookBehind(b []byte, id *Identity, off Offset, data []extent) (t Tail) {
	for _, d := range data {
		from, to := max(off, d.from), max(off, d.to)
		last := lastNonZero(b[from:to])
		if last < 0 {
			continue
		}
		behind := from + Offset(last) + 1
		t.Bytes = int64(behind - off)
		t.marks(b, id, from, behind)
	}
	return t
}

// lookBehindRecycled is lookBehind for a recycled segment: bytes of the file's earlier use are
// behind the end, but not in the rest of its page. What was written there is known by the mark at
// the end of each group, whose checksum depends on this segment's salt.
func lookBehindRecycled(b []byte, id *Identity, off Offset) (t Tail) {
	size := Offset(len(b))
	t.Bytes = int64(lastNonZero(b[off:min(pageEnd(off+1), size)])) + 1
	if last := t.marks(b, id, off, size); last > 0 {
		t.Bytes = max(t.Bytes, int64(last+markFrame-off))
	}
	return t
}

// marks looks for marks from an offset up to another, and returns where the last one is; 0: there
// is none. Frames of other kinds are not looked for, since a payload may look like anything: marks
// have a fixed length, so this stays linear.
func (t *Tail) marks(b []byte, id *Identity, from, to Offset) (last Offset) {
	for at := from; at < to; at += 8 {
		if le.Uint32(b[at:]) == markFrame && t.look(b, id, at) {
			last = at
		}
		for at+40 < to && zero32(b[at+8:]) {
			at += 32
		}
	}
	return last
}

// pageEnd returns the end of the page in which the byte before off is.
func pageEnd(off Offset) Offset { return (off + pageSize - 1) &^ (pageSize - 1) }

// look takes the claim of the mark at off, and reports whether there is one.
func (t *Tail) look(b []byte, id *Identity, off Offset) bool {
	if off > Offset(len(b))-markFrame || le.Uint32(b[off:]) != markFrame ||
		Kind(b[off+8]) != KindMark {
		return false
	}
	h, payload, err := readFrame(b, off, id.Salt)
	if err != nil || h.kind != KindMark {
		return false
	}
	m, ok := decodeMark(payload, h.seq, Position{id.Ordinal, off})
	if !ok {
		return false
	}
	t.FirstLive = m.FirstLive
	if t.Claim.Less(m.Claim) {
		t.Claim = m.Claim
	}
	return true
}

func zero32(p []byte) bool {
	_ = p[31]
	return binary.NativeEndian.Uint64(p)|binary.NativeEndian.Uint64(p[8:])|
		binary.NativeEndian.Uint64(p[16:])|binary.NativeEndian.Uint64(p[24:]) == 0
}

// Newer reports whether a scan stopped at a frame that newer software made.
func (s *Scan) Newer() bool { return errors.Is(s.Stop, ErrVersion) }
