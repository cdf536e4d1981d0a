package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/crc32"
)

// Stretch is a sequence of frames of one segment that all verify and directly follow each other.
type Stretch struct {
	From, To Offset // where the first frame starts and the last one ends
	First    Seq    // of the first record at or after From
	Next     Seq    // of the record after the last one

	// OpenAt is where a batch starts that is not complete at To, and Open the seq of its first
	// record; 0 if there is none.
	OpenAt Offset
	Open   Seq

	// HeadEnd is not 0 if the stretch begins, after damage, in or with a batch. It is the seq after
	// that batch's last record. The number of its records before the stretch is not known.
	HeadEnd Seq

	// Stop says why the frame at To is not valid: ErrHole if nothing is written there. It is nil
	// after a seal and at the limit.
	Stop error
}

// Survey is everything in a segment's file that verifies, on both sides of damage.
type Survey struct {
	Link    Link
	HasLink bool
	NoLink  error // why the first frame is not a valid link

	Stretches []Stretch // ascending; with a valid link, the first one begins with it

	Claim     Position // the highest claim of the link and of all marks
	FirstLive Seq      // the highest first live seq of the link and of all marks
	Seal      *Seal

	// DataEnd is the offset after the last byte that is not zero. In a recycled segment, bytes after
	// the page in which the frames end are not taken into account.
	DataEnd Offset

	// GaveUp, if not 0, is the offset from which on no frames were searched. The file has more
	// damaged ranges, or more bytes that look like frames, than any damage leaves.
	GaveUp Offset
}

// Unused reports whether the segment contains nothing but its identity.
func (s *Survey) Unused() bool {
	return !s.HasLink && len(s.Stretches) == 0 && s.DataEnd <= FirstFrame
}

// Bounds on what hostile bytes can cost. A damaged disk stays far below them.
const (
	mostStretches = 1 << 16
	// falseFrames is how many bytes of frames that do not verify are read, for each byte of the file.
	falseFrames = 8
)

// ReadLinkAt reads the link of a segment's file. The error says why the first frame is not a valid
// link.
func ReadLinkAt(r io.ReaderAt, size int64, id *Identity) (Link, error) {
	w := surveyor{pages: pages{r: r, end: Offset(size)}, id: id}
	h, err := w.frame(FirstFrame)
	switch {
	case err != nil:
		return Link{}, err
	case h.kind != KindLink:
		return Link{}, ErrFrame
	}
	l, ok := decodeLink(w.payload, h.seq, id.Ordinal)
	if !ok {
		return Link{}, ErrFrame
	}
	return l, nil
}

// TakeSurvey reads the first limit bytes of a segment's file and finds every frame in them that
// verifies. After a frame that is not valid, it tries every multiple of 8. A payload that contains
// a copy of a frame does not verify there, because the checksum binds a frame to its offset and to
// the salt of its segment. A frame's seq must also be one that the records in between can have led
// to.
//
// It takes time linear in limit, and memory for its result. Bytes that cannot be read count as
// damaged. The only error is ErrVersion: newer software made a frame.
func TakeSurvey(r io.ReaderAt, limit int64, id *Identity) (*Survey, error) {
	w := surveyor{pages: pages{r: r, end: Offset(limit)}, id: id, budget: falseFrames * limit}
	last, err := w.stretch(FirstFrame)
	if err != nil {
		return nil, err
	}
	if w.HasLink {
		w.Stretches = append(w.Stretches, last)
	} else {
		w.NoLink = last.Stop
	}
	for at := last.To; last.Stop != nil && w.GaveUp == 0; {
		if at = w.resync(&last, at+8); at == 0 {
			break
		}
		s, err := w.stretch(at)
		if err != nil {
			return nil, err
		}
		if s.To == s.From {
			continue // it verifies, and makes no sense
		}
		if len(w.Stretches) == mostStretches {
			w.GaveUp = at
			break
		}
		w.Stretches = append(w.Stretches, s)
		last, at = s, s.To
	}
	w.findDataEnd()
	return &w.Survey, nil
}

// surveyor reads one segment for a survey.
type surveyor struct {
	pages
	Survey
	id      *Identity
	payload []byte // of the last frame read, if that is a link, a mark or a seal
	budget  int64  // how many bytes of false frames may still be read
}

