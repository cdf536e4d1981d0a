//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// faultSize is the size of the segments here: several pages on any machine.
const faultSize = 1 << 20

// realWriter returns a writer on a real file, with some records in its first pages.
func realWriter(t *testing.T, zeroChunk int) *Writer {
	t.Helper()
	id := testIdentity(1)
	id.Size = faultSize
	s, err := Prepare(OS, t.TempDir(), id, Zeros{Chunk: zeroChunk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Drop() })
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		mustAppend(t, w, strings.Repeat("x", 1000))
	}
	return w
}

// expectFault fails the test unless err is a fault in the segment's file at or behind from.
func expectFault(t *testing.T, err error, s *Segment, op string, from Offset) {
	t.Helper()
	var fe *FaultError
	if !errors.As(err, &fe) || !errors.Is(err, ErrFault) {
		t.Fatalf("error %v, want a FaultError", err)
	}
	if fe.Op != op || fe.Path != s.Path() || fe.Offset < from || int64(fe.Offset) >= s.Size {
		t.Errorf("fault in %q of %s at %d, want %q of %s behind %d",
			fe.Op, fe.Path, fe.Offset, op, s.Path(), from)
	}
	if strings.Contains(err.Error(), "nil pointer") {
		t.Errorf("the text leads astray: %v", err)
	}
}

// TestFaults: a file that is cut short under its mapping makes every function return a FaultError.
// The process lives, and the goroutine's setting for faults is what it was.
func TestFaults(t *testing.T) {
	look := func([]byte) error { return nil }
	for _, c := range []struct {
		op string // as the error names it
		do func(w *Writer, s *Segment) error
	}{
		{"append", func(w *Writer, _ *Segment) error { return w.Append([]byte("x"), 1) }},
		{"append", func(w *Writer, _ *Segment) error {
			refused, err := w.AppendFunc(100, func(dst []byte) error { dst[0] = 1; return nil })
			return errors.Join(refused, err)
		}},
		{"append", func(w *Writer, _ *Segment) error {
			_, err := w.AppendFunc(100, func([]byte) error { return errors.New("mine") })
			return err // the fault is in what cleans up
		}},
		{"append", func(w *Writer, _ *Segment) error {
			return w.AppendBatch([][]byte{[]byte("x"), nil}, []uint32{1, 0})
		}},
		{"append", func(w *Writer, _ *Segment) error {
			return w.AppendBatch([][]byte{nil}, []uint32{0})
		}},
		{"append mark", func(w *Writer, _ *Segment) error { _, err := w.Mark(markAt(w)); return err }},
		{"seal", func(w *Writer, _ *Segment) error {
			succ := testIdentity(2)
			return w.Seal(&succ)
		}},
		{"append link", func(_ *Writer, s *Segment) error {
			_, err := NewWriter(s, startLink(), nil)
			return err
		}},
		{"read", func(_ *Writer, s *Segment) error { _, err := s.Read(200, nil); return err }},
		{"view", func(_ *Writer, s *Segment) error { return s.View(200, look) }},
		{"locate", func(_ *Writer, s *Segment) error { _, err := s.Locate(200); return err }},
		{"locate", func(_ *Writer, s *Segment) error { _, err := s.After(200); return err }},
		{"read", func(_ *Writer, s *Segment) error {
			r := Reader{s: s, at: s.index.before(s.End() - 1), seq: 200}
			_, err := r.Next()
			return err
		}},
		{"seq at", func(_ *Writer, s *Segment) error { _, err := s.SeqAt(s.End() - 8); return err }},
		{"scan", func(_ *Writer, s *Segment) error { _, err := s.Scan(0); return err }},
		{"scan", func(_ *Writer, s *Segment) error { _, err := s.Scan(s.End()); return err }},
		{"read link", func(_ *Writer, s *Segment) error { _, _, err := s.ReadLink(); return err }},
		{"read seal", func(_ *Writer, s *Segment) error { _, err := s.ReadSeal(s.End()); return err }},
		{"check index", func(_ *Writer, s *Segment) error {
			return s.CheckIndex(&Scan{Seal: &Seal{IndexAt: s.End(), IndexLen: 1}})
		}},
		{"dirty", func(_ *Writer, s *Segment) error { return s.Dirty(FirstFrame, s.End()) }},
	} {
		t.Run(c.op, func(t *testing.T) {
			for _, setting := range []bool{false, true} {
				w := realWriter(t, 0)
				s := w.Segment()
				if err := os.Truncate(s.Path(), 0); err != nil {
					t.Fatal(err)
				}
				was := debug.SetPanicOnFault(setting)
				err := c.do(w, s)
				if now := debug.SetPanicOnFault(was); now != setting {
					t.Errorf("SetPanicOnFault is %v, it was %v", now, setting)
				}
				expectFault(t, err, s, c.op, 0)
			}
		})
	}
}

