package segment

import "runtime/debug"

// A reader copies stretches of this size: what it copies stays in the processor's first cache until
// it is checked. Larger frames are checked where they lie, and then copied.
const stretch = 4 << 10

// Reader reads the records of a segment one after the other. It copies a stretch of frames at a
// time and checks the copy: what it returns is what it has checked, whatever happens to the file,
// and one guard against faults serves many records. (Large frames are checked first, and then
// copied.)
//
// The zero value is ready for Start. A reader is for one goroutine, and for as long as the caller
// keeps the segment mapped.
type Reader struct {
	s     *Segment
	at    Offset // of the next frame
	seq   Seq    // of the next record
	rest  []byte // the end of buf: the next frame, and what was copied behind it
	limit Offset // how far frames were published when buf was filled
	buf   []byte
	large []byte
}

// Start begins anew at the record seq, which must be published in s.
func (r *Reader) Start(s *Segment, seq Seq) (err error) {
	at, err := s.Locate(seq)
	*r = Reader{s: s, at: at, seq: seq, buf: r.buf, large: r.large}
	return err
}

// Next returns the payload of the next record, which must be published. It is the caller's until
// the next call. Damage comes as from Segment.Read; there is nothing to go on with then.
func (r *Reader) Next() ([]byte, error) {
	if len(r.rest) >= HeaderSize {
		f := r.rest
		first, second := le.Uint64(f), le.Uint64(f[8:])
		length := uint64(uint32(first))
		size := (length + 7) &^ 7
		if length >= HeaderSize && size <= uint64(len(f)) &&
			second>>8 == uint64(r.seq) && Kind(second).IsRecord() && padded(f, length) &&
			frameChecksum(f[HeaderSize:length], r.s.Salt, r.at, uint32(length), second) ==
				uint32(first>>32) {
			r.rest = f[size:]
			r.at += Offset(size)
			r.seq++
			return f[HeaderSize:length:length], nil
		}
	}
	return r.next()
}

// next is Next for everything but a good record that is copied already.
func (r *Reader) next() ([]byte, error) {
	for {
		f := r.rest
		var h header
		var err error
		if len(f) >= HeaderSize {
			h, err = parseHeader(le.Uint64(f), le.Uint64(f[8:]), int64(r.limit-r.at))
			if err != nil {
				return nil, r.s.corrupt(r.at, r.seq, err)
			}
		}
		if len(f) < HeaderSize || h.size() > Offset(len(f)) {
			if large, err := r.fill(); err != nil || large {
				return r.large, err
			}
			continue
		}
		if err := h.check(f, r.at, r.s.Salt); err != nil {
			return nil, r.s.corrupt(r.at, r.seq, err)
		}
		if h.seq != r.seq {
			return nil, r.s.corrupt(r.at, r.seq, ErrSeq)
		}
		r.rest = f[h.size():]
		r.at += h.size()
		if h.kind.IsRecord() {
			r.seq++
			return f[HeaderSize:h.length:h.length], nil
		}
	}
}

// fill copies the next stretch. If a large frame comes next it reads the record there, or the next
// one behind, into r.large instead, and returns true.
func (r *Reader) fill() (large bool, err error) {
	s := r.s
	defer s.catch("read", debug.SetPanicOnFault(true), &err)
	b, end := s.published()
	if r.at >= end {
		return false, s.corrupt(r.at, r.seq, ErrHole)
	}
	h, err := readHeader(b, r.at)
	if err != nil {
		return false, s.corrupt(r.at, r.seq, err)
	}
	if h.size() > stretch {
		p, next, err := s.readAt(r.at, r.seq)
		if err != nil {
			return false, err
		}
		r.large = append(r.large[:0], p...)
		r.at, r.rest = next, nil
		r.seq++
		return true, nil
	}
	if r.buf == nil {
		r.buf = make([]byte, stretch)
	}
	n := stretch - stretch%h.size() // whole frames, if they are all of one size
	r.rest, r.limit = r.buf[:copy(r.buf[:n], b[r.at:])], end
	return false, nil
}
