package segment

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// stageFile is a heapFile whose writes a test sees and changes.
type stageFile struct {
	heapFile
	write func(p []byte, off int64) (int, error)
}

func (f *stageFile) WriteAt(p []byte, off int64) (int, error) { return f.write(p, off) }

// writerOn returns a staged writer, all of whose groups are written, on a file that write serves.
func writerOn(
	tb testing.TB, size int64, write func(f *heapFile, p []byte, off int64) (int, error),
) *Writer {
	tb.Helper()
	id := testIdentity(1)
	id.Size = size
	b := heapBytes(size)
	copy(b, id.Encode())
	f := &stageFile{heapFile: heapFile{b: b}}
	f.write = func(p []byte, off int64) (int, error) { return write(&f.heapFile, p, off) }
	s, err := newSegment(f, FileName(1), id, ReadWrite)
	if err != nil {
		tb.Fatal(err)
	}
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	w.use(&Stage{})
	return w
}

// TestMoveFails: an error of the write, or half of one, comes out of Move and of every later one,
// and shows nothing. Nobody waits for ever.
func TestMoveFails(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		name  string
		write func(f *heapFile, p []byte, off int64) (int, error)
		want  error
	}{
		{"nothing", func(*heapFile, []byte, int64) (int, error) { return 0, mine }, mine},
		{"half", func(f *heapFile, p []byte, off int64) (int, error) {
			return copy(f.b[off:], p[:len(p)/2]), io.ErrShortWrite
		}, io.ErrShortWrite},
		{"all", func(f *heapFile, p []byte, off int64) (int, error) {
			return copy(f.b[off:], p), mine
		}, mine},
	} {
		t.Run(c.name, func(t *testing.T) {
			fails := false
			w := writerOn(t, MinSize, func(f *heapFile, p []byte, off int64) (int, error) {
				if fails {
					return c.write(f, p, off)
				}
				return f.WriteAt(p, off)
			})
			mustAppend(t, w, "before")
			mustMove(t, w)
			end := w.at
			fails = true
			mustAppend(t, w, "one", "two")
			expectMoveError(t, w, c.want, end)
			fails = false
			expectMoveError(t, w, c.want, end) // of nothing
			mustAppend(t, w, "three")
			expectMoveError(t, w, c.want, end)
			w.stage.Discard() // returns
		})
	}
}

// expectMoveError moves what is staged and expects an error, and that records are shown to end.
func expectMoveError(t *testing.T, w *Writer, want error, end Offset) {
	t.Helper()
	err := w.Take().Move()
	if !errors.Is(err, want) {
		t.Fatalf("Move: %v, want %v", err, want)
	}
	if text := err.Error(); !strings.Contains(text, w.s.Path()) ||
		!strings.Contains(text, fmt.Sprintf("offset %d", end)) {
		t.Errorf("it does not say where: %s", text)
	}
	if w.s.End() != end || scan(t, w.s, 0).End != end {
		t.Errorf("published to %d, in the file to %d, want %d", w.s.End(), scan(t, w.s, 0).End, end)
	}
}

// TestMoveIntoReleased: a segment that is released takes no group.
func TestMoveIntoReleased(t *testing.T) {
	w := stagedWriter(t, MinSize)
	end := w.at
	mustAppend(t, w, "late")
	if err := w.s.Release(); err != nil {
		t.Fatal(err)
	}
	expectMoveError(t, w, errReleased, end)
}

// TestTakeWaits: who takes while a group is moved waits until that is published, also where nothing
// is staged then; appends go on. Who only tries gets nothing.
func TestTakeWaits(t *testing.T) {
	for _, more := range []int{0, 3} {
		for _, discard := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d more, discard %v", more, discard), func(t *testing.T) {
				takeWaits(t, more, discard)
			})
		}
	}
}

