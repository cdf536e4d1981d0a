package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// specFrame encodes a frame from the words of FORMAT.md §4, with nothing of the package but names.
func specFrame(off int64, salt, seq uint64, kind byte, payload []byte) []byte {
	length := uint64(16 + len(payload))
	seqKind := seq<<8 | uint64(kind)
	sum := slices.Clone(payload)
	sum = binary.LittleEndian.AppendUint64(sum, salt^(uint64(off)<<29|length))
	sum = binary.LittleEndian.AppendUint64(sum, seqKind)
	f := binary.LittleEndian.AppendUint32(nil, uint32(length))
	f = binary.LittleEndian.AppendUint32(f, crc32.Checksum(sum, crc32.MakeTable(crc32.Castagnoli)))
	f = binary.LittleEndian.AppendUint64(f, seqKind)
	f = append(f, payload...)
	for len(f)%8 != 0 {
		f = append(f, 0)
	}
	return f
}

// TestFrameEncoding: frames are what FORMAT.md §4 says, for all small sizes and for large numbers.
func TestFrameEncoding(t *testing.T) {
	b := heapBytes(MinSize)
	rnd := rand.New(rand.NewPCG(1, 1))
	for n := range 200 {
		clear(b)
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		off, salt := FirstFrame+Offset(8*n), rnd.Uint64()
		seq, kind := rnd.Uint64()>>8, Kind(1+n%7)
		next := putFrame(b, off, salt, Seq(seq), kind, payload)
		want := specFrame(int64(off), salt, seq, byte(kind), payload)
		if got := b[off:next]; string(got) != string(want) {
			t.Fatalf("%d bytes: %s", n, firstDifference(got, want))
		}
		h, p, err := readFrame(b, off, salt)
		if kind < KindMark || kind == KindVoid {
			if err != nil || string(p) != string(payload) || h.seq != Seq(seq) || h.kind != kind {
				t.Fatalf("%d bytes: read %+v, %v", n, h, err)
			}
		}
	}
}

// TestBindLarge: the checksum of a frame at the end of the largest segment, computed both ways.
func TestBindLarge(t *testing.T) {
	for _, c := range []struct {
		off    Offset
		length uint32
	}{
		{MaxSize - 16, 16}, {FirstFrame, maxFrame}, {1 << 32, 1<<29 + 5}, {MaxSize - 8, math.MaxUint32},
	} {
		salt, sk := uint64(0xfedcba9876543210), uint64(0x00ff00ff00ff00ff)
		sum := []byte("payload")
		sum = binary.LittleEndian.AppendUint64(sum, salt^(uint64(c.off)<<29|uint64(c.length)))
		sum = binary.LittleEndian.AppendUint64(sum, sk)
		want := Checksum(sum)
		if got := bind(Checksum([]byte("payload")), salt, c.off, c.length, sk); got != want {
			t.Errorf("%+v: %#x, want %#x", c, got, want)
		}
	}
}

// frames is a segment's content that a test puts together, frame by frame.
type frames struct {
	b   []byte
	id  Identity
	at  Offset
	seq Seq
}

// linked returns content that begins with a good link.
func linked() *frames {
	id := testIdentity(7)
	f := &frames{b: heapBytes(id.Size), id: id, at: FirstFrame, seq: 1}
	copy(f.b, id.Encode())
	return f.put(KindLink, linkBytes(startLink()))
}

func (f *frames) put(kind Kind, payload []byte) *frames {
	f.at = putFrame(f.b, f.at, f.id.Salt, f.seq, kind, payload)
	if kind.IsRecord() {
		f.seq++
	}
	return f
}

func (f *frames) record(p string) *frames { return f.put(KindRecord, []byte(p)) }

func (f *frames) mark(claim Position) *frames {
	return f.put(KindMark, markBytes(Mark{Claim: claim, FirstLive: 1, Time: testTime}))
}

// seal appends a good seal, after a change.
func (f *frames) seal(records uint64, change func(s *Seal)) *frames {
	s := Seal{Records: records, Succ: 8, SuccSalt: 1, IndexAt: f.at + sealFrame}
	if change != nil {
		change(&s)
	}
	return f.put(KindSeal, sealBytes(s))
}

func (f *frames) position() Position { return Position{f.id.Ordinal, f.at} }