// TestFaultBehindTheCut: what is before the cut can still be read; a scan, and dirtying, meet it.
func TestFaultBehindTheCut(t *testing.T) {
	w := realWriter(t, 64<<10)
	s := w.Segment()
	if err := s.Dirty(FirstFrame, Offset(2*s.Size)); err != nil {
		t.Errorf("dirtying more than there is: %v", err)
	}
	cut := Offset(2 * max(os.Getpagesize(), 4096))
	if err := os.Truncate(s.Path(), int64(cut)); err != nil {
		t.Fatal(err)
	}
	before, behind := Seq(1), Seq(250)
	if p, err := s.Read(before, nil); len(p) != 1000 || err != nil {
		t.Errorf("before the cut: %d bytes, %v", len(p), err)
	}
	_, err := s.Read(behind, nil)
	expectFault(t, err, s, "read", cut)
	_, err = s.Scan(0)
	expectFault(t, err, s, "scan", cut)
	if err := s.Dirty(FirstFrame, cut); err != nil {
		t.Errorf("dirtying what is there: %v", err)
	}
	expectFault(t, s.Dirty(FirstFrame, cut+1), s, "dirty", cut)
	expectFault(t, s.Dirty(FirstFrame, Offset(s.Size)*2), s, "dirty", cut)

	if err := s.Sync(); !errors.Is(err, ErrShort) {
		t.Errorf("Sync of a file that was cut: %v", err)
	}

	// Given its size back, the file holds zeros there: damage, no fault.
	if err := os.Truncate(s.Path(), s.Size); err != nil {
		t.Fatal(err)
	}
	var ce *CorruptError
	if _, err := s.Read(behind, nil); !errors.As(err, &ce) || ce.Offset < cut-1100 || ce.Segment != 1 {
		t.Errorf("zeros instead of a record: %v", err)
	}
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
}

// TestStoreInView: a store through the slice that View gives is an error where the segment is not
// written to any more, or was opened for reading.
func TestStoreInView(t *testing.T) {
	w := realWriter(t, 0)
	s := w.Segment()
	scribble := func(p []byte) error { p[0] ^= 1; return nil }
	reader, err := Open(OS, s.Path(), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Drop()
	reader.Adopt(scan(t, reader, 0))
	expectFault(t, reader.View(7, scribble), reader, "view", FirstFrame)

	mustSeal(t, w)
	if err := errors.Join(s.Sync(), s.Release()); err != nil {
		t.Fatal(err)
	}
	expectFault(t, s.View(7, scribble), s, "view", FirstFrame)
	for _, s := range []*Segment{s, reader} {
		if p, err := s.Read(7, nil); string(p) != strings.Repeat("x", 1000) || err != nil {
			t.Errorf("afterwards: %.10q, %v", p, err)
		}
	}
}

// TestForeignPanics: a panic that is no fault in the segment's memory goes on, and the goroutine's
// setting for faults is what it was.
func TestForeignPanics(t *testing.T) {
	below := realWriter(t, 0).Segment() // below or above in memory
	w := realWriter(t, 0)
	above := realWriter(t, 0).Segment()
	if err := errors.Join(os.Truncate(below.Path(), 0), os.Truncate(above.Path(), 0)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		fn   func([]byte) error
	}{
		{"panic", func([]byte) error { panic("mine") }},
		{"nil pointer", func([]byte) error { var p *int; *p = 1; return nil }},
		{"out of range", func(p []byte) error { p[len(p)] = 1; return nil }},
		{"fault in another segment", func([]byte) error { sink = below.m.b[FirstFrame]; return nil }},
		{"fault in a third one", func([]byte) error { sink = above.m.b[FirstFrame]; return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, call := range []func(){
				func() { _ = w.s.View(1, c.fn) },
				func() { _, _ = w.AppendFunc(5, c.fn) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic is lost")
						}
						if debug.SetPanicOnFault(false) {
							t.Error("SetPanicOnFault is still set")
						}
					}()
					call()
				}()
			}
		})
	}
	if p, err := w.s.Read(1, nil); len(p) != 1000 || err != nil {
		t.Errorf("afterwards: %d bytes, %v", len(p), err)
	}
}