func takeWaits(t *testing.T, more int, discard bool) {
	within, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := writerOn(t, 1<<20, func(f *heapFile, p []byte, off int64) (int, error) {
		once.Do(func() {
			close(within)
			<-goOn
		})
		return f.WriteAt(p, off)
	})
	mustAppend(t, w, "one", "two")
	g := w.Take()
	first := g.next
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.Move(); err != nil {
			t.Error(err)
		}
	})
	<-within
	for i := range more {
		mustAppend(t, w, fmt.Sprint("more", i))
	}
	if try := w.TryTake(); try.w != nil {
		t.Error("TryTake has taken")
	}
	if w.s.Next() != 1 {
		t.Error("published before the write has returned")
	}
	var taking atomic.Bool
	wg.Go(func() {
		taking.Store(true)
		if discard {
			w.stage.Discard()
		} else if err := w.Take().Move(); err != nil {
			t.Error(err)
		}
		if next := w.s.Next(); next < first {
			t.Errorf("it has not waited: next is %d, want %d", next, first)
		}
	})
	for !taking.Load() {
		runtime.Gosched()
	}
	for range 100 { // a chance to be wrong
		runtime.Gosched()
	}
	close(goOn)
	wg.Wait()
	want := 2 + more
	if discard {
		want = 2
	}
	if got := payloads(t, w.s); len(got) != want {
		t.Errorf("there are %q", got)
	}
}

// TestAppendersMoverReaders is for the race detector: appends of every kind, groups that are moved
// and tried beside, and readers, who see every record whole and in order.
func TestAppendersMoverReaders(t *testing.T) {
	w := stagedWriter(t, 4<<20)
	var mu sync.Mutex // as the journal's
	var appenders, others sync.WaitGroup
	var done atomic.Bool
	for range 3 {
		appenders.Go(func() {
			for i := range 1000 {
				mu.Lock()
				if err := stagedRecord(w, i); err != nil {
					t.Error(err)
				}
				mu.Unlock()
				if i%16 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	for _, take := range []func() Group{w.Take, w.TryTake} {
		others.Go(func() {
			for !done.Load() {
				mu.Lock()
				g := take()
				mu.Unlock()
				if err := g.Move(); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		})
	}
	for range 2 {
		others.Go(func() {
			for seq := Seq(1); !done.Load() && !t.Failed(); {
				if seq == w.s.Next() {
					runtime.Gosched()
					continue
				}
				checkStaged(t, w.s, seq)
				seq++
			}
		})
	}
	appenders.Wait()
	done.Store(true)
	others.Wait()
	mustMove(t, w)
	for seq := Seq(1); seq < w.next; seq++ {
		checkStaged(t, w.s, seq)
	}
	if w.s.Next() != w.next || scan(t, w.s, 0).End != w.at {
		t.Errorf("published to %d, want %d", w.s.Next(), w.next)
	}
}

// stagedRecord appends a record, or two, each of which says its seq.
func stagedRecord(w *Writer, i int) error {
	text := func(seq Seq) []byte { return []byte(strings.Repeat(fmt.Sprintf("%d,", seq), i%40+1)) }
	a, b := text(w.next), text(w.next+1)
	switch i % 4 {
	case 0:
		return w.AppendBatch([][]byte{a, b}, []uint32{Checksum(a), Checksum(b)})
	case 1:
		refused, err := w.AppendFunc(len(a), func(dst []byte) error { copy(dst, a); return nil })
		return errors.Join(refused, err)
	case 2:
		if refused, err := w.AppendFunc(len(a), func(dst []byte) error {
			copy(dst, b)
			return io.EOF
		}); !errors.Is(refused, io.EOF) || err != nil {
			return fmt.Errorf("refused %w, error %w", refused, err)
		}
	}
	return w.Append(a, Checksum(a))
}

func checkStaged(t *testing.T, s *Segment, seq Seq) {
	p, err := s.Read(seq, nil)
	if err != nil || !strings.HasPrefix(string(p), fmt.Sprintf("%d,", seq)) {
		t.Errorf("seq %d is %.20q, %v", seq, p, err)
	}
}
