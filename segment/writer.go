package segment

import (
	"runtime/debug"
	"time"
)

// Writer appends frames to a segment: it reserves space, fills it, and publishes it with one atomic
// store. With a [Stage], Group.Move does the last step; the link, and the seal with its index, are
// groups of their own. Only one goroutine at a time may use a writer. A recycled segment needs a
// stage for records and marks.
//
// Every error is a *FaultError or, if system calls write the frames, one of the file system, unless
// AppendFunc's function returned it. After an error the writer must not be used any more.
type Writer struct {
	s       *Segment
	stage   *Stage // where frames are filled; nil: in the mapping
	first   Offset // behind the link
	at      Offset // of the next frame
	next    Seq    // of the next record
	limit   Offset // where records end at the latest; then a closing mark, a seal, the index fit
	records uint64
	newest  time.Time // of the last link or mark
	stamp   int64     // newest in nanoseconds

	before struct { // what restore goes back to
		at, end Offset // end is where the frames end that are being appended: at, when they are
		next    Seq
		records uint64
		staged  int // bytes
	}
}

// NewWriter returns a writer for a prepared segment, and writes the link as its first frame. The
// writer fills frames on the stage, after Stage.Discard, or in the mapping if st is nil.
func NewWriter(s *Segment, l Link, st *Stage) (w *Writer, err error) {
	w = &Writer{s: s, first: LinkEnd, at: FirstFrame, next: l.Base, limit: recordLimit(s.Size)}
	w.setTime(l.Time)
	s.Link = l
	s.loadIndex.Do(func() {})
	w.use(st)
	if s.written {
		err = w.writeControl(KindLink, linkPayload, l.encode, nil)
	} else {
		err = w.control(KindLink, linkPayload, l.encode)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// ResumeWriter returns a writer that continues after a scan's clean end. For the stage see
// NewWriter.
func ResumeWriter(s *Segment, sc *Scan, st *Stage) *Writer {
	w := &Writer{
		s: s, first: sc.LinkEnd, at: sc.End, next: sc.Next, limit: recordLimit(s.Size),
		records: sc.Records,
	}
	w.setTime(sc.Newest)
	w.use(st)
	return w
}

func recordLimit(size int64) Offset {
	return FirstFrame + linkFrame + Offset(MaxBatch(size))
}

func (w *Writer) setTime(t time.Time) { w.newest, w.stamp = t, t.UnixNano() }

// Segment returns the segment that is written to.
func (w *Writer) Segment() *Segment { return w.s }

// Position returns where the next frame goes.
func (w *Writer) Position() Position { return Position{w.s.Ordinal, w.at} }

// Next returns the seq that the next record gets.
func (w *Writer) Next() Seq { return w.next }

// Empty reports whether the link is the only frame.
func (w *Writer) Empty() bool { return w.at == w.first }

// Fits reports whether records whose frames take n bytes fit, together with a mark if mark is set,
// and another mark after all that.
func (w *Writer) Fits(n int64, mark bool) bool {
	if mark {
		n += markFrame
	}
	return n <= int64(w.limit-w.at)
}

// Append appends a record; crc is the payload's [Checksum]. It must fit.
func (w *Writer) Append(payload []byte, crc uint32) (err error) {
	defer w.catch("append", debug.SetPanicOnFault(true), &err)
	size := pad8(Offset(HeaderSize + len(payload)))
	w.begin(int64(size))
	var f []byte
	if w.stage == nil { // as frame, whose call would show
		f = w.s.m.b[w.at : w.at+size]
	} else {
		f = w.stage.frame(int(size))
	}
	copy(f[HeaderSize:], payload)
	w.complete(f, len(payload), crc, KindRecord)
	return nil
}

// AppendFunc appends a record of n bytes that fn writes. If fn fails or panics, nothing is
// appended. refused is the error that fn returned.
func (w *Writer) AppendFunc(n int, fn func(dst []byte) error) (refused, err error) {
	defer w.catch("append", debug.SetPanicOnFault(true), &err)
	w.begin(FrameSize(int64(n)))
	f := w.frame(n)
	dst := f[HeaderSize : HeaderSize+n : HeaderSize+n]
	if w.stage != nil {
		clear(dst)
	}
	if refused = fn(dst); refused != nil {
		return refused, nil // catch takes back what is there
	}
	w.complete(f, n, Checksum(dst), KindRecord)
	return nil, nil
}

// AppendBatch appends the payloads as one batch: readers see all of its records at once, and after
// a crash all of them exist or none. crcs are their checksums. They must fit.
func (w *Writer) AppendBatch(payloads [][]byte, crcs []uint32) (err error) {
	switch len(payloads) {
	case 0:
		return nil
	case 1:
		return w.Append(payloads[0], crcs[0])
	}
	size := int64(0)
	for _, p := range payloads {
		size += FrameSize(int64(len(p)))
	}
	defer w.catch("append", debug.SetPanicOnFault(true), &err)
	w.begin(size)
	var first []byte
	var firstWord uint64
	last := len(payloads) - 1
	for i, p := range payloads {
		kind := KindBatch
		if i == last {
			kind = KindBatchEnd
		}
		f := w.frame(len(p))
		copy(f[HeaderSize:], p)
		word := w.fill(f, len(p), crcs[i], kind)
		switch {
		case w.stage != nil:
			w.stage.publish(f, word)
		case i == 0:
			first, firstWord = f, word
		default:
			store64(f, 0, word)
		}
		w.advance(f)
	}
	at, seq := w.before.at, w.before.next
	for _, p := range payloads {
		w.index(seq, at)
		at, seq = at+Offset(FrameSize(int64(len(p)))), seq+1
	}
	if w.stage == nil {
		w.s.m.notify()
		store64(first, 0, firstWord)
		w.s.m.notify()
		w.s.publish(w.at, w.next)
	}
	return nil
}

// Mark appends a mark. If there is no room for it besides the seal, Mark does nothing and returns
// false.
func (w *Writer) Mark(m Mark) (ok bool, err error) {
	if w.at > w.limit {
		return false, nil
	}
	if m.Clean {
		m.Claim = w.Position()
	}
	w.setTime(m.Time)
	return true, w.control(KindMark, markPayload, m.encode)
}

// Seal writes the sparse index and then the last frame, which names the successor. Staged frames
// must have been moved before.
func (w *Writer) Seal(succ *Identity) (err error) {
	w.stage = nil
	defer w.s.catch("seal", debug.SetPanicOnFault(true), &err)
	w.s.full.Store(true)
	items := w.s.index.all()
	end := w.at + sealFrame
	var raw []byte
	if w.s.written {
		raw = make([]byte, len(items)*indexEntry)
	} else {
		raw = w.s.m.b[end : int64(end)+int64(len(items))*indexEntry]
	}
	encodeIndex(raw, items)
	seal := Seal{
		Records:    w.records,
		OldestTime: w.s.Link.Time,
		NewestTime: w.newest,
		Succ:       succ.Ordinal,
		SuccSalt:   succ.Salt,
		IndexAt:    end,
		IndexLen:   uint32(len(items)),
		IndexCRC:   indexCRC(raw, w.s.Salt),
	}
	if w.s.written {
		return w.writeControl(KindSeal, sealPayload, seal.encode, raw)
	}
	w.s.m.notify()
	return w.control(KindSeal, sealPayload, seal.encode)
}

// control appends a frame of a fixed size.
func (w *Writer) control(kind Kind, n int, encode func([]byte)) (err error) {
	defer w.s.catch(appending[kind], debug.SetPanicOnFault(true), &err)
	f := w.frame(n)
	p := f[HeaderSize : HeaderSize+n]
	encode(p)
	w.complete(f, n, Checksum(p), kind)
	return nil
}

// appending is what control's errors call it.
var appending = map[Kind]string{
	KindLink: "append link", KindMark: "append mark", KindSeal: "append seal",
}

// begin notes where the writer stands before it appends frames of records that take size bytes.
func (w *Writer) begin(size int64) {
	b := &w.before
	b.at, b.end, b.next, b.records = w.at, w.at+Offset(size), w.next, w.records
	if w.stage != nil {
		b.staged = len(w.stage.buf)
	}
}

// restore goes back to there, and returns which bytes may have been stored to; in the mapping they
// are not zero any more. Nothing has been published since.
func (w *Writer) restore() (from, to Offset) {
	b := &w.before
	if w.stage != nil {
		w.stage.shorten(b.staged)
	}
	from, to = b.at, b.end
	w.at, w.next, w.records, b.end = b.at, b.next, b.records, b.at
	return from, to
}

// frame returns where the next frame goes, whose payload has n bytes.
func (w *Writer) frame(n int) []byte {
	size := pad8(Offset(HeaderSize + n))
	if w.stage != nil {
		return w.stage.frame(int(size))
	}
	return w.s.m.b[w.at : w.at+size]
}

// complete makes the next frame visible, whose payload is in place: to other processes by its first
// word, to this one by end and next.
func (w *Writer) complete(f []byte, n int, crc uint32, kind Kind) {
	word := w.fill(f, n, crc, kind)
	if kind == KindRecord && w.at/pageSize != w.s.index.page { // else it is there already
		w.index(w.next-1, w.at)
	}
	if w.stage != nil {
		w.stage.publish(f, word)
		w.advance(f)
		return
	}
	w.s.m.notify()
	store64(f, 0, word)
	w.s.m.notify()
	w.advance(f)
	w.s.publish(w.at, w.next)
}

// index notes where a record is. Nobody meets it there before it is published, which is next, and
// can fail only with a fault: nothing is appended after that.
func (w *Writer) index(seq Seq, at Offset) { w.s.index.add(seq-w.s.Link.Base, at, w.stamp) }

// fill completes the next frame, whose payload is in place, but for its publication, which it
// returns. It counts a record.
func (w *Writer) fill(f []byte, n int, crc uint32, kind Kind) (word uint64) {
	length := uint32(HeaderSize + n)
	sk := seqKind(w.next, kind)
	le.PutUint64(f[8:], sk)
	word = publication(length, bind(crc, w.s.Salt, w.at, length, sk))
	if kind.IsRecord() {
		w.next++
		w.records++
	}
	return word
}

func (w *Writer) advance(f []byte) { w.at += Offset(len(f)) }
