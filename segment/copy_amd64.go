//go:build !race

package segment

import "golang.org/x/sys/cpu"

const longestPiece = 21 // words: what is read at three places is 504 bytes

// folds holds, for three pieces of k words, what the checksums of the first and of the second are
// to be multiplied by, without carries, and added to the last word of the third: x^(128k-33) and
// x^(64k-33) modulo the polynomial of CRC-32C, bits reversed. (Behind the first come 2k words, the
// last one of which CRC32Q itself multiplies by; V. Gopal et al., "Fast CRC Computation for iSCSI
// Polynomial Using CRC32 Instruction", 2011.)
var folds = func() (t [longestPiece + 1][2]uint64) {
	const last = 2 * longestPiece
	var powers [last + 1]uint64 // of x: 64m-33
	p := uint32(1 << 31)
	for n := 1; n <= 64*last-33; n++ {
		p = p>>1 ^ p&1*castagnoli[128]
		if n%64 == 64-33 {
			powers[n/64+1] = uint64(p)
		}
	}
	for k := 1; k <= longestPiece; k++ {
		t[k] = [2]uint64{powers[2*k], powers[k]}
	}
	return t
}()

var hasCopySSE42 = cpu.X86.HasSSE42 && cpu.X86.HasPCLMULQDQ

// copyFramesSSE42 is copyFrames for room bytes in dst and in src, and of seqs shifted as in a
// header. The processor must have SSE 4.2 and PCLMULQDQ.
//
//go:noescape
func copyFramesSSE42(dst, src *byte, room int, at, seqKind, salt uint64,
	folds *[longestPiece + 1][2]uint64) (n int, next uint64)

// copyFrames copies good frames of records, from the seq on, from src, which begins at an offset,
// to dst, until one is not that or there is no room for it. It returns how many bytes those frames
// are, and the seq behind them. It checks what it has copied, and may change more of dst.
func copyFrames(dst, src []byte, at Offset, seq Seq, salt uint64) (n int, next Seq) {
	room := min(len(dst), len(src))
	if !hasCopySSE42 || room == 0 {
		return copyFramesPortable(dst, src, at, seq, salt)
	}
	n, shifted := copyFramesSSE42(&dst[0], &src[0], room, uint64(at), seqKind(seq, 0), salt, &folds)
	return n, Seq(shifted >> 8)
}
