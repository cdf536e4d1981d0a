//go:build !amd64 || race

package segment

// The race detector sees what Go copies, not what an assembler does.

// copyFrames copies good frames of records, from the seq on, from src, which begins at an offset,
// to dst, until one is not that or there is no room for it. It returns how many bytes those frames
// are, and the seq behind them. It checks what it has copied, and may change more of dst.
func copyFrames(dst, src []byte, at Offset, seq Seq, salt uint64) (n int, next Seq) {
	return copyFramesPortable(dst, src, at, seq, salt)
}
