package segment

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Read returns a copy of the payload of the record seq, which must be published in this segment, in
// buf's memory if buf is large enough. Damage is a *CorruptError. It names the first damaged frame
// on the way from the nearest index entry.
func (s *Segment) Read(seq Seq, buf []byte) (p []byte, err error) {
	defer s.catch("read", debug.SetPanicOnFault(true), &err)
	p, _, err = s.record(seq)
	if err != nil {
		return nil, err
	}
	return append(buf[:0], p...), nil
}

// View calls fn with the payload of the record seq, without copying it. The slice is read-only and
// valid until fn returns. If the segment is mapped read-only, which it is in readers, and in the
// writer once it is full and durable, a store to the slice is a fault, which View returns as an
// error. In a segment that the writer still appends to, a store damages the record.
func (s *Segment) View(seq Seq, fn func(payload []byte) error) (err error) {
	defer s.catch("view", debug.SetPanicOnFault(true), &err)
	p, _, err := s.record(seq)
	if err != nil {
		return err
	}
	return fn(p[:len(p):len(p)])
}

// Locate returns the offset of the frame of the record seq. It does not verify that frame.
func (s *Segment) Locate(seq Seq) (at Offset, err error) {
	defer s.catch("locate", debug.SetPanicOnFault(true), &err)
	at, err = s.locate(seq)
	if errors.Is(err, ErrCorrupt) {
		if found, ok := s.search(seq); ok {
			return found, nil
		}
	}
	return at, err
}

// record verifies the record seq and returns its payload, and the offset behind its frame. It looks
// where the record would be if all in its page were of one size, and believes what is there if it
// verifies, with its offset, as that record; else it goes from frame to frame.
func (s *Segment) record(seq Seq) (p []byte, end Offset, err error) {
	s.loadIndex.Do(s.findIndex)
	base, next := s.Link.Base, s.Next()
	if seq < next {
		if at, ok := s.index.guess(seq-base, s.End(), next-base); ok {
			if p, end, found := s.verify(at, seq); found {
				return p, end, nil
			}
		}
	}
	at, err := s.locate(seq)
	if err == nil {
		p, end, err = s.readAt(at, seq)
	}
	if errors.Is(err, ErrCorrupt) {
		if at, ok := s.search(seq); ok {
			return s.readAt(at, seq)
		}
	}
	return p, end, err
}

// lookUp is search for callers that have not entered the guard against faults.
func (s *Segment) lookUp(seq Seq) (at Offset, ok bool, err error) {
	defer s.catch("read", debug.SetPanicOnFault(true), &err)
	at, ok = s.search(seq)
	return at, ok, nil
}

// search finds the frame of the record seq where the frames before it do not lead to it, because
// one of them is damaged: at every offset at which it can start.
func (s *Segment) search(seq Seq) (at Offset, ok bool) {
	if seq < s.Link.Base || seq >= s.Next() {
		return 0, false
	}
	b, to := s.published()
	delta, next := seq-s.Link.Base, s.Next()-s.Link.Base
	from, _ := s.index.floor(delta, next)
	if end := s.index.above(delta, next); end > 0 {
		to = min(to, end)
	}
	at, _, ok = findFrame(b, from, to, s.Salt, seq, true)
	return at, ok
}

// verify returns the payload of the record seq if that is what is at offset at, which may be wrong.
func (s *Segment) verify(at Offset, seq Seq) (p []byte, end Offset, found bool) {
	b, limit := s.published()
	if at < LinkEnd || at > limit-HeaderSize || le.Uint64(b[at+8:])>>8 != uint64(seq) {
		return nil, 0, false
	}
	h, err := readHeader(b, at)
	if err != nil || !h.kind.IsRecord() || h.check(b[at:], at, s.Salt) != nil {
		return nil, 0, false
	}
	return b[at+HeaderSize : at+Offset(h.length)], at + h.size(), true
}

// locate hops from header to header, from the nearest index entry to the record seq.
func (s *Segment) locate(seq Seq) (Offset, error) {
	s.loadIndex.Do(s.findIndex)
	b, end := s.published()
	from, delta := s.index.floor(seq-s.Link.Base, s.Next()-s.Link.Base)
	for at := from; ; {
		h, err := readHeader(b, at)
		if err != nil || at >= end || h.seq > seq {
			return 0, s.firstBad(from, end, s.Link.Base+delta, seq)
		}
		if h.seq == seq && h.kind.IsRecord() {
			return at, nil
		}
		at += h.size()
	}
}

