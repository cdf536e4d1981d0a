package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// indexOf returns what FORMAT.md §5 says the index of frames is, read off the frames one by one.
func indexOf(t *testing.T, s *Segment) (items []indexItem) {
	t.Helper()
	sc := scan(t, s, 0)
	page, stamp := Offset(0), s.Link.Time.UnixNano()
	for at := FirstFrame; at < sc.End; {
		h, p, err := readFrame(s.m.b, at, s.Salt)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case h.kind == KindMark:
			m, _ := decodeMark(p, h.seq, Position{s.Ordinal, at})
			stamp = m.Time.UnixNano()
		case h.kind.IsRecord() && at/4096 != page:
			page = at / 4096
			items = append(items, indexItem{uint32(h.seq - sc.Link.Base), uint32(at / 8), stamp})
		}
		at += h.size()
	}
	return items
}

// variedWriter fills a segment with records of all sizes, batches and marks.
func variedWriter(t *testing.T, size int64, seed uint64) *Writer {
	t.Helper()
	w := heapWriter(t, size)
	rnd := rand.New(rand.NewPCG(3, seed))
	for i := 0; ; i++ {
		p := strings.Repeat("v", []int{0, 10, 300, 5000}[rnd.IntN(4)])
		if !w.Fits(2*FrameSize(int64(len(p)))+markFrame, false) {
			return w
		}
		switch rnd.IntN(5) {
		case 0:
			mustBatch(t, w, p, p)
		case 1:
			mustMark(t, w, Mark{FirstLive: 1, Time: testTime.Add(time.Duration(i))})
			mustAppend(t, w, p)
		default:
			mustAppend(t, w, p)
		}
	}
}

// TestIndexContent: one entry for the first record that starts in each page, by the writer as by
// the scanner, and behind the seal.
func TestIndexContent(t *testing.T) {
	for seed := range uint64(20) {
		w := variedWriter(t, 256<<10, seed)
		want := indexOf(t, w.s)
		if got := w.s.index.all(); !slices.Equal(got, want) {
			t.Fatalf("the writer's index is %v, want %v", got, want)
		}
		if got := scan(t, w.s, 0).items; !slices.Equal(got, want) {
			t.Fatalf("the scan's index is %v, want %v", got, want)
		}
		mustSeal(t, w)
		sc := scan(t, w.s, 0)
		if err := w.s.CheckIndex(sc); err != nil {
			t.Fatal(err)
		}
		got, err := decodeIndex(w.s.m.b, sc.Seal, w.s.Salt)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("the index behind the seal is %v, %v, want %v", got, err, want)
		}
	}
}

// TestIndexOfMarksOnly: a segment without records has an empty index.
func TestIndexOfMarksOnly(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustMark(t, w, markAt(w))
	mustSeal(t, w)
	sc := scan(t, w.s, 0)
	if err := w.s.CheckIndex(sc); err != nil || sc.Seal.IndexLen != 0 {
		t.Errorf("%d entries, %v", sc.Seal.IndexLen, err)
	}
	s := openBytes(t, w.s.m.b, w.s.Identity, nil)
	s.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
	if _, err := s.Read(1, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reading what is not there: %v", err)
	}
	if s.IndexRebuilt() {
		t.Error("an empty index is taken for a damaged one")
	}
}

// TestIndexSearch compares floor and before with a walk over all entries, while the index grows
// over its first allocations.
func TestIndexSearch(t *testing.T) {
	var x index
	for range 2 {
		if at, first := x.floor(5, 9); at != FirstFrame || first != 0 {
			t.Errorf("floor in an empty index: %d, %d", at, first)
		}
		if at := x.before(5000); at != FirstFrame {
			t.Errorf("before in an empty index: %d", at)
		}
		x.set(nil)
	}
	for i := range Seq(600) {
		x.add(3*i, Offset(4096*(i+1)+8*(i%5)+200), int64(i))
		x.add(3*i+1, Offset(4096*(i+1)+2000), int64(i)) // in the same page: no entry
	}
	items := x.all()
	if len(items) != 600 {
		t.Fatalf("%d entries", len(items))
	}
	for delta := range Seq(1801) {
		want := items[min(int(delta/3), 599)]
		for _, next := range []Seq{1801, 1, 2000, 5000, 1 << 32, 1 << 56} { // only a hint
			if at, first := x.floor(delta, next); at != want.offset() || first != Seq(want.delta) {
				t.Fatalf("floor(%d, %d) = %d, %d, want %v", delta, next, at, first, want)
			}
		}
	}
	for at := Offset(0); at < 4096*20; at += 8 {
		want := FirstFrame
		for _, e := range items {
			if e.offset() <= at {
				want = e.offset()
			}
		}
		if got := x.before(at); got != want {
			t.Fatalf("before(%d) = %d, want %d", at, got, want)
		}
	}
}

