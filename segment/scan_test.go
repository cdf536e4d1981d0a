package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestScanUnused: a prepared segment is unused until a byte behind its identity is not zero.
func TestScanUnused(t *testing.T) {
	s := heapSegment(t, testIdentity(1), nil)
	sc := scan(t, s, 0)
	if !sc.Unused() || sc.HasLink || sc.End != FirstFrame || !errors.Is(sc.Stop, ErrHole) {
		t.Errorf("scan of a prepared segment: %+v", sc)
	}
	for _, at := range []Offset{FirstFrame, FirstFrame + 1, 5000, MinSize - 1} {
		s.m.b[at] = 1
		if sc := scan(t, s, 0); sc.Unused() || sc.Tail.Bytes != int64(at-FirstFrame)+1 {
			t.Errorf("with a byte at %d: tail %+v", at, sc.Tail)
		}
		s.m.b[at] = 0
	}
}

// TestScanLimit: with a limit, the frames must reach exactly to it.
func TestScanLimit(t *testing.T) {
	f := linked().record("one").put(KindBatch, []byte("two")).put(KindBatch, []byte("three"))
	inBatch := f.at
	f.put(KindBatchEnd, []byte("four"))
	beforeMark := f.at
	f.mark(Position{}).seal(4, nil)
	for _, c := range []struct {
		name  string
		limit Offset
		next  Seq // 0: the limit is not reached
		want  error
	}{
		{"behind the link", FirstFrame + linkFrame, 1, nil},
		{"behind a record", FirstFrame + linkFrame + 24, 2, nil},
		{"inside a batch", inBatch, 4, nil},
		{"behind a batch", beforeMark, 5, nil},
		{"behind a mark", beforeMark + markFrame, 5, nil},
		{"behind the seal", f.at, 5, nil},
		{"inside the link", FirstFrame + 8, 0, ErrFrame},
		{"inside a record", FirstFrame + linkFrame + 16, 0, ErrFrame},
		{"inside a mark", beforeMark + 8, 0, ErrFrame},
		{"behind the seal's end", f.at + 8, 0, ErrFrame},
		{"at the file's end", MinSize, 0, ErrFrame},
		{"behind the file's end", MinSize + 8, 0, ErrFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			sc := scanAll(f.b, &f.id, c.limit)
			if c.want != nil {
				if !errors.Is(sc.Stop, c.want) {
					t.Errorf("stopped by %v, want %v", sc.Stop, c.want)
				}
				return
			}
			if sc.Stop != nil || sc.End != c.limit || sc.StopAt != c.limit || sc.Next != c.next {
				t.Errorf("ends at %d, next %d, %v; want %d and %d", sc.End, sc.Next, sc.Stop, c.limit, c.next)
			}
			if sc.Records != uint64(c.next-1) || sc.Tail != (Tail{}) {
				t.Errorf("%d records, tail %+v", sc.Records, sc.Tail)
			}
			if (sc.Seal != nil) != (c.limit == f.at) {
				t.Errorf("seal %v", sc.Seal)
			}
		})
	}
	t.Run("damage before the limit", func(t *testing.T) {
		f.b[FirstFrame+linkFrame+16] ^= 1
		sc := scanAll(f.b, &f.id, beforeMark)
		if !errors.Is(sc.Stop, ErrChecksum) || sc.StopAt != FirstFrame+linkFrame || sc.Next != 1 {
			t.Errorf("stopped at %d by %v", sc.StopAt, sc.Stop)
		}
	})
}

// TestScanStopsBehindSeal: what is behind a seal is the index, or nothing; it is not looked at.
func TestScanStopsBehindSeal(t *testing.T) {
	f := linked().record("one").seal(1, nil)
	end := f.at
	f.record("more").mark(Position{7, end})
	sc := scanAll(f.b, &f.id, 0)
	if sc.Seal == nil || sc.End != end || sc.Stop != nil || sc.Tail != (Tail{}) || sc.Records != 1 {
		t.Errorf("scan %+v", sc)
	}
}