// TestFrameConditions is FORMAT.md §4's "a frame is valid iff", condition by condition. Each case
// appends one frame behind valid ones and says why a scan stops there; nil means that it is valid.
func TestFrameConditions(t *testing.T) {
	const end = Offset(MinSize)
	for _, c := range []struct {
		name string
		add  func(f *frames) // appends the frame to a link and one record, with seq 2
		want error
	}{
		{"a record", func(f *frames) { f.record("x") }, nil},
		{"an empty record", func(f *frames) { f.record("") }, nil},
		{"a void", func(f *frames) { f.put(KindVoid, []byte("anything")) }, nil},
		{"a record that ends with the segment", func(f *frames) {
			f.record(strings.Repeat("x", int(end-f.at)-16))
		}, nil},

		{"1: unwritten", func(*frames) {}, ErrHole},
		{"1: first 8 bytes are zero, more follows", func(f *frames) {
			f.record("x")
			clear(f.b[f.at-24 : f.at-16])
		}, ErrHole},

		{"2: length 15", func(f *frames) { store64(f.b, f.at, publication(15, 1)) }, ErrFrame},
		{"2: length 0, crc not 0", func(f *frames) { store64(f.b, f.at, publication(0, 1)) }, ErrFrame},
		{"2: crosses the segment's end", func(f *frames) {
			store64(f.b, f.at, publication(uint32(end-f.at)+1, 1))
		}, ErrFrame},
		{"2: the largest length there is", func(f *frames) {
			store64(f.b, f.at, publication(math.MaxUint32, 1))
		}, ErrFrame},

		{"3: wrong crc", func(f *frames) { f.record("x"); f.b[f.at-24+4] ^= 1 }, ErrChecksum},
		{"3: another salt", func(f *frames) {
			putFrame(f.b, f.at, f.id.Salt+1, f.seq, KindRecord, []byte("x"))
		}, ErrChecksum},
		{"3: another place in the segment", func(f *frames) {
			at := f.at
			f.record("x").record("y")
			copy(f.b[at:], f.b[at+24:f.at])
		}, ErrChecksum},
		{"3: another length, with padding for payload", func(f *frames) {
			f.record("x")
			f.b[f.at-24]++
		}, ErrChecksum},

		{"4: padding, first byte", func(f *frames) { f.record("x"); f.b[f.at-7] = 1 }, ErrFrame},
		{"4: padding, last byte", func(f *frames) { f.record("x"); f.b[f.at-1] = 1 }, ErrFrame},

		{"5: kind 0", func(f *frames) { f.put(0, nil) }, ErrVersion},
		{"5: kind 8", func(f *frames) { f.put(8, nil) }, ErrVersion},
		{"5: flag compressed", func(f *frames) { f.put(KindRecord|0x20, nil) }, ErrVersion},
		{"5: flag encrypted", func(f *frames) { f.put(KindRecord|0x40, nil) }, ErrVersion},
		{"5: flag reserved", func(f *frames) { f.put(KindMark|0x80, make([]byte, 40)) }, ErrVersion},
		{"5: short mark", func(f *frames) { f.put(KindMark, make([]byte, 39)) }, ErrFrame},
		{"5: long mark", func(f *frames) { f.put(KindMark, make([]byte, 41)) }, ErrFrame},
		{"5: short seal", func(f *frames) { f.put(KindSeal, make([]byte, 63)) }, ErrFrame},
		{"5: short link", func(f *frames) { f.put(KindLink, make([]byte, 88)) }, ErrFrame},
		{"5: long link", func(f *frames) { f.put(KindLink, make([]byte, 3504)) }, ErrFrame},

		{"6: the seq before", func(f *frames) { f.seq--; f.record("x") }, ErrSeq},
		{"6: a seq left out", func(f *frames) { f.seq++; f.record("x") }, ErrSeq},
		{"6: a mark has the last seq", func(f *frames) { f.seq--; f.mark(Position{}) }, ErrSeq},
		{"6: a void has a later seq", func(f *frames) { f.seq++; f.put(KindVoid, nil) }, ErrSeq},
		{"6: a seal has a later seq", func(f *frames) { f.seq++; f.seal(1, nil) }, ErrSeq},

		{"7: a second link", func(f *frames) { f.put(KindLink, linkBytes(startLink())) }, ErrFrame},
		{"7: the end of no batch", func(f *frames) { f.put(KindBatchEnd, nil) }, ErrFrame},

		{"8: a mark claims what is behind it", func(f *frames) {
			f.mark(Position{f.id.Ordinal, f.at + 8})
		}, ErrFrame},
		{"8: a mark claims a later segment", func(f *frames) {
			f.mark(Position{f.id.Ordinal + 1, 0})
		}, ErrFrame},
		{"8: a mark claims a negative offset", func(f *frames) { f.mark(Position{1, -8}) }, ErrFrame},
		{"8: a mark claims its own place", func(f *frames) { f.mark(f.position()) }, nil},
		{"8: a mark with an unknown flag", func(f *frames) {
			p := markBytes(Mark{FirstLive: 1, Time: testTime})
			p[32] = 2
			f.put(KindMark, p)
		}, ErrFrame},
		{"8: a closing mark claims its own place", func(f *frames) {
			f.put(KindMark, markBytes(Mark{Claim: f.position(), Time: testTime, Clean: true}))
		}, nil},
		{"8: a closing mark claims less", func(f *frames) {
			f.put(KindMark, markBytes(Mark{Claim: Position{1, 8}, Time: testTime, Clean: true}))
		}, ErrFrame},
		{"a seal", func(f *frames) { f.seal(1, nil) }, nil},
		{"a seal counts other records", func(f *frames) { f.seal(2, nil) }, ErrFrame},
		{"a seal names no successor", func(f *frames) {
			f.seal(1, func(s *Seal) { s.Succ = 0 })
		}, ErrFrame},
		{"a seal puts the index elsewhere", func(f *frames) {
			f.seal(1, func(s *Seal) { s.IndexAt += 8 })
		}, ErrFrame},
		{"a seal's last 8 bytes are not zero", func(f *frames) {
			p := sealBytes(Seal{Records: 1, Succ: 8, IndexAt: f.at + sealFrame})
			p[63] = 1
			f.put(KindSeal, p)
		}, ErrFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := linked().record("first")
			at := f.at
			c.add(f)
			sc := scanAll(f.b, &f.id, 0)
			if c.want == nil {
				if sc.End == at {
					t.Fatalf("the frame is refused: %v", sc.Stop)
				}
				return
			}
			if sc.End != at || sc.StopAt != at || sc.Next != 2 || sc.Records != 1 {
				t.Errorf("the valid frames end at %d with next seq %d, want %d and 2", sc.End, sc.Next, at)
			}
			if !errors.Is(sc.Stop, c.want) {
				t.Errorf("stopped by %v, want %v", sc.Stop, c.want)
			}
			if sc.Newer() != (c.want == ErrVersion) {
				t.Errorf("Newer() = %v", sc.Newer())
			}
		})
	}
}

