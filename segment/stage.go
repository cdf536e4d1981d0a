package segment

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Stage is a buffer in the memory of the process, for journals whose appends wait for a sync: the
// writer completes its frames there. A sync moves all of them into the file at once, as a [Group],
// and only then are they published. System calls write the group. A store through the mapping would
// cost more: after a sync, the first store to a page faults, and the next sync removes the
// permission to write to the page again, with an interrupt to every processor. A system call also
// moves the file's time of modification, which a store does not.
//
// A stage serves one writer at a time.
type Stage struct {
	// Ahead is the number of bytes from which on a Move during a sync is worthwhile: see Large.
	Ahead int

	buf    []byte // the frames; the first one without its publication
	word   uint64 // which is this
	staged atomic.Int64

	moving sync.Mutex // held from Take until Move is done; guards the following
	spare  []byte     // takes buf's place at the next Take
	err    error      // of the first Move that failed
}

// keptStage is how large a buffer may be and stay, however little of it is used.
const keptStage = 1 << 20

// Staged returns the number of staged bytes. It is safe for concurrent use.
func (st *Stage) Staged() int64 { return st.staged.Load() }

// Large reports whether Ahead bytes or more are staged. It is safe for concurrent use.
func (st *Stage) Large() bool { return st.Staged() >= int64(st.Ahead) }

// use makes the writer fill its frames on a stage from now on, after Discard. With nil it fills and
// publishes them in the mapping.
func (w *Writer) use(st *Stage) {
	w.stage = st
	w.s.written = w.s.Recycled || st != nil
	st.Discard()
}

// Discard drops what is staged, by any writer, after a running Move. Then nothing accesses its
// segment any more. Like Append and Take, it is for one goroutine at a time. st may be nil.
func (st *Stage) Discard() {
	if st == nil {
		return
	}
	st.moving.Lock()
	defer st.moving.Unlock()
	st.shorten(0)
}

// frame returns the memory for the next frame of so many bytes; the header and the padding are
// zero.
func (st *Stage) frame(size int) []byte {
	n := len(st.buf)
	if n+size+mostBlank > cap(st.buf) {
		grown := make([]byte, n, max(2*cap(st.buf), n+size+mostBlank, 64<<10))
		copy(grown, st.buf)
		st.buf = grown
	}
	f := st.buf[n : n+size : n+size]
	st.buf = st.buf[:n+size]
	clear(f[:HeaderSize])
	clear(f[size-8:])
	st.staged.Store(int64(n + size))
	return f
}

// shorten drops what is staged behind the first n bytes.
func (st *Stage) shorten(n int) {
	st.buf = st.buf[:n]
	st.staged.Store(int64(n))
}

// publish adds a frame's first word. That of the first frame waits: without it none of the frames
// is there.
func (st *Stage) publish(f []byte, word uint64) {
	if len(f) == len(st.buf) {
		st.word = word
		return
	}
	le.PutUint64(f, word)
}

// Group holds the frames that Writer.Take has taken from a stage. The zero group is empty.
type Group struct {
	w    *Writer
	buf  []byte
	word uint64
	from Offset
	end  Offset
	next Seq
}

// Take takes the staged frames as a group, for Move, which must follow. It waits until the previous
// group has been moved. Like an append, it is for one goroutine at a time.
func (w *Writer) Take() Group {
	if w.stage == nil {
		return Group{}
	}
	w.stage.moving.Lock()
	return w.take()
}

// Wait waits until no group is being moved, so that a Take after it usually does not wait. st may
// be nil.
func (st *Stage) Wait() {
	if st != nil {
		st.moving.Lock()
		st.moving.Unlock() //nolint:staticcheck // nothing is to be done in between
	}
}

// TryTake is Take, but returns an empty group if another one is being moved.
func (w *Writer) TryTake() Group {
	if w.stage == nil || !w.stage.moving.TryLock() {
		return Group{}
	}
	return w.take()
}

func (w *Writer) take() Group {
	st := w.stage
	g := Group{w, st.buf, st.word, w.at - Offset(len(st.buf)), w.at, w.next}
	st.buf, st.spare = st.spare[:0], nil
	st.staged.Store(0)
	return g
}

// Move writes the group's frames into the file and publishes them. Appends may run concurrently.
// The error is a *FaultError, or that of the file system. After an error, Move must not be
// repeated: the writer is in the state after a failed append, and every later Move returns the same
// error.
func (g Group) Move() error {
	if g.w == nil {
		return nil
	}
	st := g.w.stage
	defer st.moving.Unlock()
	if st.err == nil && len(g.buf) > 0 {
		st.err = g.move()
	}
	if cap(g.buf) <= keptStage || len(g.buf) >= cap(g.buf)/8 {
		st.spare = g.buf
	}
	return st.err
}

func (g Group) move() (err error) {
	s := g.w.s
	defer s.catch("append", debug.SetPanicOnFault(true), &err)
	if err := g.write(); err != nil {
		return err
	}
	s.m.notify()
	s.publish(g.end, g.next)
	return nil
}

// write puts a group into the file, its first word last. In a recycled segment, zeros follow the
// group up to the end of its last page, unless they are there already. The error is that of the
// file system, or ErrShort.
func (g Group) write() error {
	s := g.w.s
	p := g.buf
	blank := blankBehind(g.end, s.Size)
	if blank > s.blank {
		p = append(p, blankPages[:blank-g.end]...)
	}
	if err := s.write(p, g.from); err != nil {
		return err
	}
	s.blank = max(s.blank, blank)
	s.m.notify()
	le.PutUint64(s.word[:], g.word)
	return s.write(s.word[:], g.from)
}

// blankBehind returns up to where bytes must be zero if frames end at end: at least the first word
// of the next one.
func blankBehind(end Offset, size int64) Offset { return min(pageEnd(end+8), Offset(size)) }

// writeControl appends a frame of a fixed size, followed by an index, as a group of its own.
func (w *Writer) writeControl(kind Kind, n int, encode func([]byte), index []byte) error {
	size := int(pad8(Offset(HeaderSize + n)))
	f := make([]byte, size, size+len(index)+mostBlank)
	encode(f[HeaderSize : HeaderSize+n])
	word := w.fill(f, n, Checksum(f[HeaderSize:HeaderSize+n]), kind)
	g := Group{
		w: w, buf: append(f, index...), word: word, next: w.next,
		from: w.at, end: w.at + Offset(size+len(index)),
	}
	if err := g.write(); err != nil {
		return err
	}
	w.s.m.notify()
	w.advance(f)
	w.s.publish(w.at, w.next)
	return nil
}

// write writes to the file: its pages in the page cache are those of the mapping.
func (s *Segment) write(p []byte, at Offset) error {
	f, _ := s.opened()
	err := errReleased
	if f != nil {
		err = s.writeTo(f, p, at)
	}
	if err != nil {
		return fmt.Errorf("append %s at offset %d: %w", s.path, at, err)
	}
	return nil
}

// writeTo looks at the size first if the write ends where the file does: there it would hide from
// Sync that somebody has cut the file.
func (s *Segment) writeTo(f File, p []byte, at Offset) error {
	if int64(at)+int64(len(p)) == s.Size {
		if err := s.isWhole(f); err != nil {
			return err
		}
	}
	_, err := f.WriteAt(p, int64(at))
	return err
}

var errReleased = errors.New("file is closed already")
