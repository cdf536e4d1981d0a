package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWriterFrames: what a writer is told is what a scan finds, frame by frame.
func TestWriterFrames(t *testing.T) {
	w := heapWriter(t, MinSize)
	s := w.Segment()
	at := FirstFrame + linkFrame
	expect := func(size int64, next Seq) {
		t.Helper()
		at += Offset(size)
		if w.Position() != (Position{1, at}) || s.End() != at || w.Next() != next || s.Next() != next {
			t.Fatalf("at %v, published to %d, next %d and %d; want %d and %d",
				w.Position(), s.End(), w.Next(), s.Next(), at, next)
		}
	}
	expect(0, 1)
	mustAppend(t, w, "hello")
	expect(24, 2)
	mustAppend(t, w, "")
	expect(16, 3)
	mustBatch(t, w, "one", "", "three")
	expect(24+16+24, 6)
	mustBatch(t, w, "alone")
	expect(24, 7)
	mustMark(t, w, markAt(w))
	expect(56, 7)
	refused, err := w.AppendFunc(8, func(dst []byte) error { return fillWith(dst, "encoded!") })
	if refused != nil || err != nil {
		t.Fatal(refused, err)
	}
	expect(24, 8)
	mustMark(t, w, Mark{FirstLive: 3, Time: testTime.Add(time.Hour), Clean: true})
	expect(56, 8)

	sc := scan(t, s, 0)
	if sc.End != at || sc.Next != 8 || sc.Records != 7 || !sc.Clean || !errors.Is(sc.Stop, ErrHole) {
		t.Errorf("scan %+v", sc)
	}
	if sc.Claim != (Position{1, at - 56}) || sc.FirstLive != 3 || sc.Tail != (Tail{}) {
		t.Errorf("scan %+v", sc)
	}
	if !sc.Oldest.Equal(testTime) || !sc.Newest.Equal(testTime.Add(time.Hour)) {
		t.Errorf("times %v to %v", sc.Oldest, sc.Newest)
	}
	want := []string{"hello", "", "one", "", "three", "alone", "encoded!"}
	if got := payloads(t, s); !slices.Equal(got, want) {
		t.Errorf("the writer's segment shows %q", got)
	}
	if got := payloads(t, adopted(t, s)); !slices.Equal(got, want) {
		t.Errorf("reopened, it shows %q", got)
	}
}

func fillWith(dst []byte, p string) error {
	if len(dst) != len(p) || cap(dst) != len(p) {
		return fmt.Errorf("%d bytes, capacity %d", len(dst), cap(dst))
	}
	copy(dst, p)
	return nil
}

// TestPublication watches every group of stores. After all but the last of an append, a reader of
// the bytes sees what there was before; after the last, everything. So a batch's first frame is
// published last.
func TestPublication(t *testing.T) {
	for _, c := range []struct {
		name    string
		records uint64
		groups  int
		do      func(w *Writer)
	}{
		{"record", 1, 2, func(w *Writer) { mustAppend(t, w, "hello") }},
		{"function", 1, 2, func(w *Writer) {
			_, _ = w.AppendFunc(5, func(dst []byte) error { copy(dst, "hello"); return nil })
		}},
		{"batch", 4, 2, func(w *Writer) { mustBatch(t, w, "a", "", "ccc", "dddd") }},
		{"batch of one", 1, 2, func(w *Writer) { mustBatch(t, w, "a") }},
		{"mark", 0, 2, func(w *Writer) { mustMark(t, w, markAt(w)) }},
		{"seal", 0, 3, func(w *Writer) { mustSeal(t, w) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, seen := watchedWriter(t)
			s := w.s
			mustAppend(t, w, "before")
			before := scan(t, s, 0)
			seen.scans, seen.next = nil, nil
			c.do(w)
			if len(seen.scans) != c.groups {
				t.Fatalf("%d groups of stores, want %d", len(seen.scans), c.groups)
			}
			for i, sc := range seen.scans[:len(seen.scans)-1] {
				if sc.End != before.End || sc.Records != before.Records || sc.Seal != nil {
					t.Errorf("after group %d the frames end at %d, want %d", i, sc.End, before.End)
				}
				if sc.Tail.Bytes == 0 {
					t.Errorf("group %d stored nothing", i)
				}
				if seen.next[i] != before.Next {
					t.Errorf("after group %d readers are shown seq %d", i, seen.next[i]-1)
				}
			}
			after := seen.scans[len(seen.scans)-1]
			if after.End != w.Position().Offset || after.Records != before.Records+c.records {
				t.Errorf("afterwards the frames end at %d with %d records, want %d and %d", after.End,
					after.Records, w.Position().Offset, before.Records+c.records)
			}
			if seen.next[len(seen.next)-1] != before.Next {
				t.Error("this process sees the record before other processes do")
			}
			if s.Next() != before.Next+Seq(c.records) || s.End() != after.End {
				t.Errorf("the segment shows %d to %d", s.Next(), s.End())
			}
		})
	}
}