// TestClaims: a scan knows the highest claim among the valid frames, and behind them.
func TestClaims(t *testing.T) {
	at := Position{7, FirstFrame + linkFrame}
	for _, c := range []struct {
		name         string
		add          func(f *frames)
		frames, tail Position
	}{
		{"none", func(*frames) {}, Position{}, Position{}},
		{"a mark's", func(f *frames) { f.record("").mark(at) }, at, Position{}},
		{"the highest of several, not the last", func(f *frames) {
			f.mark(Position{6, 9000}).mark(at).mark(Position{5, 1 << 40})
		}, at, Position{}},
		{"of a mark behind a hole", func(f *frames) {
			f.at += 512
			f.mark(at)
		}, Position{}, at},
		{"the highest of several marks behind a hole", func(f *frames) {
			f.at += 8
			f.mark(Position{6, 5}).mark(at).mark(Position{6, 4})
		}, Position{}, at},
		{"of a mark behind a damaged frame", func(f *frames) {
			f.record("damaged").mark(at)
			f.b[f.at-markFrame-1] = 1
		}, Position{}, at},
		{"of a mark whose seq is out of order", func(f *frames) {
			f.record("").seq = 77
			f.mark(at)
		}, Position{}, at},
		{"of a mark inside the payload of an incomplete batch", func(f *frames) {
			f.put(KindBatch, []byte("x")).mark(at) // a writer never does that
		}, Position{}, at},
		{"not of a link behind the end", func(f *frames) {
			f.at += 512
			l := startLink()
			l.Claim = Position{6, 5000}
			f.put(KindLink, linkBytes(l))
		}, Position{}, Position{}},
		{"not of a mark in a payload, copied from elsewhere in the segment", func(f *frames) {
			f.mark(at)
			m := slices.Clone(f.b[f.at-markFrame : f.at])
			clear(f.b[f.at-markFrame : f.at])
			f.at += 512
			copy(f.b[f.at:], m)
		}, Position{}, Position{}},
		{"not of another segment's mark", func(f *frames) {
			salt := f.id.Salt
			f.id.Salt++
			f.at += 512
			f.mark(at)
			f.id.Salt = salt
		}, Position{}, Position{}},
		{"not of a mark that claims more than itself", func(f *frames) {
			f.at += 512
			f.mark(Position{7, f.at + 8})
		}, Position{}, Position{}},
		{"not of a mark that is damaged", func(f *frames) {
			f.at += 512
			f.mark(at)
			f.b[f.at-1] ^= 1
		}, Position{}, Position{}},
		{"not of a mark that the file's end cuts", func(f *frames) {
			f.at = MinSize - markFrame
			f.mark(at)
			copy(f.b[MinSize-48:], f.b[MinSize-56:])
			clear(f.b[MinSize-56 : MinSize-48])
		}, Position{}, Position{}},
		{"of a mark in the last bytes of the file", func(f *frames) {
			f.at = MinSize - markFrame
			f.mark(at)
		}, Position{}, at},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := linked()
			c.add(f)
			sc := scanAll(f.b, &f.id, 0)
			if sc.Claim != c.frames || sc.Tail.Claim != c.tail {
				t.Errorf("claims %v and %v, want %v and %v", sc.Claim, sc.Tail.Claim, c.frames, c.tail)
			}
			want := c.frames
			if want.Less(c.tail) {
				want = c.tail
			}
			if sc.Promised() != want {
				t.Errorf("promised %v, want %v", sc.Promised(), want)
			}
		})
	}
	t.Run("the link's", func(t *testing.T) {
		s := heapSegment(t, testIdentity(7), nil)
		l := startLink()
		l.Claim = Position{6, 5000}
		if _, err := NewWriter(s, l, nil); err != nil {
			t.Fatal(err)
		}
		if sc := scan(t, s, 0); sc.Claim != l.Claim || sc.Promised() != l.Claim {
			t.Errorf("claim %v", sc.Claim)
		}
	})
	t.Run("the first live seq behind the end", func(t *testing.T) {
		f := linked().record("")
		f.at += 512
		for _, live := range []Seq{9, 5} {
			f.put(KindMark, markBytes(Mark{Claim: at, FirstLive: live, Time: testTime}))
		}
		if sc := scanAll(f.b, &f.id, 0); sc.Tail.FirstLive != 5 || sc.FirstLive != 1 {
			t.Errorf("first live %d, behind the end %d", sc.FirstLive, sc.Tail.FirstLive)
		}
	})
	t.Run("without a link", func(t *testing.T) {
		f := linked().record("x").mark(at)
		f.b[FirstFrame] ^= 1
		if sc := scanAll(f.b, &f.id, 0); sc.HasLink || sc.Claim != (Position{}) || sc.Promised() != at {
			t.Errorf("scan %+v", sc)
		}
	})
}

