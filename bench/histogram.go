package main

import "math/bits"

// histogram counts durations in nanoseconds, exact below 64 and to 1/32 above.
type histogram struct {
	counts [64 * 32]uint64
	n, max uint64
}

func bucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 6 // leaves 6 bits, the highest one set
	return shift*32 + int(v>>shift)
}

// lowest is the least value that bucket i counts.
func lowest(i int) uint64 {
	if i < 64 {
		return uint64(i)
	}
	shift := i/32 - 1
	return uint64(i-shift*32) << shift
}

func (h *histogram) add(v uint64) {
	h.counts[bucket(v)]++
	h.n++
	h.max = max(h.max, v)
}

// quantile returns a value that the share q of all is not above.
func (h *histogram) quantile(q float64) float64 {
	want := uint64(q * float64(h.n))
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen > want {
			return float64(min(lowest(i+1)-1, h.max))
		}
	}
	return float64(h.max)
}