// TestAppendFuncRefused: a function that fails, panics or ends its goroutine leaves no trace.
func TestAppendFuncRefused(t *testing.T) {
	myErr := errors.New("mine")
	for _, c := range []struct {
		name string
		fn   func(dst []byte) error
	}{
		{"error", func(dst []byte) error { return errors.Join(fillWith(dst, "half done"), myErr) }},
		{"panic", func(dst []byte) error { copy(dst, "half done"); panic(myErr) }},
		{"panic with nil address", func(dst []byte) error {
			copy(dst, "half done")
			var p *int
			*p = 1
			return nil
		}},
		{"exit", func(dst []byte) error { copy(dst, "half done"); runtime.Goexit(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := heapWriter(t, MinSize)
			mustAppend(t, w, "before")
			before, pos := slices.Clone(w.s.m.b), w.Position()
			refused, panicked, err := callAppendFunc(w, len("half done"), c.fn)
			if c.name == "error" {
				if !errors.Is(refused, myErr) || err != nil || panicked != nil {
					t.Errorf("refused %v, error %v, panic %v", refused, err, panicked)
				}
			} else if (panicked == nil) != (c.name == "exit") {
				t.Errorf("it panics with %v", panicked)
			}
			if c.name == "panic" && panicked != any(myErr) {
				t.Errorf("it panics with %v", panicked)
			}
			if d := firstDifference(w.s.m.b, before); d != "" {
				t.Errorf("bytes are left: %s", d)
			}
			if w.Position() != pos || w.Next() != 2 || w.s.Next() != 2 {
				t.Errorf("the writer has moved to %v, seq %d", w.Position(), w.Next())
			}
			mustAppend(t, w, "after")
			if got := payloads(t, adopted(t, w.s)); !slices.Equal(got, []string{"before", "after"}) {
				t.Errorf("records %q", got)
			}
		})
	}
}

// callAppendFunc calls AppendFunc in a goroutine of its own, which fn may end.
func callAppendFunc(
	w *Writer, n int, fn func([]byte) error,
) (refused error, panicked any, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		refused, err = w.AppendFunc(n, fn)
	}()
	<-done
	return refused, panicked, err
}

// TestLimits: what FORMAT.md §5 says fits, does, beside a closing mark, the seal and a full index;
// one byte more does not.
func TestLimits(t *testing.T) {
	for _, size := range []int64{MinSize, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Run("one record", func(t *testing.T) {
				w := heapWriter(t, size)
				largest := MaxRecord(size)
				if w.Fits(FrameSize(largest+1), false) || w.Fits(FrameSize(largest), true) {
					t.Error("too much fits")
				}
				mustAppend(t, w, strings.Repeat("x", int(largest)))
				fillUp(t, w, 0)
			})
			t.Run("one batch", func(t *testing.T) {
				w := heapWriter(t, size)
				var batch []string
				left := MaxBatch(size)
				for n := int64(0); left > 0; n++ {
					p := min(left-HeaderSize, n%700)
					if left-FrameSize(p) < HeaderSize { // all of the rest
						p = left - HeaderSize
					}
					batch = append(batch, strings.Repeat("b", int(p)))
					left -= FrameSize(p)
				}
				if !w.Fits(MaxBatch(size), false) || w.Fits(MaxBatch(size)+1, false) {
					t.Error("MaxBatch is not the limit")
				}
				mustBatch(t, w, batch...)
				fillUp(t, w, 0)
			})
			for _, n := range []int{0, 1, 100, 3832, 4072, 4080} {
				if int64(n) > MaxRecord(size) {
					continue
				}
				t.Run(fmt.Sprintf("records of %d bytes", n), func(t *testing.T) {
					w := heapWriter(t, size)
					frame := FrameSize(int64(n))
					p := strings.Repeat("p", n)
					for range MaxBatch(size) / frame {
						mustAppend(t, w, p)
					}
					if w.Fits(frame, false) {
						t.Error("more fits than MaxBatch")
					}
					fillUp(t, w, int(MaxBatch(size)%frame))
				})
			}
			t.Run("records of all sizes, and marks", func(t *testing.T) {
				w := heapWriter(t, size)
				rnd := rand.New(rand.NewPCG(2, uint64(size)))
				for {
					p := strings.Repeat("r", rnd.IntN(600))
					if !w.Fits(FrameSize(int64(len(p))), true) {
						break
					}
					mustMark(t, w, markAt(w))
					mustAppend(t, w, p)
				}
				fillUp(t, w, int(w.limit-w.at))
			})
		})
	}
}