// TestFaultsInManyGoroutines: readers and the writer meet the cut at the same time.
func TestFaultsInManyGoroutines(t *testing.T) {
	w := realWriter(t, 0)
	s := w.Segment()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			<-start
			for range 100 {
				if _, err := s.Read(200, nil); err != nil && !errors.Is(err, ErrFault) {
					t.Errorf("Read: %v", err)
				}
			}
		})
	}
	wg.Go(func() {
		<-start
		for range 100 {
			if err := w.Append([]byte("x"), Checksum([]byte("x"))); err != nil {
				if !errors.Is(err, ErrFault) {
					t.Errorf("Append: %v", err)
				}
				return
			}
		}
	})
	close(start)
	if err := os.Truncate(s.Path(), 4096); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestOpenShort: a file that is cut before it is opened is damage, and not touched through a
// mapping.
func TestOpenShort(t *testing.T) {
	w := realWriter(t, 0)
	for _, size := range []int64{faultSize + 1, faultSize - 1, 4096, 4095, 0} {
		if err := os.Truncate(w.s.Path(), size); err != nil {
			t.Fatal(err)
		}
		_, err := Open(OS, w.s.Path(), ReadOnly)
		if !errors.Is(err, ErrCorrupt) || !errors.Is(err, ErrShort) {
			t.Errorf("a file of %d bytes: %v", size, err)
		}
	}
	_, err := Open(OS, filepath.Join(t.TempDir(), FileName(1)), ReadOnly)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestReaderFaultsDeep: a fault while frames are copied is an error also where the goroutine's
// stack has to grow for the panic, wherever it ends.
func TestReaderFaultsDeep(t *testing.T) {
	w := realWriter(t, 0)
	s := w.s
	at, err := s.Locate(200)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.Path(), int64(at)&^(64<<10-1)); err != nil {
		t.Fatal(err)
	}
	for depth := range 256 {
		errs := make(chan error)
		go func() {
			r := Reader{s: s, at: at, seq: 200}
			errs <- deep(depth, func() error { _, err := r.Next(); return err })
		}()
		expectFault(t, <-errs, s, "read", at&^(64<<10-1))
	}
}

// TestReaderFaultsLate: what was copied before a fault, a mark between it included, is returned
// before the error is; and the error comes again, not the records behind.
func TestReaderFaultsLate(t *testing.T) {
	w := realWriter(t, 0)
	s := w.s
	if ok, err := w.Mark(Mark{FirstLive: 1, Time: testTime}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	next := w.Next()
	at := w.Position().Offset
	cut := (at + 64<<10) &^ (64<<10 - 1) // for pages of 64 KiB, too
	for w.Position().Offset < cut+4096 {
		mustAppend(t, w, "y")
		if ok, err := w.Mark(Mark{FirstLive: 1, Time: testTime}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := os.Truncate(s.Path(), int64(cut)); err != nil {
		t.Fatal(err)
	}
	r := Reader{s: s, at: at, seq: next}
	var err error
	read := next
	for ; err == nil; read++ {
		_, err = r.Next()
	}
	expectFault(t, err, s, "read", cut)
	const frames = HeaderSize + 8 + markFrame
	const most = stretch/frames + 1 // are lost where a stretch is copied before it is checked
	if got, want := read-1-next, Seq((cut-at)/frames); got < want-most || got > want+1 {
		t.Errorf("%d records before the fault, want %d", got, want)
	}
	for range 2 {
		_, err = r.Next()
		expectFault(t, err, s, "read", cut)
	}
}

// deep calls fn behind so many frames of the stack.
//
//go:noinline
func deep(n int, fn func() error) error {
	if n == 0 {
		return fn()
	}
	return deep(n-1, fn)
}
