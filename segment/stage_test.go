package segment

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// WriteAt makes a heapFile one that groups can be written to.
func (f *heapFile) WriteAt(p []byte, off int64) (int, error) { return copy(f.b[off:], p), nil }

// stagedWriter returns a writer whose frames are staged, on the segment of heapWriter.
func stagedWriter(tb testing.TB, size int64) *Writer {
	tb.Helper()
	w := heapWriter(tb, size)
	w.use(&Stage{})
	return w
}

// mustMove moves what is staged.
func mustMove(tb testing.TB, w *Writer) {
	tb.Helper()
	if err := w.Take().Move(); err != nil {
		tb.Fatal(err)
	}
}

// appendSome appends records of every kind; the next call others.
func appendSome(tb testing.TB, w *Writer, salt int) {
	tb.Helper()
	for i := range 9 {
		mustAppend(tb, w, strings.Repeat(string(rune('a'+(salt+i)%26)), (i*37+salt*11)%400))
	}
	mustBatch(tb, w, "one", "", strings.Repeat("three", salt%50))
	mustMark(tb, w, markAt(w))
	for _, n := range []int{0, 1, 7, 8, 300} {
		refused, err := w.AppendFunc(n, func(dst []byte) error { return fillHalf(dst, byte(salt)) })
		if refused != nil || err != nil {
			tb.Fatal(refused, err)
		}
	}
}

// fillHalf is a function for AppendFunc that leaves half of dst, which must be zero, as it is.
func fillHalf(dst []byte, b byte) error {
	if !zero(dst) {
		return fmt.Errorf("dst is not zero: %x", dst)
	}
	for i := range dst[:len(dst)/2] {
		dst[i] = b | 1
	}
	return nil
}