// TestHeaderAcrossTheEnd: condition 1 where fewer than 16 bytes are left.
func TestHeaderAcrossTheEnd(t *testing.T) {
	f := linked()
	f.record(strings.Repeat("x", MinSize-8-HeaderSize-int(f.at)))
	if f.at != MinSize-8 {
		t.Fatalf("the record ends at %d", f.at)
	}
	store64(f.b, f.at, publication(16, 1))
	sc := scanAll(f.b, &f.id, 0)
	if sc.End != f.at || !errors.Is(sc.Stop, ErrHole) || sc.Tail.Bytes == 0 {
		t.Errorf("frames end at %d (%v), tail %+v", sc.End, sc.Stop, sc.Tail)
	}
}

// TestFirstFrame: condition 7 and 8 for the first frame, which must be a link and satisfy §4.1.
func TestFirstFrame(t *testing.T) {
	pred := Link{Base: 5, Pred: 6, PredSalt: 1, PredEnd: 4208, FirstLive: 1, Time: testTime}
	link := func(change func(l *Link)) func(f *frames) {
		l := pred
		change(&l)
		return func(f *frames) { f.seq = l.Base; f.put(KindLink, linkBytes(l)) }
	}
	for _, c := range []struct {
		name string
		add  func(f *frames)
		want error
	}{
		{"a link that starts a chain", link(func(l *Link) { *l = startLink() }), nil},
		{"a link to a predecessor", link(func(*Link) {}), nil},
		{"it claims its predecessor", link(func(l *Link) { l.Claim = Position{6, 4208} }), nil},

		{"nothing", func(*frames) {}, ErrHole},
		{"a record", func(f *frames) { f.record("x") }, ErrFrame},
		{"a mark", func(f *frames) { f.mark(Position{}) }, ErrFrame},
		{"a link of 64 bytes", func(f *frames) { f.put(KindLink, linkBytes(pred)[:64]) }, ErrFrame},
		{"base seq 0", link(func(l *Link) { l.Base = 0 }), ErrFrame},
		{"predecessor is itself", link(func(l *Link) { l.Pred = 7 }), ErrFrame},
		{"predecessor is newer", link(func(l *Link) { l.Pred = 8 }), ErrFrame},
		{"no predecessor but a salt", link(func(l *Link) { l.Pred, l.PredEnd = 0, 0 }), ErrFrame},
		{"no predecessor but an end", link(func(l *Link) { l.Pred, l.PredSalt = 0, 0 }), ErrFrame},
		{"the end is in the link", link(func(l *Link) { l.PredEnd = 4200 }), ErrFrame},
		{"the end is no frame's end", link(func(l *Link) { l.PredEnd = 4212 }), ErrFrame},
		{"the end is negative", link(func(l *Link) { l.PredEnd = -4208 }), ErrFrame},
		{"it claims itself", link(func(l *Link) { l.Claim = Position{7, 0} }), ErrFrame},
		{"it claims a later segment", link(func(l *Link) { l.Claim = Position{8, 0} }), ErrFrame},
		{"it claims a negative offset", link(func(l *Link) { l.Claim = Position{6, -8} }), ErrFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := linked()
			clear(f.b[FirstFrame:])
			f.at = FirstFrame
			c.add(f)
			sc := scanAll(f.b, &f.id, 0)
			s := openBytes(t, f.b, f.id, nil)
			_, ok, err := s.ReadLink()
			if err != nil || ok != (c.want == nil) || sc.HasLink != ok {
				t.Errorf("ReadLink: %v, %v; the scan says %v", ok, err, sc.HasLink)
			}
			if c.want == nil {
				if sc.End != FirstFrame+linkFrame || sc.Next != sc.Link.Base {
					t.Errorf("scan %+v", sc)
				}
				return
			}
			if !errors.Is(sc.Stop, c.want) || sc.StopAt != FirstFrame || sc.End != FirstFrame {
				t.Errorf("stopped at %d by %v, want %v", sc.StopAt, sc.Stop, c.want)
			}
		})
	}
}

