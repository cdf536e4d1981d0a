package segment

import "runtime/debug"

const (
	// A reader copies stretches of this size: small ones first, for who reads a few records only.
	minStretch = 4 << 10
	maxStretch = 64 << 10
	// Larger frames are checked where they lie; of a stretch, little is copied twice then.
	largeFrame = 4 << 10
)

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
	from  Offset // where in the file buf begins
	limit Offset // how far frames were published when buf was filled
	buf   []byte
	next  int // size of the next stretch
	large []byte
}

// Start begins anew at the record seq, which must be published in s.
func (r *Reader) Start(s *Segment, seq Seq) (err error) {
	at, err := s.Locate(seq)
	*r = Reader{s: s, at: at, seq: seq, from: at, buf: r.buf[:0], large: r.large, next: minStretch}
	return err
}

// Next returns the payload of the next record, which must be published. It is the caller's until
// the next call. Damage comes as from Segment.Read; there is nothing to go on with then.
func (r *Reader) Next() ([]byte, error) {
	for {
		f := r.buf[r.at-r.from:]
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
	if h.size() > largeFrame {
		p, next, err := s.readAt(r.at, r.seq)
		if err != nil {
			return false, err
		}
		r.large = append(r.large[:0], p...)
		r.at, r.from, r.buf = next, next, r.buf[:0]
		r.seq++
		return true, nil
	}
	n := min(end-r.at, Offset(r.next))
	r.next = min(2*r.next, maxStretch)
	r.buf = append(r.buf[:0], b[r.at:r.at+n]...)
	r.from, r.limit = r.at, end
	return false, nil
}
