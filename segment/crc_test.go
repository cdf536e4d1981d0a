package segment

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestChecksum16 holds what the processor computes against the standard library: every short
// length at every alignment, and those at which another way is taken.
func TestChecksum16(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	r := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, 8<<10)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	lengths := []int{255, 256, 257, 503, 504, 1000, 2015, 2016, 2017, 4031, 4032, 4033, 8000}
	for n := range 130 {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		for from := range 9 {
			p, x, y := b[from:from+n:from+n], r.Uint64(), r.Uint64()
			words := binary.LittleEndian.AppendUint64(nil, x)
			words = binary.LittleEndian.AppendUint64(words, y)
			payload := crc32.Checksum(p, table)
			want := crc32.Update(payload, table, words)
			if got := checksum16(p, x, y); got != want {
				t.Errorf("checksum16 of %d bytes at %d: %#x, want %#x", n, from, got, want)
			}
			if got := ^extend16(^payload, x, y); got != want {
				t.Errorf("extend16 of %#x: %#x, want %#x", payload, got, want)
			}
			if got := ^extend8(extend8(^payload, x), y); got != want {
				t.Errorf("extend8 of %#x: %#x, want %#x", payload, got, want)
			}
		}
	}
}