// TestBatchOrder: condition 7 for batches. B is a batch's frame, E its end.
func TestBatchOrder(t *testing.T) {
	for _, c := range []struct {
		frames  string // R record, B, E, M mark, V void, S seal
		records uint64 // that a scan shows
		stop    int    // the index of the frame that is not valid; that many are
		want    error
	}{
		{"BE", 2, 2, ErrHole},
		{"BBBE", 4, 4, ErrHole},
		{"RBER", 4, 4, ErrHole},
		{"BEBE", 4, 4, ErrHole},
		{"B", 0, 1, ErrHole},
		{"RBB", 1, 3, ErrHole},
		{"BER", 3, 3, ErrHole},
		{"E", 0, 0, ErrFrame},
		{"BEE", 2, 2, ErrFrame},
		{"BR", 0, 1, ErrFrame},
		{"RBRE", 1, 2, ErrFrame},
		{"BME", 0, 1, ErrFrame},
		{"BVE", 0, 1, ErrFrame},
		{"BSE", 0, 1, ErrFrame},
		{"BEM", 2, 3, ErrHole},
	} {
		t.Run(c.frames, func(t *testing.T) {
			f := linked()
			starts := []Offset{f.at}
			for _, k := range c.frames {
				switch k {
				case 'R':
					f.record("r")
				case 'B':
					f.put(KindBatch, []byte("b"))
				case 'E':
					f.put(KindBatchEnd, []byte("e"))
				case 'M':
					f.mark(Position{})
				case 'V':
					f.put(KindVoid, nil)
				case 'S':
					f.seal(0, nil)
				}
				starts = append(starts, f.at)
			}
			sc := scanAll(f.b, &f.id, 0)
			if sc.Records != c.records || sc.Next != Seq(1+c.records) {
				t.Errorf("%d records, next seq %d, want %d", sc.Records, sc.Next, c.records)
			}
			if sc.StopAt != starts[c.stop] || !errors.Is(sc.Stop, c.want) {
				t.Errorf("stopped at %d by %v, want %d and %v", sc.StopAt, sc.Stop, starts[c.stop], c.want)
			}
			whole := c.stop
			for whole > 0 && c.frames[whole-1] == 'B' {
				whole--
			}
			if sc.End != starts[whole] {
				t.Errorf("ends at %d, want %d: where the incomplete batch starts", sc.End, starts[whole])
			}
		})
	}
}

