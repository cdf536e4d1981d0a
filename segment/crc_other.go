//go:build !amd64

package segment

// extend16 continues the CRC-32C (in its inverted, running form) over the 8 bytes of x and of y.
func extend16(c uint32, x, y uint64) uint32 { return extend8(extend8(c, x), y) }

// checksum16 returns the CRC-32C of p, which is probably in no cache, the 8 bytes of x and those of
// y.
func checksum16(p []byte, x, y uint64) uint32 { return ^extend16(^checksumFar(p), x, y) }
