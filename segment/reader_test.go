package segment

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestReaderDamage: whatever is wrong with the third of four records, a reader that has copied them
// all yields the first two and then says what Read says, and where.
func TestReaderDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte, at Offset, salt uint64)
		want   error
	}{
		{"unwritten", func(b []byte, at Offset, _ uint64) { clear(b[at:][:8]) }, ErrHole},
		{"too short", func(b []byte, at Offset, _ uint64) { b[at], b[at+1] = 15, 0 }, ErrFrame},
		{"too long", func(b []byte, at Offset, _ uint64) { b[at+3] = 0xff }, ErrFrame},
		{"payload", func(b []byte, at Offset, _ uint64) { b[at+HeaderSize] ^= 1 }, ErrChecksum},
		{"checksum", func(b []byte, at Offset, _ uint64) { b[at+7] ^= 1 }, ErrChecksum},
		{"kind", func(b []byte, at Offset, _ uint64) { b[at+8] ^= 1 }, ErrChecksum},
		{"first byte of padding", func(b []byte, at Offset, _ uint64) { b[at+16+3] = 1 }, ErrFrame},
		{"last byte of padding", func(b []byte, at Offset, _ uint64) { b[at+16+7] = 1 }, ErrFrame},
		{"seq", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt, 4, KindRecord, []byte("ccc"))
		}, ErrSeq},
		{"flags", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt, 3, KindRecord|0x20, []byte("ccc"))
		}, ErrVersion},
		{"from another place", func(b []byte, at Offset, _ uint64) {
			copy(b[at:at+24], b[at-24:])
		}, ErrChecksum},
		{"from another segment", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt+1, 3, KindRecord, []byte("ccc"))
		}, ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := heapWriter(t, MinSize)
			mustAppend(t, w, "aaa", "bbb", "ccc", "ddd")
			at := places(t, w.s)[2].at
			c.damage(w.s.m.b, at, w.s.Salt)
			_, err := readThird(t, w.s)
			expectCorrupt(t, err, c.want, at)
		})
	}
}

// readThird reads the records aaa and bbb, and returns what is read then.
func readThird(t *testing.T, s *Segment) ([]byte, error) {
	t.Helper()
	var r Reader
	if err := r.Start(s, 1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"aaa", "bbb"} {
		if p, err := r.Next(); string(p) != want || err != nil {
			t.Fatalf("%q, %v, want %q", p, err, want)
		}
	}
	return r.Next()
}

// expectCorrupt fails the test unless err says what is damaged before the third record, and where:
// a frame of newer software is no corruption.
func expectCorrupt(t *testing.T, err, want error, at Offset) {
	t.Helper()
	if want == ErrVersion {
		if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) ||
			!strings.Contains(err.Error(), fmt.Sprintf("at offset %d", at)) {
			t.Errorf("%v, want %v at %d", err, want, at)
		}
		return
	}
	var ce *CorruptError
	if !errors.Is(err, want) || !errors.As(err, &ce) || ce.Offset != at || ce.Seq != 3 {
		t.Errorf("%v, want %v at %d", err, want, at)
	}
}

// TestReaderDamagedMark: the same for a mark behind two records.
func TestReaderDamagedMark(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte, at Offset, salt uint64)
		want   error
	}{
		{"nothing", func([]byte, Offset, uint64) {}, nil},
		{"payload", func(b []byte, at Offset, _ uint64) { b[at+HeaderSize] ^= 1 }, ErrChecksum},
		{"checksum", func(b []byte, at Offset, _ uint64) { b[at+7] ^= 1 }, ErrChecksum},
		{"length", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt, 3, KindMark, make([]byte, markPayload-8))
		}, ErrFrame},
		{"seq", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt, 4, KindMark, b[at+HeaderSize:][:markPayload])
		}, ErrSeq},
		{"flags", func(b []byte, at Offset, salt uint64) {
			putFrame(b, at, salt, 3, KindMark|0x20, b[at+HeaderSize:][:markPayload])
		}, ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := heapWriter(t, MinSize)
			mustAppend(t, w, "aaa", "bbb")
			at := w.Position().Offset
			if ok, err := w.Mark(Mark{FirstLive: 1, Time: testTime}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			mustAppend(t, w, "ccc")
			c.damage(w.s.m.b, at, w.s.Salt)
			p, err := readThird(t, w.s)
			if c.want != nil {
				expectCorrupt(t, err, c.want, at)
			} else if string(p) != "ccc" || err != nil {
				t.Errorf("%q, %v", p, err)
			}
		})
	}
}

// TestReaderPadding: every length of payload, of frames that fill stretches and that do not.
func TestReaderPadding(t *testing.T) {
	w := heapWriter(t, 1<<20)
	p := make([]byte, stretch+20)
	for i := range p {
		p[i] = 0xff
	}
	sizes := []int{stretch - 17, stretch - 16, stretch - 15, stretch, stretch + 20}
	for n := range 300 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		mustAppend(t, w, string(p[:n]))
	}
	var r Reader
	if err := r.Start(w.s, 1); err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		if got, err := r.Next(); string(got) != string(p[:n]) || err != nil {
			t.Fatalf("%d bytes instead of %d, %v", len(got), n, err)
		}
	}
}

// TestReaderLargeDamage: a length that damage has made does not make a reader ask for as much
// memory.
func TestReaderLargeDamage(t *testing.T) {
	w := heapWriter(t, 4<<20)
	mustAppend(t, w, string(make([]byte, 3<<20)))
	le.PutUint32(w.s.m.b[LinkEnd:], 2<<20)
	var r Reader
	if err := r.Start(w.s, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, ErrChecksum) {
		t.Errorf("%v, want %v", err, ErrChecksum)
	}
	if cap(r.large) > 0 {
		t.Errorf("room for %d bytes", cap(r.large))
	}
}

// TestReaderEnd: what follows the last record is read to its end for frames of newer software, and
// for nothing else.
func TestReaderEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte, mark Offset, salt uint64)
		want   error
	}{
		{"nothing", func([]byte, Offset, uint64) {}, nil},
		{"a damaged mark", func(b []byte, mark Offset, _ uint64) { b[mark+30] ^= 1 }, nil},
		{"an unknown kind", func(b []byte, mark Offset, salt uint64) {
			putFrame(b, mark, salt, 4, 9, make([]byte, markPayload))
		}, ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := heapWriter(t, MinSize)
			mustAppend(t, w, "aaa", "bbb", "ccc")
			mark := w.Position().Offset
			mustMark(t, w, Mark{FirstLive: 1, Time: testTime})
			c.damage(w.s.m.b, mark, w.s.Salt)
			var r Reader
			err := r.Start(w.s, 1)
			for range 3 {
				if _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
			}
			if err == nil {
				err = r.End()
			}
			if !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}