// TestEveryBitOfEveryKind: whichever bit of a frame changes, padding included, the frame is not
// valid any more, and what was before it still is.
func TestEveryBitOfEveryKind(t *testing.T) {
	for _, c := range []struct {
		name string
		add  func(f *frames)
	}{
		{"record", func(f *frames) { f.record("hello") }},
		{"empty record", func(f *frames) { f.record("") }},
		{"void", func(f *frames) { f.put(KindVoid, []byte("gone")) }},
		{"mark", func(f *frames) { f.mark(f.position()) }},
		{"closing mark", func(f *frames) {
			f.put(KindMark, markBytes(Mark{Claim: f.position(), Time: testTime, Clean: true}))
		}},
		{"seal", func(f *frames) { f.seal(1, nil) }},
		{"batch", func(f *frames) {
			f.put(KindBatch, []byte("one")).put(KindBatch, nil).put(KindBatchEnd, []byte("three"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := linked().record("before")
			at := f.at
			c.add(f)
			if sc := scanAll(f.b, &f.id, 0); sc.End != f.at {
				t.Fatalf("undamaged: %v", sc.Stop)
			}
			for bit := 8 * at; bit < 8*f.at; bit++ {
				f.b[bit/8] ^= 1 << (bit % 8)
				sc := scanAll(f.b, &f.id, 0)
				if sc.End != at || sc.Next != 2 || sc.Stop == nil {
					t.Fatalf("bit %d of byte %d: frames end at %d, next seq %d, want %d and 2",
						bit%8, bit/8-at, sc.End, sc.Next, at)
				}
				if sc.Tail.Bytes == 0 {
					t.Fatalf("bit %d of byte %d: the tail is not reported", bit%8, bit/8-at)
				}
				f.b[bit/8] ^= 1 << (bit % 8)
			}
		})
	}
	t.Run("link", func(t *testing.T) {
		f := linked().record("behind")
		for bit := 8 * FirstFrame; bit < 8*(FirstFrame+linkFrame); bit++ {
			f.b[bit/8] ^= 1 << (bit % 8)
			if sc := scanAll(f.b, &f.id, 0); sc.HasLink || sc.End != FirstFrame || sc.Unused() {
				t.Fatalf("bit %d of byte %d makes no difference", bit%8, bit/8-FirstFrame)
			}
			f.b[bit/8] ^= 1 << (bit % 8)
		}
	})
}

// TestLastNonZero compares the fast search with the obvious one.
func TestLastNonZero(t *testing.T) {
	for n := range 150 {
		b := make([]byte, n)
		for at := -1; at < n; at++ {
			if at >= 0 {
				b[at] = 0x80
			}
			if got := lastNonZero(b); got != at {
				t.Fatalf("%d bytes, the last that is not zero at %d: %d", n, at, got)
			}
			if zero(b) != (at < 0) {
				t.Fatalf("zero of %d bytes with one at %d", n, at)
			}
		}
	}
}

// TestKindsAndPayloadSizes: FORMAT.md's table of kinds.
func TestKindsAndPayloadSizes(t *testing.T) {
	limits := map[Kind][2]int{KindMark: {40, 40}, KindLink: {96, 3496}, KindSeal: {64, 64}}
	for kind := Kind(1); kind <= 7; kind++ {
		for n := range 4000 {
			h := header{length: uint32(HeaderSize + n), kind: kind}
			size, limited := limits[kind]
			if ok := h.checkKind() == nil; ok != (!limited || n >= size[0] && n <= size[1]) {
				t.Errorf("a %v of %d bytes: %v", kind, n, ok)
			}
		}
		if got := kind.IsRecord(); got != (kind <= 3) {
			t.Errorf("%v.IsRecord() = %v", kind, got)
		}
	}
	for flags := Kind(1); flags < 8; flags++ {
		h := header{length: HeaderSize, kind: flags<<5 | KindRecord}
		if err := h.checkKind(); !errors.Is(err, ErrVersion) {
			t.Errorf("flags %#x: %v", flags<<5, err)
		}
	}
}

// TestTimesAreKept: any time that fits in 64 bits of nanoseconds comes back.
func TestTimesAreKept(t *testing.T) {
	for _, n := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		when := time.Unix(0, n)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := startLink()
			l.Time = when
			if got, _ := decodeLink(linkBytes(l), 1, 1); !got.Time.Equal(when) {
				t.Errorf("link: %v", got.Time)
			}
			if got, _ := decodeMark(markBytes(Mark{Time: when}), 1, Position{}); !got.Time.Equal(when) {
				t.Errorf("mark: %v", got.Time)
			}
		})
	}
}