// TestLookBehind compares the search for marks, which leaps over zeros, with one that does not.
func TestLookBehind(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 400 {
		f := linked()
		for range rnd.IntN(12) {
			f.at = FirstFrame + linkFrame + Offset(8*rnd.IntN(480))
			if rnd.IntN(3) == 0 {
				f.b[f.at+Offset(rnd.IntN(32))] = byte(rnd.Uint32())
				continue
			}
			f.mark(Position{7, Offset(8 * rnd.IntN(int(f.at)/8))})
		}
		from := FirstFrame + linkFrame
		want := Tail{Bytes: int64(lastNonZero(f.b[from:])) + 1}
		for off := from; off <= MinSize-markFrame; off += 8 {
			want.look(f.b, &f.id, off)
		}
		if got := lookBehind(f.b, &f.id, from, allOf(f.b)); got != want {
			t.Fatalf("tail %+v, want %+v", got, want)
		}
	}
}

// TestTailBytes: the tail reaches from the end of the valid frames to the last byte that is not
// zero, so a lost page in between does not hide what follows.
func TestTailBytes(t *testing.T) {
	w := heapWriter(t, 64<<10)
	mustAppend(t, w, "a", "b")
	end := w.Position().Offset
	mustAppend(t, w, strings.Repeat("c", 10000), "d")
	last := w.Position().Offset - 8 + 1 // a payload of 1 byte and 7 of padding
	clear(w.s.m.b[end : end+512])
	sc := scan(t, w.s, 0)
	if sc.End != end || !errors.Is(sc.Stop, ErrHole) || sc.Tail.Bytes != int64(last-end) {
		t.Errorf("ends at %d by %v, tail %+v; want %d, %d bytes", sc.End, sc.Stop, sc.Tail, end, last-end)
	}
}

// TestIncompleteBatch: its records are not there, nor in the index, and the tail begins with it.
func TestIncompleteBatch(t *testing.T) {
	w := heapWriter(t, 64<<10)
	mustAppend(t, w, "a", "b")
	end := w.Position().Offset
	mustBatch(t, w, strings.Repeat("c", 5000), strings.Repeat("d", 5000), "e", "f")
	all := w.Position().Offset
	clear(w.s.m.b[all-24 : all])
	sc := scan(t, w.s, 0)
	if sc.End != end || sc.StopAt != all-24 || sc.Next != 3 || sc.Records != 2 {
		t.Errorf("scan %+v", sc)
	}
	if len(sc.items) != 1 || sc.Tail.Bytes != int64(all-24-7-end) {
		t.Errorf("index %v, tail %+v", sc.items, sc.Tail)
	}
	if got := payloads(t, adopted(t, w.s)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("records %q", got)
	}
}

// TestClean: only a closing mark as the last frame is a clean end.
func TestClean(t *testing.T) {
	w := heapWriter(t, MinSize)
	closing := Mark{FirstLive: 1, Time: testTime, Clean: true}
	for _, c := range []struct {
		name  string
		do    func()
		clean bool
	}{
		{"new", func() {}, false},
		{"closed", func() { mustMark(t, w, closing) }, true},
		{"record behind the mark", func() { mustAppend(t, w, "x") }, false},
		{"another mark", func() { mustMark(t, w, markAt(w)) }, false},
		{"closed again", func() { mustMark(t, w, closing) }, true},
		{"closed twice", func() { mustMark(t, w, closing) }, true},
		{"sealed", func() { mustSeal(t, w) }, false},
	} {
		c.do()
		if sc := scan(t, w.s, 0); sc.Clean != c.clean {
			t.Errorf("%s: clean %v", c.name, sc.Clean)
		}
	}
}