// readAt verifies frames from at on until it has verified the record seq, and returns its payload.
func (s *Segment) readAt(at Offset, seq Seq) ([]byte, Offset, error) {
	b, end := s.published()
	for {
		if at >= end {
			return nil, 0, s.corrupt(at, seq, ErrHole)
		}
		h, payload, err := readFrame(b, at, s.Salt)
		switch {
		case err != nil:
			return nil, 0, s.invalid(at, seq, err)
		case h.seq != seq:
			return nil, 0, s.corrupt(at, seq, ErrSeq)
		case h.kind.IsRecord():
			return payload, at + h.size(), nil
		}
		at += h.size()
	}
}

// published returns the bytes up to the published end, and that end. They are what readers may look
// at: a frame behind it may be half there.
func (s *Segment) published() ([]byte, Offset) {
	end := s.End()
	return s.m.b[:end:end], end
}

// firstBad finds the first frame that is damaged, after hopping over headers from the one at from,
// before which the next record is next, to the record seq went wrong.
func (s *Segment) firstBad(from, end Offset, next, seq Seq) error {
	b := s.m.b[:end:end]
	for at := from; at < end; {
		h, _, err := readFrame(b, at, s.Salt)
		if err != nil {
			return s.invalid(at, next, err)
		}
		if h.kind.IsRecord() {
			next = h.seq + 1
		}
		at += h.size()
	}
	return s.corrupt(end, seq, ErrSeq)
}

func (s *Segment) corrupt(at Offset, seq Seq, err error) error {
	return &CorruptError{Path: s.path, Segment: s.Ordinal, Offset: at, Seq: seq, Err: err}
}

// invalid says what the error of a frame that is not valid means: corruption, or newer software.
func (s *Segment) invalid(at Offset, seq Seq, err error) error {
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s at offset %d: %w", s.path, at, err)
	}
	return s.corrupt(at, seq, err)
}

// IndexRebuilt reports whether the sparse index after the segment's seal was found damaged.
func (s *Segment) IndexRebuilt() bool { return s.rebuilt.Load() }

// findIndex loads the index of a segment that was found at open: from behind its seal, or from its
// frames.
func (s *Segment) findIndex() {
	if s.sealed != nil {
		if items, err := decodeIndex(s.m.b, s.sealed, s.Salt); err == nil {
			s.index.set(items)
			return
		}
		s.rebuilt.Store(true)
	}
	s.index.set(scanBytes(s.m.b, &s.Identity, s.End(), allOf(s.m.b), nil).items)
}

// SeqAt returns the seq of the next record at an offset where a frame starts or the published
// frames end.
func (s *Segment) SeqAt(at Offset) (seq Seq, err error) {
	defer s.catch("seq at", debug.SetPanicOnFault(true), &err)
	s.loadIndex.Do(s.findIndex)
	b, end := s.published()
	if h, _, err := readFrame(b, at, s.Salt); err == nil {
		return h.seq, nil
	}
	for off := s.index.before(at); off < end; {
		h, err := readHeader(b, off)
		if err != nil || off > at {
			break
		}
		if off == at {
			return h.seq, nil
		}
		off += h.size()
	}
	if at >= end {
		return s.Next(), nil
	}
	return 0, s.corrupt(at, 0, ErrFrame)
}

// Holds reports whether the frames from an offset on, and the index after a seal, are still those
// that a scan has found. sc is nil if a claim covers all of them.
func (s *Segment) Holds(sc *Scan, from Offset) (held bool, err error) {
	if sc != nil && sc.Seal != nil {
		if err := s.CheckIndex(sc); err != nil {
			return false, except(err, ErrIndex)
		}
	}
	seq, err := s.SeqAt(from)
	if err != nil {
		return false, except(err, ErrCorrupt)
	}
	defer s.catch("check again", debug.SetPanicOnFault(true), &err)
	b, end := s.published()
	for from < end {
		h, _, err := readFrame(b, from, s.Salt)
		if err != nil || h.seq != seq {
			return false, nil
		}
		if h.kind.IsRecord() {
			seq++
		}
		from += h.size()
	}
	return from >= end && seq == s.Next(), nil
}

// except returns err, but nil if it is target.
func except(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// After returns the offset after the frame of the record seq.
func (s *Segment) After(seq Seq) (end Offset, err error) {
	defer s.catch("locate", debug.SetPanicOnFault(true), &err)
	_, end, err = s.record(seq)
	return end, err
}
