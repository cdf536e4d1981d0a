package segment

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Stage is where writers of a journal whose appends wait for a sync complete their frames: in
// memory of the process. A sync moves all of them into the file at once, as a [Group], and only
// then are they published. Appends touch no mapped page then: after each sync the first store to
// one is a fault, and the next sync takes the permission to write from it again, with an interrupt
// to every processor.
//
// A stage serves one writer at a time.
type Stage struct {
	// Least is how many bytes a group has at least that is written by a system call. Smaller ones
	// are stored through the mapping, which costs a fault or two.
	Least int

	buf  []byte // the frames; the first one without its publication
	word uint64 // which is this

	moving sync.Mutex // held from Take until Move is done
	spare  []byte     // takes buf's place at the next Take; guarded by moving
}

// keptStage is how large a buffer may be and stay, however little of it is used.
const keptStage = 1 << 20

// Use makes the writer fill its frames on an empty stage from now on. Without one, or with nil, it
// fills and publishes them in the mapping.
func (w *Writer) Use(st *Stage) { w.stage = st }

// frame returns the memory for the next frame of so many bytes; the header and the padding are
// zero.
func (st *Stage) frame(size int) []byte {
	n := len(st.buf)
	if n+size > cap(st.buf) {
		grown := make([]byte, n, max(2*cap(st.buf), n+size, 64<<10))
		copy(grown, st.buf)
		st.buf = grown
	}
	f := st.buf[n : n+size : n+size]
	st.buf = st.buf[:n+size]
	clear(f[:HeaderSize])
	clear(f[size-8:])
	return f
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

// Group is what was staged when it was taken. The zero group is empty.
type Group struct {
	w    *Writer
	buf  []byte
	word uint64
	from Offset
	end  Offset
	next Seq
}

// Take takes what is staged, for Move, which must follow. It waits until the group before has been
// moved. Like an append, it is for one goroutine at a time.
func (w *Writer) Take() Group {
	st := w.stage
	if st == nil || len(st.buf) == 0 {
		return Group{}
	}
	st.moving.Lock()
	g := Group{w, st.buf, st.word, w.at - Offset(len(st.buf)), w.at, w.next}
	st.buf, st.spare = st.spare[:0], nil
	return g
}

// Move puts the frames into the file and publishes them, while others may go on to append. A failed
// one must not be repeated: the writer is as after a failed append. The error is a *FaultError, or
// that of the file system.
func (g Group) Move() (err error) {
	if len(g.buf) == 0 {
		return nil
	}
	st, s := g.w.stage, g.w.s
	defer st.moving.Unlock()
	defer s.catch("append", debug.SetPanicOnFault(true), &err)
	if len(g.buf) < st.Least {
		copy(s.m.b[g.from:], g.buf)
	} else if err := s.write(g.buf, g.from); err != nil {
		return err
	}
	s.m.notify()
	store64(s.m.b, g.from, g.word)
	s.m.notify()
	s.publish(g.end, g.next)
	if cap(g.buf) <= keptStage || len(g.buf) >= cap(g.buf)/8 {
		st.spare = g.buf
	}
	return nil
}

// write writes to the file instead of storing to the mapping: both are the same pages of the page
// cache.
func (s *Segment) write(p []byte, at Offset) error {
	s.mu.Lock()
	f := s.mu.file
	s.mu.Unlock()
	err := errReleased
	if f != nil {
		_, err = f.WriteAt(p, int64(at))
	}
	if err != nil {
		return fmt.Errorf("append %s at offset %d: %w", s.path, at, err)
	}
	return nil
}

var errReleased = errors.New("file is closed already")