// TestStagedBytes: a staged writer makes the same file as one that fills its frames in the mapping,
// whatever the groups, also in buffers that are used again.
func TestStagedBytes(t *testing.T) {
	for _, every := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			plain, staged := heapWriter(t, 1<<20), stagedWriter(t, 1<<20)
			for i := range 20 {
				appendSome(t, plain, i)
				appendSome(t, staged, i)
				if i%every == 0 {
					mustMove(t, staged)
				}
			}
			mustMove(t, staged)
			if staged.Position() != plain.Position() || staged.Next() != plain.Next() {
				t.Errorf("at %v, next %d; want %v, %d", staged.Position(), staged.Next(),
					plain.Position(), plain.Next())
			}
			if !slices.Equal(payloads(t, staged.s), payloads(t, plain.s)) {
				t.Error("the segment shows other records")
			}
			mustSeal(t, plain)
			mustSeal(t, staged)
			if d := firstDifference(staged.s.m.b, plain.s.m.b); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestDirtyBuffer: nothing of what a buffer held before gets into frames of other sizes.
func TestDirtyBuffer(t *testing.T) {
	plain, staged := heapWriter(t, 1<<20), stagedWriter(t, 1<<20)
	for i := range 4 { // two buffers take turns
		p := strings.Repeat("\xff", 3000)
		mustAppend(t, plain, p)
		mustAppend(t, staged, p)
		mustMove(t, staged)
		if i > 1 && cap(staged.stage.spare) == 0 {
			t.Fatal("no buffer is kept")
		}
	}
	for n := range 40 {
		for _, w := range []*Writer{plain, staged} {
			mustAppend(t, w, strings.Repeat("x", n))
			_, err := w.AppendFunc(n, func(dst []byte) error { return fillHalf(dst, 3) })
			if err != nil {
				t.Fatal(err)
			}
			mustBatch(t, w, "", strings.Repeat("y", n), "z")
			mustMark(t, w, markAt(w))
		}
		if n%3 == 0 {
			mustMove(t, staged)
		}
	}
	mustMove(t, staged)
	if d := firstDifference(staged.s.m.b, plain.s.m.b); d != "" {
		t.Error(d)
	}
	if sc := scan(t, staged.s, 0); sc.End != staged.at || sc.Next != staged.next {
		t.Errorf("a scan ends at %d: %v", sc.End, sc.Stop)
	}
}

// TestGroupIsSeenAtOnce watches every group of stores: readers of the bytes see nothing of what is
// staged until all of it is there, and readers of the segment not before those.
func TestGroupIsSeenAtOnce(t *testing.T) {
	w, seen := watchedWriter(t)
	s := w.s
	w.use(&Stage{})
	for round := range 3 {
		before, bytesBefore := scan(t, s, 0), slices.Clone(s.m.b)
		seen.scans, seen.next = nil, nil
		mustAppend(t, w, "one", "", "three")
		mustBatch(t, w, "a", "b")
		mustMark(t, w, markAt(w))
		if len(seen.scans) > 0 || !bytes.Equal(s.m.b, bytesBefore) || s.Next() != before.Next ||
			s.End() != before.End {
			t.Fatalf("round %d: an append has touched the file, or is published", round)
		}
		mustMove(t, w)
		if len(seen.scans) != 2 || seen.scans[0].End != before.End || seen.scans[0].Tail.Bytes == 0 ||
			seen.scans[1].End != w.at || seen.scans[1].Next != w.next {
			t.Fatalf("round %d: the frames end at %d, then %d, of %d", round,
				seen.scans[0].End, seen.scans[1].End, w.at)
		}
		if seen.next[0] != before.Next || seen.next[1] != before.Next {
			t.Errorf("this process sees the records before other processes do: %v", seen.next)
		}
		if s.Next() != before.Next+5 || s.End() != w.at {
			t.Errorf("the segment shows %d to %d", s.Next(), s.End())
		}
	}
}

// TestStagedAppendFuncRefused: a function that fails, panics or ends its goroutine leaves no trace
// among what is staged, also where it is the first.
func TestStagedAppendFuncRefused(t *testing.T) {
	for _, end := range []string{"fails", "panics", "exits"} {
		for before := range 3 {
			t.Run(fmt.Sprintf("%s/%d before", end, before),
				func(t *testing.T) { refuseStaged(t, end, before) })
		}
	}
}

func refuseStaged(t *testing.T, end string, before int) {
	mine := errors.New("mine")
	plain, staged := heapWriter(t, MinSize), stagedWriter(t, MinSize)
	for range 2 { // the second time in the same buffers
		for range before {
			mustAppend(t, plain, "before")
			mustAppend(t, staged, "before")
		}
		pos, held := staged.Position(), len(staged.stage.buf)
		refused, panicked, err := callAppendFunc(staged, 100, func(dst []byte) error {
			if !zero(dst) {
				t.Error("dst is not zero")
			}
			copy(dst, strings.Repeat("\xff", 77))
			switch end {
			case "panics":
				panic(mine)
			case "exits":
				runtime.Goexit()
			}
			return mine
		})
		if err != nil || (end == "panics") != (panicked == any(mine)) ||
			(end == "fails") != (refused == mine) {
			t.Errorf("refused %v, panic %v, error %v", refused, panicked, err)
		}
		if staged.Position() != pos || len(staged.stage.buf) != held {
			t.Errorf("at %v with %d bytes staged, want %v and %d", staged.Position(),
				len(staged.stage.buf), pos, held)
		}
		if before == 0 {
			mustMove(t, staged) // of nothing
		}
		mustAppend(t, plain, "after", "it")
		mustAppend(t, staged, "after", "it")
		mustMove(t, staged)
		if d := firstDifference(staged.s.m.b, plain.s.m.b); d != "" {
			t.Fatal(d)
		}
	}
}

// TestStageBuffers: a buffer grows with what is staged, is used again, and is given up when it is
// large and hardly used.
func TestStageBuffers(t *testing.T) {
	w := stagedWriter(t, 64<<20)
	st := w.stage
	st.Ahead = 256 << 10
	mustMove(t, w) // nothing
	small, large := strings.Repeat("s", 1000), strings.Repeat("l", 3*keptStage)
	mustAppend(t, w, small)
	first := &st.buf[0]
	mustMove(t, w)
	mustAppend(t, w, small)
	mustMove(t, w)
	mustAppend(t, w, small)
	if &st.buf[0] != first && &st.spare[:1][0] != first {
		t.Error("a buffer is not used again")
	}
	for range 200 { // within a group
		mustAppend(t, w, small)
	}
	if st.Large() {
		t.Error("it is large with 200 kB")
	}
	mustAppend(t, w, large)
	if !st.Large() {
		t.Error("it is not large with 3 MiB")
	}
	mustMove(t, w)
	if st.Large() {
		t.Error("it is large after a Move")
	}
	if cap(st.spare) < len(large) {
		t.Error("a buffer that is well used is given up")
	}
	for range 4 {
		mustAppend(t, w, small)
		mustMove(t, w)
	}
	if n := cap(st.buf) + cap(st.spare); n > 2*keptStage {
		t.Errorf("buffers of %d bytes are kept for groups of 1 kB", n)
	}
	if got := payloads(t, w.s); len(got) != 3+200+1+4 || got[203] != large {
		t.Errorf("%d records", len(got))
	}
}
