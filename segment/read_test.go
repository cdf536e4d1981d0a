package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// threeWays runs a test on a segment that is written to, on one that a scan was adopted for, and on
// one that nobody has read.
func threeWays(t *testing.T, w *Writer, f func(t *testing.T, s *Segment)) {
	t.Helper()
	sc := scan(t, w.s, 0)
	t.Run("written", func(t *testing.T) { f(t, w.s) })
	t.Run("adopted", func(t *testing.T) { f(t, adopted(t, w.s)) })
	t.Run("unread", func(t *testing.T) {
		s := openBytes(t, slices.Clone(w.s.m.b), w.s.Identity, nil)
		s.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
		f(t, s)
	})
}

// place is where a record is in a segment.
type place struct {
	at, end Offset
	payload string
}

// places returns where the records are, in order.
func places(t *testing.T, s *Segment) (list []place) {
	t.Helper()
	for at := FirstFrame; at < s.End(); {
		h, p, err := readFrame(s.m.b, at, s.Salt)
		if err != nil {
			t.Fatal(err)
		}
		if h.kind.IsRecord() {
			list = append(list, place{at, at + h.size(), string(p)})
		}
		at += h.size()
	}
	return list
}

// TestRead: all the ways to read a record agree, before and after the seal.
func TestRead(t *testing.T) {
	w := variedWriter(t, 128<<10, 9)
	check := func(t *testing.T, s *Segment) {
		list := places(t, s)
		buf := make([]byte, 0, 6000)
		var reader Reader
		if err := reader.Start(s, 1); err != nil {
			t.Fatal(err)
		}
		for i, want := range list {
			seq := Seq(1 + i)
			got, err := s.Read(seq, buf)
			if err != nil || string(got) != want.payload {
				t.Fatalf("Read(%d): %d bytes, %v", seq, len(got), err)
			}
			if len(got) > 0 && &got[0] != &buf[:1][0] {
				t.Errorf("Read(%d) does not use the buffer", seq)
			}
			if off, err := s.Locate(seq); off != want.at || err != nil {
				t.Fatalf("Locate(%d) = %d, %v, want %d", seq, off, err, want.at)
			}
			if end, err := s.After(seq); end != want.end || err != nil {
				t.Fatalf("After(%d) = %d, %v, want %d", seq, end, err, want.end)
			}
			if got, err := reader.Next(); err != nil || string(got) != want.payload ||
				cap(got) != len(got) {
				t.Fatalf("Next, %d: %d bytes, capacity %d, %v", seq, len(got), cap(got), err)
			}
			err = s.View(seq, func(p []byte) error {
				if string(p) != want.payload || cap(p) != len(p) {
					t.Errorf("View(%d): %d bytes, capacity %d", seq, len(p), cap(p))
				}
				return nil
			})
			if err != nil {
				t.Fatalf("View(%d): %v", seq, err)
			}
		}
	}
	threeWays(t, w, check)
	mustSeal(t, w)
	threeWays(t, w, check)
}

// TestReadSmallBuffer: a buffer that is too small, or nil, is replaced.
func TestReadSmallBuffer(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustAppend(t, w, "0123456789", "")
	for _, buf := range [][]byte{nil, make([]byte, 3), make([]byte, 0, 10), []byte("is overwritten")} {
		if p, err := w.s.Read(1, buf); string(p) != "0123456789" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
		if p, err := w.s.Read(2, buf); len(p) != 0 || err != nil {
			t.Errorf("%q, %v", p, err)
		}
	}
}

// TestViewError: what View's function returns is what View returns.
func TestViewError(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustAppend(t, w, "x")
	mine := errors.New("mine")
	if err := w.s.View(1, func([]byte) error { return mine }); err != mine {
		t.Errorf("error %v", err)
	}
}

// TestSeqAt: at each frame's start, and at the end, the seq of the next record; elsewhere an error.
func TestSeqAt(t *testing.T) {
	w := variedWriter(t, 32<<10, 4)
	mustMark(t, w, markAt(w))
	starts := map[Offset]Seq{}
	for at := FirstFrame; at < w.at; {
		h, _, err := readFrame(w.s.m.b, at, w.s.Salt)
		if err != nil {
			t.Fatal(err)
		}
		starts[at] = h.seq
		at += h.size()
	}
	starts[w.at] = w.next
	threeWays(t, w, func(t *testing.T, s *Segment) {
		for at := FirstFrame; at <= w.at; at += 8 {
			seq, err := s.SeqAt(at)
			want, isStart := starts[at]
			if isStart && (err != nil || seq != want) {
				t.Fatalf("SeqAt(%d) = %d, %v, want %d", at, seq, err, want)
			}
			if !isStart && !errors.Is(err, ErrFrame) {
				t.Fatalf("SeqAt(%d), inside a frame: %d, %v", at, seq, err)
			}
		}
		if seq, err := s.SeqAt(w.at + 4096); seq != w.next || err != nil {
			t.Errorf("behind the end: %d, %v", seq, err)
		}
	})
}