// TestIndexOfMixedSizes finds every record among pages with one record and pages with many.
func TestIndexOfMixedSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var items []indexItem
		next := Seq(0)
		for range rnd.IntN(40) {
			items = append(items, indexItem{delta: uint32(next)})
			next += 1 + Seq(rnd.IntN(2)*rnd.IntN(250))
		}
		want := 0
		for delta := range next + 10 {
			for want < len(items) && Seq(items[want].delta) <= delta {
				want++
			}
			if got := find(items, delta, next); got != want {
				t.Fatalf("find(%v, %d, %d) = %d, want %d", items, delta, next, got, want)
			}
		}
	}
}

// TestIndexIsShared: one adds while others search; the race detector watches.
func TestIndexIsShared(t *testing.T) {
	var x index
	const n = 5000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for have := 0; have < n; {
				items := x.all()
				if len(items) < have {
					t.Error("entries are gone")
					return
				}
				for i := have; i < len(items); i++ {
					if items[i] != (indexItem{uint32(i), uint32(512 * (i + 1)), int64(i)}) {
						t.Errorf("entry %d is %v", i, items[i])
						return
					}
				}
				have = len(items)
				if have > 0 {
					if at, _ := x.floor(Seq(have-1), n); at < items[have-1].offset() {
						t.Errorf("floor(%d) = %d", have-1, at)
					}
				}
			}
		})
	}
	for i := range n {
		x.add(Seq(i), Offset(4096*(i+1)), int64(i))
	}
	wg.Wait()
}

// sealedSegment returns a sealed segment of several pages and its scan.
func sealedSegment(t *testing.T) (*Segment, *Scan) {
	t.Helper()
	w := variedWriter(t, 64<<10, 1)
	mustSeal(t, w)
	return w.s, scan(t, w.s, 0)
}

// TestIndexEveryBit: no changed bit of an index goes unnoticed, and reading goes on without it.
func TestIndexEveryBit(t *testing.T) {
	s, sc := sealedSegment(t)
	want := payloads(t, s)
	end := sc.Seal.IndexAt + Offset(16*sc.Seal.IndexLen)
	if sc.Seal.IndexLen < 5 {
		t.Fatalf("%d entries are too few", sc.Seal.IndexLen)
	}
	for bit := 8 * sc.Seal.IndexAt; bit < 8*end; bit++ {
		s.m.b[bit/8] ^= 1 << (bit % 8)
		if err := s.CheckIndex(sc); !errors.Is(err, ErrIndex) {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8-sc.Seal.IndexAt, err)
		}
		if bit%101 == 0 {
			other := openBytes(t, s.m.b, s.Identity, nil)
			other.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
			if got := payloads(t, other); !slices.Equal(got, want) || !other.IndexRebuilt() {
				t.Fatalf("with a damaged index: %d records, rebuilt: %v", len(got), other.IndexRebuilt())
			}
		}
		s.m.b[bit/8] ^= 1 << (bit % 8)
	}
	good := openBytes(t, s.m.b, s.Identity, nil)
	good.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
	if got := payloads(t, good); !slices.Equal(got, want) || good.IndexRebuilt() {
		t.Errorf("with a good index: %d records, rebuilt: %v", len(got), good.IndexRebuilt())
	}
}