// fillUp closes, then seals a segment in which no more than left bytes are free for records, and
// checks what is there then.
func fillUp(t *testing.T, w *Writer, left int) {
	t.Helper()
	if free := int(w.limit - w.at); free != left {
		t.Errorf("%d bytes are free for records, want %d", free, left)
	}
	records := w.records
	mustMark(t, w, Mark{FirstLive: 1, Time: testTime, Clean: true})
	if sc := scan(t, w.s, 0); !sc.Clean || sc.Records != records || sc.End != w.at {
		t.Errorf("closed: %d records, ends at %d (%v), clean %v", sc.Records, sc.End, sc.Stop, sc.Clean)
	}
	if left < markFrame {
		if ok, err := w.Mark(markAt(w)); w.at > w.limit && ok || err != nil {
			t.Errorf("a mark where only the seal fits: %v, %v", ok, err)
		}
	}
	mustSeal(t, w)
	sc := scan(t, w.s, 0)
	if sc.Seal == nil || sc.Records != records || sc.Stop != nil {
		t.Fatalf("sealed: %d of %d records, %v", sc.Records, records, sc.Stop)
	}
	if end := int64(sc.Seal.IndexAt) + 16*int64(sc.Seal.IndexLen); end > w.s.Size {
		t.Errorf("the index ends at %d, behind the file's end", end)
	}
	if err := w.s.CheckIndex(sc); err != nil {
		t.Error(err)
	}
	first, err := w.s.Read(1, nil)
	if err != nil {
		t.Error(err)
	}
	last, err := adopted(t, w.s).Read(Seq(records), nil)
	if err != nil {
		t.Error(err)
	}
	if records == 1 && !bytes.Equal(first, last) {
		t.Error("the record reads differently")
	}
}

// TestMarkNeedsRoom: behind the last record one mark fits, whatever it is, then only the seal.
func TestMarkNeedsRoom(t *testing.T) {
	w := heapWriter(t, MinSize)
	for w.Fits(HeaderSize, false) {
		mustAppend(t, w, "")
	}
	mustMark(t, w, markAt(w))
	before, pos := slices.Clone(w.s.m.b), w.Position()
	for range 3 {
		if ok, err := w.Mark(markAt(w)); ok || err != nil {
			t.Fatalf("Mark: %v, %v", ok, err)
		}
	}
	if d := firstDifference(w.s.m.b, before); d != "" || w.Position() != pos {
		t.Errorf("a mark that does not fit has changed something: %s", d)
	}
	mustSeal(t, w)
}

// TestSealSays: the seal's fields, and that the index is there before the seal is.
func TestSealSays(t *testing.T) {
	var s *Segment
	var atSeal [][]byte
	s = heapSegment(t, testIdentity(1), func(_, _ Offset) {
		atSeal = append(atSeal, slices.Clone(s.m.b))
	})
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, "a", "b", "c")
	m := markAt(w)
	mustMark(t, w, m)
	end := w.Position().Offset + sealFrame
	atSeal = nil
	mustSeal(t, w)
	if got := w.Position().Offset; got != end {
		t.Errorf("sealed up to %d, want %d", got, end)
	}
	first := atSeal[0]
	if lastNonZero(first[end-sealFrame:end]) >= 0 || !bytes.Equal(first[end:], s.m.b[end:]) {
		t.Error("the first stores are not the whole index and nothing else")
	}
	for _, from := range []func() *Seal{
		func() *Seal { return scan(t, s, 0).Seal },
		func() *Seal { seal, _ := s.ReadSeal(end); return seal },
	} {
		got := from()
		if got == nil {
			t.Fatal("there is no seal")
		}
		succ := testIdentity(2)
		if got.Records != 3 || got.Next != 4 || got.Succ != 2 || got.SuccSalt != succ.Salt ||
			got.IndexAt != end || got.IndexLen != 1 || got.IndexEnd() != end+16 ||
			!got.OldestTime.Equal(testTime) || !got.NewestTime.Equal(m.Time) {
			t.Errorf("seal %+v", got)
		}
	}
	for _, at := range []Offset{-8, 0, 8, FirstFrame, end - 8, end + 1, end + 8, MinSize, 1 << 40} {
		if seal, err := s.ReadSeal(at); seal != nil || err != nil {
			t.Errorf("ReadSeal(%d): %v, %v", at, seal, err)
		}
	}
}

