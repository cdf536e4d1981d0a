package segment

import (
	"cmp"
	"errors"
	"runtime/debug"
	"slices"
)

// A reader copies stretches of this size: what it copies stays in the processor's first cache until
// it is asked for.
const stretch = 4 << 10

// For a larger frame a reader makes room only when it has been found good where it lies: nobody has
// checked its length before.
const believed = 1 << 20

// Reader reads the records of a segment one after the other. It copies a range of records at a time
// and verifies the copy. So the bytes that it returns are those that it has verified, whatever
// happens to the file, and one fault handler serves many records.
//
// The zero value is ready for Start. A reader is for one goroutine, and for as long as the caller
// keeps the segment mapped.
type Reader struct {
	s     *Segment
	first Seq    // the record to begin with
	at    Offset // behind the frames that have been copied
	seq   Seq    // of the record there
	rest  []byte // the end of what was copied to buf: good frames of records, not returned yet
	buf   []byte
	large []byte // a frame that buf has no room for
}

// Start begins at the record seq, which must be published in s.
func (r *Reader) Start(s *Segment, seq Seq) (err error) {
	at, err := s.Locate(seq)
	*r = Reader{s: s, first: seq, at: at, seq: seq, buf: r.buf, large: r.large}
	return err
}

// Next returns the payload of the next record, which must be published. The payload is valid until
// the next call. Damage is reported as by [Segment.Read]; the reader cannot continue after it.
func (r *Reader) Next() ([]byte, error) {
	if len(r.rest) == 0 {
		if err := r.fill(); err != nil && len(r.rest) == 0 {
			if err = r.elsewhere(err); err != nil {
				return nil, err
			}
		}
	}
	f := r.rest
	length := int64(le.Uint32(f))
	r.rest = f[pad8(length):]
	return f[HeaderSize:length:length], nil
}

// elsewhere searches for the first record after Start has found a frame that is not its own, but a
// damaged one whose header says so. It returns err if there is none.
func (r *Reader) elsewhere(err error) error {
	if r.seq != r.first || !errors.Is(err, ErrCorrupt) {
		return err
	}
	at, ok, fault := r.s.lookUp(r.seq)
	if fault != nil || !ok || at == r.at {
		return cmp.Or(fault, err)
	}
	r.at = at
	return r.fill()
}

// End reads the frames between the record that Next has returned last and the published end, if no
// other record follows. If newer software has written a frame there, the error matches ErrVersion.
// Damage there costs no record and is not an error.
func (r *Reader) End() (err error) {
	s := r.s
	defer s.catch("read", debug.SetPanicOnFault(true), &err)
	b, end := s.published()
	for at := r.at; at < end; {
		h, _, err := readFrame(b, at, s.Salt)
		if errors.Is(err, ErrVersion) {
			return s.invalid(at, r.seq, err)
		}
		if err != nil {
			return nil
		}
		at += h.size()
	}
	return nil
}

// fill makes rest one frame at least. After a fault, rest is what was copied before it, and the
// next fill meets the fault again.
func (r *Reader) fill() (err error) {
	s := r.s
	defer s.catch("read", debug.SetPanicOnFault(true), &err)
	if r.buf == nil {
		r.buf = make([]byte, stretch)
	}
	b, end := s.published()
	n := 0
	for r.at < end {
		n += r.take(r.buf[n:], b[r.at:])
		r.rest = r.buf[:n]
		if r.at >= end || !r.skip(r.buf[n:], b) {
			break
		}
	}
	if n > 0 {
		return nil
	}
	for r.at < end {
		if record, err := r.fillOne(b); err != nil || record {
			return err
		}
	}
	return s.corrupt(r.at, r.seq, ErrHole)
}

// take copies to buf what it can of the frames of records at the beginning of b. It returns how
// many bytes that is.
func (r *Reader) take(buf, b []byte) int {
	n, seq := copyFrames(buf, b, r.at, r.seq, r.s.Salt)
	r.at += Offset(n)
	r.seq = seq
	return n
}

// skip goes on behind the next frame of b if that is a good one, not a record's, and buf has room
// to check a copy. Anything else it leaves to others.
func (r *Reader) skip(buf, b []byte) bool {
	h, err := readHeader(b, r.at)
	if err != nil || h.kind.IsRecord() || h.size() > Offset(len(buf)) {
		return false
	}
	h, err = r.copyOne(buf[:h.size()], b)
	if err != nil || h.kind.IsRecord() {
		return false
	}
	r.at += h.size()
	return true
}

// copyOne copies the next frame of b, which takes as many bytes as f has, and checks the copy.
func (r *Reader) copyOne(f, b []byte) (h header, err error) {
	copy(f, b[r.at:])
	h, err = parseHeader(le.Uint64(f), le.Uint64(f[8:]), int64(len(f)))
	if err == nil {
		err = h.check(f, r.at, r.s.Salt)
	}
	if err == nil && h.seq != r.seq {
		err = ErrSeq
	}
	if err == nil && !h.betweenRecords(f, Position{r.s.Ordinal, r.at}) {
		err = ErrFrame
	}
	return h, err
}

// betweenRecords reports whether a frame may stand before a record that is not a segment's first
// frame: one that a scan would not accept there, a reader must not pass over.
func (h *header) betweenRecords(frame []byte, at Position) bool {
	switch h.kind {
	case KindLink, KindSeal:
		return false
	case KindMark:
		_, ok := decodeMark(frame[HeaderSize:], h.seq, at)
		return ok
	}
	return true
}

// fillOne goes on behind the next frame of b, which is a large one, not a record's or damaged. It
// reports whether it is a record's, which is rest then.
func (r *Reader) fillOne(b []byte) (record bool, err error) {
	at := r.at
	h, err := readHeader(b, at)
	if err == nil && h.size() > believed {
		err = h.check(b[at:], at, r.s.Salt)
	}
	if err != nil {
		return false, r.s.invalid(at, r.seq, err)
	}
	size := int(h.size())
	r.large = slices.Grow(r.large[:0], size)
	f := r.large[:size]
	if n := r.take(f, b[at:]); n > 0 {
		r.rest = f[:n]
		return true, nil
	}
	h, err = r.copyOne(f, b) // which says what is wrong, if anything still is
	if err != nil {
		return false, r.s.invalid(at, r.seq, err)
	}
	r.at += h.size()
	if h.kind.IsRecord() {
		r.rest = f[:h.size()]
		r.seq++
	}
	return h.kind.IsRecord(), nil
}
