package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
)

// The ways to copy frames.
var copies = map[string]func(dst, src []byte, at Offset, seq Seq, salt uint64) (int, Seq){
	"the processor's": copyFrames, "for any processor": copyFramesPortable,
}

// plainFrame returns a frame, made with nothing but FORMAT.md §4 and the standard library.
func plainFrame(at Offset, seq Seq, kind Kind, payload []byte) []byte {
	length := uint64(HeaderSize + len(payload))
	second := uint64(seq)<<8 | uint64(kind)
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	sum.Write(payload)
	sum.Write(binary.LittleEndian.AppendUint64(nil, testSalt^(uint64(at)<<29|length)))
	sum.Write(binary.LittleEndian.AppendUint64(nil, second))
	f := binary.LittleEndian.AppendUint64(nil, uint64(sum.Sum32())<<32|length)
	f = binary.LittleEndian.AppendUint64(f, second)
	f = append(f, payload...)
	return append(f, make([]byte, -len(f)&7)...)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestCopyFrame: every length of payload, at every alignment of the frame and the copy, is copied
// and nothing more; with any bit flipped the frame is not taken.
func TestCopyFrame(t *testing.T) {
	const at, seq, slack = 8 << 30, 0x123456789abc, 0xa5
	r := rand.New(rand.NewPCG(1, 2))
	random := randomBytes(r, 5000)
	from, to := make([]byte, 5100), make([]byte, 5100)
	for n := range 5001 {
		f := plainFrame(at, seq, KindRecord+Kind(n%3), random[:n])
		for a := range 16 {
			src, dst := from[a:a+len(f)], to[(a+n)&15:]
			copy(src, f)
			for name, fn := range copies {
				for i := range dst[:len(f)+16] {
					dst[i] = slack
				}
				got, next := fn(dst[:len(f)], src, at, seq, testSalt)
				if got != len(f) || next != seq+1 || !bytes.Equal(dst[:got], f) {
					t.Fatalf("%s, %d bytes at %d: %d of %d, next %#x", name, n, a, got, len(f), next)
				}
				if bytes.Count(dst[len(f):len(f)+16], []byte{slack}) != 16 {
					t.Fatalf("%s, %d bytes at %d: what is behind was changed", name, n, a)
				}
			}
			bit := r.IntN(8 * len(f))
			src[bit/8] ^= 1 << (bit % 8)
			for name, fn := range copies {
				if got, next := fn(dst[:len(f)], src, at, seq, testSalt); got != 0 || next != seq {
					t.Fatalf("%s, %d bytes: bit %d flipped: %d, next %#x", name, n, bit, got, next)
				}
			}
		}
	}
}

// TestCopyFrames: copying ends with the room, and before a frame that is not the next record's.
func TestCopyFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var src []byte
	ends := []int{0}
	add := func(seq Seq, kind Kind, n int) {
		src = append(src, plainFrame(4096+Offset(len(src)), seq, kind, randomBytes(r, n))...)
		ends = append(ends, len(src))
	}
	for i := range 20 {
		add(Seq(7+i), KindRecord, r.IntN(300))
	}
	for _, last := range []struct {
		name string
		seq  Seq
		kind Kind
		size int
		want int // frames
	}{
		{"a record", 27, KindBatchEnd, 5, 21},
		{"an empty one", 27, KindBatch, 0, 21},
		{"the seq of another", 28, KindRecord, 5, 20},
		{"a control frame", 27, KindMark, markPayload, 20},
		{"no kind", 27, 0, 5, 20},
		{"a flag", 27, KindRecord | 0x80, 5, 20},
	} {
		src, ends = src[:ends[20]], ends[:21]
		add(last.seq, last.kind, last.size)
		for room := range len(src) + 1 {
			want := 0
			for want < last.want && ends[want+1] <= room {
				want++
			}
			for name, fn := range copies {
				dst := make([]byte, room)
				n, next := fn(dst, src, 4096, 7, testSalt)
				if short, _ := fn(make([]byte, len(src)), src[:room:room], 4096, 7, testSalt); n !=
					ends[want] || short != n {
					t.Fatalf("%s, %s, room %d: %d and %d, want %d",
						last.name, name, room, n, short, ends[want])
				}
				if !bytes.Equal(dst[:n], src[:n]) || ends[next-7] != n {
					t.Fatalf("%s, %s, room %d: next %d, or the copy differs",
						last.name, name, room, next)
				}
			}
		}
	}
}

// FuzzCopyFrames: both ways take the same of whatever there is.
func FuzzCopyFrames(f *testing.F) {
	f.Add([]byte("\x01\x00\x04abcd\x01\x00\x00\x02\x00\x07abcdefg\x04\x00\x00"), uint16(0), uint8(0))
	f.Add([]byte("\x01\x00\x10aaaabbbbccccdddd"), uint16(9), uint8(1))
	long := strings.Repeat("abcdefg", 30)
	f.Add([]byte("\x01\x00\xd2"+long+"\x02\x00\x60"+long[:96]), uint16(0), uint8(0))
	f.Fuzz(func(t *testing.T, script []byte, place uint16, change uint8) {
		id := testIdentity(1)
		b := make([]byte, MinSize)
		putScript(b, &id, script)
		src := b[FirstFrame:]
		src[int(place)%len(src)] ^= change
		portable, processor := make([]byte, len(src)), make([]byte, len(src))
		want, wantNext := copyFramesPortable(portable, src, FirstFrame, 1, id.Salt)
		n, next := copyFrames(processor, src, FirstFrame, 1, id.Salt)
		if n != want || next != wantNext || !bytes.Equal(processor[:n], src[:n]) {
			t.Errorf("%d bytes, next %d; portable %d, next %d", n, next, want, wantNext)
		}
	})
}

// TestCopyFrameTooShort: a frame that has no room for its header is none, whatever its checksum.
func TestCopyFrameTooShort(t *testing.T) {
	for length := range uint64(HeaderSize) {
		f := make([]byte, 64)
		sum := frameChecksum(nil, testSalt, 4096, uint32(length), seqKind(1, KindRecord))
		le.PutUint64(f, publication(uint32(length), sum))
		le.PutUint64(f[8:], seqKind(1, KindRecord))
		for name, fn := range copies {
			if n, next := fn(make([]byte, 64), f, 4096, 1, testSalt); n != 0 || next != 1 {
				t.Errorf("%s, length %d: %d, next %d", name, length, n, next)
			}
		}
	}
}
