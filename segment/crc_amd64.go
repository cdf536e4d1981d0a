package segment

import "golang.org/x/sys/cpu"

// Up to so many bytes, one CRC32 instruction after the other is faster than what is made for more.
const shortPayload = 256

// extendSSE42 continues the CRC-32C (in its inverted, running form) over p and then over the 8
// bytes of x and of y. The processor must have SSE 4.2.
//
//go:noescape
func extendSSE42(c uint32, p []byte, x, y uint64) uint32

// extend16 continues the CRC-32C (in its inverted, running form) over the 8 bytes of x and of y.
func extend16(c uint32, x, y uint64) uint32 {
	if cpu.X86.HasSSE42 {
		return extendSSE42(c, nil, x, y)
	}
	return extend8(extend8(c, x), y)
}

// checksum16 returns the CRC-32C of p, which is probably in no cache, the 8 bytes of x and those of
// y.
func checksum16(p []byte, x, y uint64) uint32 {
	if cpu.X86.HasSSE42 && len(p) <= shortPayload {
		return ^extendSSE42(^uint32(0), p, x, y)
	}
	return ^extend16(^checksumFar(p), x, y)
}