// TestReadDamaged: whatever is damaged in a frame, reading its record says so, with the offset of
// the frame and the first seq that is affected; no read ever gives other bytes.
func TestReadDamaged(t *testing.T) {
	w := heapWriter(t, 32<<10)
	for i := range 60 {
		if i%7 == 3 {
			mustMark(t, w, markAt(w))
		}
		mustAppend(t, w, strings.Repeat(string(rune('A'+i)), 40*(i%13)))
	}
	mustSeal(t, w)
	list := places(t, w.s)
	for _, c := range []struct {
		name   string
		hidden bool // reads of later records do not notice
		damage func(b []byte, at Offset)
	}{
		{"payload, or header where it is empty", true, func(b []byte, at Offset) { b[at+7] ^= 0x40 }},
		{"length", false, func(b []byte, at Offset) { le.PutUint32(b[at:], le.Uint32(b[at:])^0x40) }},
		{"length 0", false, func(b []byte, at Offset) { le.PutUint32(b[at:], 0) }},
		{"length of 4 GiB", false, func(b []byte, at Offset) { le.PutUint32(b[at:], 1<<32-1) }},
		{"unwritten", false, func(b []byte, at Offset) { clear(b[at : at+8]) }},
		{"sector lost", false, func(b []byte, at Offset) { clear(b[at&^511 : (at|511)+1]) }},
		{"seq", false, func(b []byte, at Offset) { b[at+15] ^= 1 }},
		{"kind", true, func(b []byte, at Offset) { b[at+8] = byte(KindVoid) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := 5; i < len(list); i += 6 {
				sc := scan(t, w.s, 0)
				s := openBytes(t, slices.Clone(w.s.m.b), w.s.Identity, nil)
				s.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
				c.damage(s.m.b, list[i].at)
				bad := scan(t, s, 0)
				if bad.StopAt > list[i].at {
					t.Fatalf("record %d: no damage is done", 1+i)
				}
				for k, want := range list {
					got, err := s.Read(Seq(1+k), nil)
					var ce *CorruptError
					switch {
					case err == nil && string(got) != want.payload:
						t.Fatalf("record %d damaged: %d has other bytes", 1+i, 1+k)
					case err == nil && k == i:
						t.Fatalf("record %d damaged: it is read without an error", 1+i)
					case err == nil:
						continue
					case !errors.As(err, &ce):
						t.Fatalf("record %d damaged: reading %d: %v", 1+i, 1+k, err)
					case want.end <= bad.StopAt:
						t.Fatalf("record %d damaged: %d, before it, is not read: %v", 1+i, 1+k, err)
					case k > i && c.hidden && c.name != "kind":
						t.Fatalf("record %d damaged: %d, behind it, is not read: %v", 1+i, 1+k, err)
					}
					if k != i {
						continue
					}
					at, seq := list[i].at, Seq(1+i)
					if c.name == "sector lost" && ce.Offset != at {
						// A frame before it, on the way, is hurt as well.
						at, seq = ce.Offset, ce.Seq
						if _, _, err := readFrame(s.m.b, at, s.Salt); err == nil || seq > Seq(1+i) ||
							list[seq-1].at < at {
							t.Errorf("record %d: %v, but there is no damage", 1+i, ce)
						}
					}
					if ce.Offset != at || ce.Seq != seq || ce.Segment != 1 || ce.Path != s.Path() {
						t.Errorf("record %d at %d damaged: %v", seq, at, err)
					}
				}
			}
		})
	}
}

// TestReadDamagedIndexed: if a header in a late page is damaged, the error names the first record
// that is affected, not the segment's first one; and the records after it can be read.
func TestReadDamagedIndexed(t *testing.T) {
	w := heapWriter(t, 64<<10)
	for i := range 100 { // of different sizes: otherwise the next record is found without it
		mustAppend(t, w, strings.Repeat("x", 450+i%7*16))
	}
	e := w.s.index.all()[9]
	clear(w.s.m.b[e.offset() : e.offset()+16])
	seq := w.s.Link.Base + Seq(e.delta)
	_, err := w.s.Read(seq, nil)
	var ce *CorruptError
	if !errors.As(err, &ce) || ce.Offset != e.offset() || ce.Seq != seq || !errors.Is(err, ErrHole) {
		t.Errorf("Read(%d): %v, want offset %d, from seq %d on", seq, err, e.offset(), seq)
	}
	for _, read := range []Seq{seq - 1, seq + 1, seq + 2} {
		if p, err := w.s.Read(read, nil); err != nil || len(p) != 450+int(read-1)%7*16 {
			t.Errorf("Read(%d): %d bytes, %v", read, len(p), err)
		}
	}
}