// TestIndexErrors: an index with the right checksum is checked all the same.
func TestIndexErrors(t *testing.T) {
	const at = Offset(8192)
	ok := func(i int) indexItem { return indexItem{uint32(i), uint32(at/8/2 + Offset(8*i)), 5} }
	at8 := func(off Offset) uint32 { return uint32(off / 8) }
	for _, c := range []struct {
		name  string
		items []indexItem
		good  bool
	}{
		{"none", nil, true},
		{"two", []indexItem{{0, at8(4208), 1}, {9, at8(8184), 1}}, true},
		{"the most there can be", []indexItem{ok(2), ok(3), ok(4), ok(5)}, true},
		{"more than pages", []indexItem{ok(2), ok(3), ok(4), ok(5), ok(6)}, false},
		{"in the identity", []indexItem{{0, at8(4088), 1}}, false},
		{"in the link", []indexItem{{0, at8(4168), 1}}, false},
		{"offset 0", []indexItem{{0, 0, 1}}, false},
		{"behind the seal", []indexItem{{0, at8(at), 1}}, false},
		{"far away", []indexItem{{0, 1<<32 - 1, 1}}, false},
		{"seq twice", []indexItem{{3, at8(4208), 1}, {3, at8(8184), 1}}, false},
		{"seq descending", []indexItem{{3, at8(4208), 1}, {2, at8(8184), 1}}, false},
		{"offset twice", []indexItem{{3, at8(4208), 1}, {4, at8(4208), 1}}, false},
		{"offset descending", []indexItem{{3, at8(8184), 1}, {4, at8(4208), 1}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := heapBytes(4 * 4096)
			encodeIndex(b[at:], c.items)
			raw := b[at : int(at)+16*len(c.items)]
			s := Seal{IndexAt: at, IndexLen: uint32(len(c.items)), IndexCRC: indexCRC(raw, testSalt)}
			got, err := decodeIndex(b, &s, testSalt)
			if c.good && (err != nil || !slices.Equal(got, c.items)) {
				t.Errorf("%v, %v", got, err)
			}
			if !c.good && (!errors.Is(err, ErrIndex) || errors.Is(err, ErrChecksum)) {
				t.Errorf("error %v, want ErrIndex", err)
			}
			if _, err := decodeIndex(b, &s, testSalt+1); !errors.Is(err, ErrIndex) {
				t.Errorf("with another salt: %v", err)
			}
		})
	}
	for _, n := range []uint32{5, 1 << 28, 1<<32 - 1} {
		s := Seal{IndexAt: at, IndexLen: n}
		if _, err := decodeIndex(heapBytes(4*4096), &s, testSalt); !errors.Is(err, ErrIndex) {
			t.Errorf("%d entries: %v", n, err)
		}
	}
	s := Seal{IndexAt: 4*4096 - 16, IndexLen: 2}
	if _, err := decodeIndex(heapBytes(4*4096), &s, testSalt); !errors.Is(err, ErrIndex) {
		t.Errorf("across the file's end: %v", err)
	}
}

// TestCheckIndexComparesEntries: an index that is well made but says something else than the frames
// is damaged.
func TestCheckIndexComparesEntries(t *testing.T) {
	s, sc := sealedSegment(t)
	good := sc.items
	for i := range good {
		for _, change := range []func(e *indexItem){
			func(e *indexItem) { e.time++ },
			func(e *indexItem) { e.at++ },
		} {
			items := slices.Clone(good)
			change(&items[i])
			rewriteIndex(s, sc.Seal, items)
			if err := s.CheckIndex(sc); !errors.Is(err, ErrIndex) {
				t.Fatalf("entry %d is not %v: %v", i, good[i], err)
			}
		}
	}
	rewriteIndex(s, sc.Seal, good[:len(good)-1])
	if err := s.CheckIndex(sc); !errors.Is(err, ErrIndex) {
		t.Errorf("without the last entry: %v", err)
	}
	rewriteIndex(s, sc.Seal, good)
	if err := s.CheckIndex(sc); err != nil {
		t.Error(err)
	}
}

// rewriteIndex puts other entries behind a seal, which then names them with the right checksum.
func rewriteIndex(s *Segment, seal *Seal, items []indexItem) {
	raw := s.m.b[seal.IndexAt : int(seal.IndexAt)+16*len(items)]
	encodeIndex(raw, items)
	seal.IndexLen, seal.IndexCRC = uint32(len(items)), indexCRC(raw, s.Salt)
}

// TestReadWithWrongIndex: an index that verifies but leads astray gives an error, or the right
// record, never another one.
func TestReadWithWrongIndex(t *testing.T) {
	s, sc := sealedSegment(t)
	want := payloads(t, s)
	rnd := rand.New(rand.NewPCG(4, 4))
	for round := range 200 {
		items := slices.Clone(sc.items)
		e := &items[rnd.IntN(len(items))]
		if round%2 == 0 {
			e.at += uint32(rnd.IntN(9)) - 4
		} else {
			e.delta += uint32(rnd.IntN(9)) - 4
		}
		seal := *sc.Seal
		rewriteIndex(s, &seal, items)
		other := openBytes(t, s.m.b, s.Identity, nil)
		other.AdoptUnread(sc.Link, sc.End, sc.Next, &seal)
		for i, p := range want {
			got, err := other.Read(Seq(1+i), nil)
			if err == nil && string(got) != p || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: record %d is %d bytes, %v", fmt.Sprint(*e), 1+i, len(got), err)
			}
		}
	}
}