// TestResume: a writer that goes on behind a clean end makes the same bytes as one that never
// stopped.
func TestResume(t *testing.T) {
	sizes := []int{0, 100, 2000, 900, 4000, 16, 3000, 5}
	write := func(w *Writer, from, to int) {
		for i := from; i < to; i++ {
			mustAppend(t, w, strings.Repeat(string(rune('a'+i)), sizes[i]))
		}
		mustMark(t, w, Mark{FirstLive: 1, Time: testTime.Add(time.Duration(to)), Clean: true})
	}
	whole := heapWriter(t, 64<<10)
	for stop := range len(sizes) {
		write(whole, stop, stop+1)
	}
	mustSeal(t, whole)

	w := heapWriter(t, 64<<10)
	for stop := range len(sizes) {
		write(w, stop, stop+1)
		s := openBytes(t, w.s.m.b, w.s.Identity, nil)
		sc := scan(t, s, 0)
		if !sc.Clean {
			t.Fatalf("not a clean end: %+v", sc)
		}
		s.Adopt(sc)
		w = ResumeWriter(s, sc, nil)
	}
	mustSeal(t, w)
	if d := firstDifference(w.s.m.b, whole.s.m.b); d != "" {
		t.Error(d)
	}
	if err := w.s.CheckIndex(scan(t, w.s, 0)); err != nil {
		t.Error(err)
	}
}

// TestNoAllocations: appends and reads take no memory from the heap.
func TestNoAllocations(t *testing.T) {
	w := heapWriter(t, 1<<20)
	s := w.Segment()
	payload := []byte(strings.Repeat("p", 128))
	batch, crcs := [][]byte{payload, nil, payload}, []uint32{Checksum(payload), 0, Checksum(payload)}
	buf := make([]byte, 0, 256)
	fill := func(dst []byte) error { dst[0] = 1; return nil }
	look := func(p []byte) error { buf = append(buf[:0], p...); return nil }
	mustAppend(t, w, "first") // makes the index
	var r Reader
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"Append", func() error { return w.Append(payload, Checksum(payload)) }},
		{"AppendFunc", func() error { _, err := w.AppendFunc(100, fill); return err }},
		{"AppendBatch", func() error { return w.AppendBatch(batch, crcs) }},
		{"Read", func() (err error) { buf, err = s.Read(s.Next()/2, buf); return err }},
		{"View", func() error { return s.View(s.Next()/2, look) }},
		{"Locate", func() error { _, err := s.Locate(s.Next() / 2); return err }},
		{"Reader", func() error {
			if err := r.Start(s, s.Next()/2); err != nil {
				return err
			}
			_, err := r.Next()
			return err
		}},
		{"SeqAt", func() error { _, err := s.SeqAt(s.End()); return err }},
		{"After", func() error { _, err := s.After(s.Next() / 2); return err }},
	} {
		var failed error
		n := testing.AllocsPerRun(200, func() {
			if err := c.f(); err != nil {
				failed = err
			}
		})
		if failed != nil || n != 0 {
			t.Errorf("%s: %v allocations, error %v", c.name, n, failed)
		}
	}
}

// TestBatchOfNothing: an empty batch is no frame.
func TestBatchOfNothing(t *testing.T) {
	w := heapWriter(t, MinSize)
	before, pos := slices.Clone(w.s.m.b), w.Position()
	if err := w.AppendBatch(nil, nil); err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(w.s.m.b, before); d != "" || w.Position() != pos || w.Next() != 1 {
		t.Errorf("it is something: %v, %s", w.Position(), d)
	}
}