// stretch walks from the frame at off on, as far as frames are valid.
func (w *surveyor) stretch(off Offset) (s Stretch, err error) {
	s = Stretch{From: off, To: off}
	whole := off == FirstFrame // nothing precedes the stretch
	open, head := false, false
	if w.end <= off {
		s.Stop = ErrShort
	}
	for s.To < w.end {
		h, err := w.frame(s.To)
		if errors.Is(err, ErrVersion) {
			return s, fmt.Errorf("offset %d: %w", s.To, err)
		}
		if err == nil && s.To == off {
			s.First, s.Next = h.seq, h.seq
			head = !whole && h.kind.isBatch()
			open = head
		}
		if err == nil {
			err = w.order(&h, &s, open)
		}
		if err == nil {
			err = w.control(&h, &s, whole)
		}
		if err != nil {
			s.Stop = err
			break
		}
		if h.kind == KindBatch && s.Open == 0 {
			s.OpenAt, s.Open = s.To, s.Next
		}
		if h.kind.IsRecord() {
			s.Next++
		}
		s.To += h.size()
		if open = h.kind == KindBatch; !open {
			s.OpenAt, s.Open = 0, 0
		}
		if head && !open {
			s.HeadEnd, head = s.Next, false
		}
		if h.kind == KindSeal {
			return s, nil
		}
	}
	if head && s.To > off {
		s.HeadEnd = s.Next
	}
	return s, nil
}

func (k Kind) isBatch() bool { return k == KindBatch || k == KindBatchEnd }

// order checks that a frame may stand where the stretch has got to.
func (w *surveyor) order(h *header, s *Stretch, open bool) error {
	switch {
	case (s.To == FirstFrame) != (h.kind == KindLink):
		return ErrFrame
	case h.seq != s.Next || h.seq == 0:
		return ErrSeq
	case open && !h.kind.isBatch(), h.kind == KindBatchEnd && !open:
		return ErrFrame
	}
	return nil
}

// control takes over what a control frame says; other frames say nothing.
func (w *surveyor) control(h *header, s *Stretch, whole bool) error {
	switch h.kind {
	case KindLink:
		l, ok := decodeLink(w.payload, h.seq, w.id.Ordinal)
		if !ok {
			return ErrFrame
		}
		w.Link, w.HasLink = l, true
		w.learn(l.Claim, l.FirstLive)
	case KindMark:
		m, ok := decodeMark(w.payload, h.seq, Position{w.id.Ordinal, s.To})
		if !ok {
			return ErrFrame
		}
		w.learn(m.Claim, m.FirstLive)
	case KindSeal:
		sl, ok := decodeSeal(w.payload, h.seq, s.To+h.size())
		if !ok || whole && sl.Records != uint64(s.Next-s.First) {
			return ErrFrame
		}
		w.Seal = &sl
	}
	return nil
}

func (w *surveyor) learn(claim Position, firstLive Seq) {
	if w.Claim.Less(claim) {
		w.Claim = claim
	}
	w.FirstLive = max(w.FirstLive, firstLive)
}

// resync returns where the next frame starts that verifies, from an offset on after the end of a
// stretch; 0 if there is none.
func (w *surveyor) resync(s *Stretch, from Offset) Offset {
	for at := from; at <= w.end-HeaderSize; at += 8 {
		b, err := w.load(at, HeaderSize)
		switch {
		case err != nil:
			at = at&^(pageSize-1) + pageSize - 8 // the rest of the page cannot be read either
			continue
		case len(b) >= 32 && zero32(b):
			at += 32 - 8
			continue
		case !w.plausible(b, s, at):
			continue
		}
		length := int64(le.Uint32(b))
		if w.budget < length {
			w.GaveUp = at
			return 0
		}
		if _, err := w.frame(at); err == nil {
			return at
		}
		w.budget -= length
	}
	return 0
}

// plausible reports whether a frame at an offset, which begins with the bytes b, can follow a
// stretch, as far as its header says: each record in between takes a header at least.
func (w *surveyor) plausible(b []byte, s *Stretch, at Offset) bool {
	length, kind, seq := Offset(le.Uint32(b)), Kind(b[8]), Seq(le.Uint64(b[8:])>>8)
	if length < HeaderSize || pad8(length) > w.end-at || seq == 0 ||
		kind < KindRecord || kind > KindVoid || kind == KindLink {
		return false
	}
	if s.To == FirstFrame { // without a link nothing says which seq the segment begins with
		return true
	}
	return seq >= s.Next && uint64(seq-s.Next) <= uint64(at-s.To)/HeaderSize
}

