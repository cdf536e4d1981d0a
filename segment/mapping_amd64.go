//go:build !race

package segment

import "unsafe"

// store64 stores 8 little-endian bytes at off, a multiple of 8, as a whole and behind all earlier
// stores, as other processors see it: on amd64 a plain store does so (Intel SDM, volume 3, "Memory
// Ordering in P6 and More Recent Processor Families"), where an atomic one would also wait until it
// has left the processor. Goroutines of this process meet at Segment.state instead.
func store64(b []byte, off Offset, v uint64) {
	*(*uint64)(unsafe.Pointer(&b[off : off+8][0])) = v
}