// TestScanFirstLiveAndTimes: the last link or mark says them.
func TestScanFirstLiveAndTimes(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustAppend(t, w, "x", "y")
	mustMark(t, w, Mark{FirstLive: 3, Time: testTime.Add(time.Hour)})
	mustMark(t, w, Mark{FirstLive: 2, Time: testTime.Add(-time.Hour)})
	sc := scan(t, w.s, 0)
	if sc.FirstLive != 2 || !sc.Oldest.Equal(testTime) || !sc.Newest.Equal(testTime.Add(-time.Hour)) {
		t.Errorf("first live %d, %v to %v", sc.FirstLive, sc.Oldest, sc.Newest)
	}
}

// TestScanAllocations: a scan takes memory for the sparse index only, whatever the bytes say.
func TestScanAllocations(t *testing.T) {
	const size = 4 << 20
	for _, c := range []struct {
		name  string
		bytes func() []byte
	}{
		{"full of records", func() []byte {
			w := heapWriter(t, size)
			for p := strings.Repeat("x", 500); w.Fits(FrameSize(500), false); {
				mustAppend(t, w, p)
			}
			return w.s.m.b
		}},
		{"a length of 4 GiB", func() []byte {
			f := heapWriter(t, size).s.m.b
			store64(f, FirstFrame+linkFrame, publication(maxFrame, 1))
			return f
		}},
		{"the start of a mark everywhere", func() []byte {
			b := heapWriter(t, size).s.m.b
			for off := FirstFrame + linkFrame; off < size; off += 8 {
				le.PutUint32(b[off:], markFrame)
				b[off+4] = byte(KindMark)
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := testIdentity(1)
			id.Size = size
			b := c.bytes()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sc := scanAll(b, &id, 0)
			runtime.ReadMemStats(&after)
			// The index grows by doubling, and is copied once.
			const bound = 16 * (5*size/4096 + 256)
			if n := after.TotalAlloc - before.TotalAlloc; n > bound+4096 {
				t.Errorf("%d bytes allocated, %d allowed; %d records", n, bound, sc.Records)
			}
			if len(sc.items) > size/4096 {
				t.Errorf("%d entries", len(sc.items))
			}
		})
	}
}

// TestScanSalvagesEveryPrefix: cut anywhere, with zeros or garbage behind, a scan finds exactly the
// whole frames before the cut.
func TestScanSalvagesEveryPrefix(t *testing.T) {
	w := heapWriter(t, MinSize)
	ends := map[Offset]Seq{FirstFrame + linkFrame: 1}
	order := []Offset{FirstFrame, FirstFrame + linkFrame}
	for i := range 20 {
		mustAppend(t, w, strings.Repeat("p", 7*i))
		ends[w.at] = w.next
		order = append(order, w.at)
	}
	end := w.at
	for cut := FirstFrame; cut <= end; cut++ {
		i, found := slices.BinarySearch(order, cut)
		if !found {
			i--
		}
		for _, garbage := range []byte{0, 0xff} {
			b := slices.Clone(w.s.m.b)
			for k := cut; k < end; k++ {
				b[k] = garbage
			}
			sc := scanAll(b, &w.s.Identity, 0)
			want := order[i]
			// Zeros in place of zeros change nothing.
			if garbage == 0 && i+1 < len(order) && lastNonZero(w.s.m.b[cut:order[i+1]]) < 0 {
				want = order[i+1]
			}
			if sc.End != want || sc.Next != ends[want] {
				t.Fatalf("cut at %d, then %#x: ends at %d, next %d; want %d and %d",
					cut, garbage, sc.End, sc.Next, want, ends[want])
			}
		}
	}
}

// TestScanTwice: what a scan found, and the segment adopted, another scan finds again.
func TestScanTwice(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := variedWriter(t, 64<<10, seed)
			sc := scan(t, w.s, 0)
			again := scan(t, adopted(t, w.s), sc.End)
			if again.Stop != nil || again.End != sc.End || again.Next != sc.Next ||
				!slices.Equal(again.items, sc.items) {
				t.Errorf("found %+v, then %+v", sc, again)
			}
		})
	}
}