// TestReadUnpublished: what is not there gives an error, not a panic.
func TestReadUnpublished(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustAppend(t, w, "one", "two")
	threeWays(t, w, func(t *testing.T, s *Segment) {
		for _, seq := range []Seq{0, 3, 4, 1 << 40, 1<<64 - 1} {
			if _, err := s.Read(seq, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Read(%d): %v", seq, err)
			}
			if _, err := s.After(seq); !errors.Is(err, ErrCorrupt) {
				t.Errorf("After(%d): %v", seq, err)
			}
			if err := s.View(seq, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("View(%d): %v", seq, err)
			}
		}
		var r Reader
		if err := r.Start(s, 3); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Start(3): %v", err)
		}
		if err := r.Start(s, 2); err != nil {
			t.Fatal(err)
		}
		if p, err := r.Next(); err != nil || string(p) != "two" {
			t.Errorf("%q, %v", p, err)
		}
		if _, err := r.Next(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("behind the last record: %v", err)
		}
	})
}

// TestReadersAndWriter: readers see every published record whole, while the writer goes on. The
// bytes are on the heap, where the race detector sees them.
func TestReadersAndWriter(t *testing.T) {
	w := heapWriter(t, 1<<20)
	s := w.Segment()
	payload := func(seq Seq) string { return strings.Repeat(fmt.Sprintf("%d,", seq), int(seq)%50) }
	const last = 3000
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(6, uint64(r)))
			var buf []byte
			var reader Reader
			follow := Seq(1)
			for follow <= last {
				next := s.Next()
				if follow == next {
					runtime.Gosched() // nothing new
					continue
				}
				if follow == 1 {
					if err := reader.Start(s, 1); err != nil {
						t.Error(err)
						return
					}
				}
				p, err := reader.Next()
				if err != nil || string(p) != payload(follow) {
					t.Errorf("following, %d: %d bytes, %v", follow, len(p), err)
					return
				}
				follow++
				seq := 1 + Seq(rnd.Int64N(int64(next-1)))
				if buf, err = s.Read(seq, buf); err != nil || string(buf) != payload(seq) {
					t.Errorf("Read(%d): %d bytes, %v", seq, len(buf), err)
					return
				}
				err = s.View(next-1, func(p []byte) error {
					if string(p) != payload(next-1) {
						return errors.New("other bytes")
					}
					return nil
				})
				if err != nil {
					t.Errorf("View(%d): %v", next-1, err)
					return
				}
			}
		})
	}
	for w.Next() <= last {
		next := w.Next()
		switch {
		case next%10 == 0 && next+2 <= last:
			mustBatch(t, w, payload(next), payload(next+1), payload(next+2))
		case next%17 == 0:
			mustMark(t, w, markAt(w))
			fallthrough
		default:
			mustAppend(t, w, payload(next))
		}
	}
	wg.Wait()
}

// TestBatchIsSeenWhole: a reader in this process never sees some records of a batch only.
func TestBatchIsSeenWhole(t *testing.T) {
	w := heapWriter(t, 1<<20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := Seq(0); n < 5*500; {
			if n = w.s.Next() - 1; n%5 != 0 {
				t.Errorf("%d records are there", n)
				return
			}
		}
	}()
	for range 500 {
		mustBatch(t, w, "a", "bb", "", "dddd", "e")
	}
	<-done
}

// TestAcquireDrop: the last user unmaps; afterwards nobody can acquire.
func TestAcquireDrop(t *testing.T) {
	fsys := &hookFS{FS: NewMemFS()}
	s, err := Prepare(fsys, "", testIdentity(1), Zeros{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if !s.Acquire() {
					t.Error("an open segment cannot be acquired")
					return
				}
				if err := s.Drop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if !s.Acquire() {
		t.Fatal("cannot be acquired")
	}
	if err := s.Drop(); err != nil || fsys.maps != 1 || fsys.handles != 1 {
		t.Errorf("%v; %d mappings, %d handles while one user is left", err, fsys.maps, fsys.handles)
	}
	if err := s.Drop(); err != nil || fsys.maps != 0 || fsys.handles != 0 {
		t.Errorf("%v; %d mappings, %d handles afterwards", err, fsys.maps, fsys.handles)
	}
	if s.Acquire() {
		t.Error("acquired a segment that is gone")
	}
}

// TestReadDamagedUniform: where all records of a page are of one size, each is found without going
// from frame to frame. It is checked all the same, and damage to another one is none of its
// business.
func TestReadDamagedUniform(t *testing.T) {
	w := heapWriter(t, 64<<10)
	for range 100 {
		mustAppend(t, w, strings.Repeat("x", 500))
	}
	for damaged := Seq(1); damaged <= 100; damaged++ {
		at, err := w.s.Locate(damaged)
		if err != nil {
			t.Fatal(err)
		}
		w.s.m.b[at+HeaderSize+100] ^= 1
		for _, seq := range []Seq{damaged, damaged%100 + 1} {
			_, err := w.s.Read(seq, nil)
			viewed := w.s.View(seq, func([]byte) error { return nil })
			if hurt := seq == damaged; errors.Is(err, ErrCorrupt) != hurt ||
				errors.Is(viewed, ErrCorrupt) != hurt {
				t.Errorf("record %d is damaged; %d: %v, %v", damaged, seq, err, viewed)
			}
		}
		w.s.m.b[at+HeaderSize+100] ^= 1
	}
}