// frame reads and verifies the frame at off. The payload of a link, mark or seal is kept.
func (w *surveyor) frame(off Offset) (h header, err error) {
	b, err := w.load(off, HeaderSize)
	if err != nil {
		return h, err
	}
	h, err = parseHeader(le.Uint64(b), le.Uint64(b[8:]), int64(w.end-off))
	if err != nil {
		return h, err
	}
	w.payload = w.payload[:0]
	crc, end := uint32(0), off+Offset(h.length)
	for at := off + HeaderSize; at < end; at += Offset(len(b)) {
		if b, err = w.load(at, 1); err != nil {
			return h, err
		}
		b = b[:min(Offset(len(b)), end-at)]
		crc = crc32.Update(crc, castagnoli, b)
		if h.length <= pageSize && !h.kind.IsRecord() {
			w.payload = append(w.payload, b...)
		}
	}
	if bind(crc, w.id.Salt, off, h.length, seqKind(h.seq, h.kind)) != h.crc {
		return h, ErrChecksum
	}
	if pad := off + h.size() - end; pad > 0 {
		if b, err = w.load(end, int(pad)); err != nil {
			return h, err
		}
		if !zero(b[:pad]) {
			return h, fmt.Errorf("%w: padding is not zero", ErrFrame)
		}
	}
	return h, h.checkKind()
}

// findDataEnd finds the last byte that is not zero.
func (w *surveyor) findDataEnd() {
	from := FirstFrame
	if n := len(w.Stretches); n > 0 {
		from = w.Stretches[n-1].To
		w.DataEnd = from
	}
	to := w.end
	if w.id.Recycled {
		to = min(to, pageEnd(from+1))
	}
	for from < to {
		b, err := w.load(from, 1)
		if err != nil {
			w.DataEnd = to // it may be data
			return
		}
		b = b[:min(Offset(len(b)), to-from)]
		if last := lastNonZero(b); last >= 0 {
			w.DataEnd = from + Offset(last) + 1
		}
		from += Offset(len(b))
	}
}

// pages reads a file through a buffer. A part of a file that cannot be read does not keep it from
// reading the rest.
type pages struct {
	r    io.ReaderAt
	end  Offset // no byte from here on is asked for
	buf  []byte
	from Offset // of what buf holds
	held []byte
}

// load returns the bytes from off on: n at least, which must lie below end and be few.
func (p *pages) load(off Offset, n int) ([]byte, error) {
	if off < p.from || off+Offset(n) > p.from+Offset(len(p.held)) {
		if err := p.fill(off, n); err != nil {
			return nil, err
		}
	}
	return p.held[off-p.from:], nil
}

func (p *pages) fill(off Offset, n int) error {
	if off+Offset(n) > p.end {
		return ErrHole
	}
	if p.buf == nil {
		p.buf = make([]byte, min(1<<18, int64(p.end)))
	}
	got, err := p.r.ReadAt(p.buf[:min(Offset(len(p.buf)), p.end-off)], int64(off))
	p.from, p.held = off, p.buf[:got]
	switch {
	case got >= n:
		return nil
	case errors.Is(err, io.EOF):
		return ErrShort
	}
	return &readError{err}
}

// readError says that bytes of a file could not be read.
type readError struct{ err error }

func (e *readError) Error() string { return "cannot be read: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// FileRecord is a record that ReadStretch reads.
type FileRecord struct {
	Seq     Seq
	Payload []byte // valid until the next one is read
	Batch   bool   // the next record is of the same batch
}

// ReadStretch reads the records of a stretch of a survey and calls fn with each, until fn returns
// false. If a frame no longer verifies, it returns an error.
func ReadStretch(r io.ReaderAt, id *Identity, s *Stretch, fn func(*FileRecord) bool) error {
	w := surveyor{pages: pages{r: r, end: s.To}, id: id}
	next := s.First
	var buf []byte
	for at := s.From; at < s.To; {
		h, err := w.frame(at)
		if err == nil && h.seq != next {
			err = ErrSeq
		}
		if err == nil && h.kind.IsRecord() {
			// The length is right, and bounded by the file: the checksum was over all of it.
			buf = slices.Grow(buf[:0], int(h.size()))[:h.size()]
			if _, err = r.ReadAt(buf, int64(at)); err == nil {
				err = h.check(buf, at, id.Salt) // the file may have changed
			}
		}
		if err != nil {
			return fmt.Errorf("offset %d: %w", at, err)
		}
		if h.kind.IsRecord() {
			next++
			if !fn(&FileRecord{h.seq, buf[HeaderSize:h.length], h.kind == KindBatch}) {
				return nil
			}
		}
		at += h.size()
	}
	return nil
}
