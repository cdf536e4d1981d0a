#include "textflag.h"

// func extendSSE42(c uint32, p []byte, x, y uint64) uint32
TEXT ·extendSSE42(SB), NOSPLIT, $0-52
	MOVL c+0(FP), AX
	MOVQ p_base+8(FP), SI
	MOVQ p_len+16(FP), CX
	SUBQ $8, CX
	JLT  tail

words:
	CRC32Q (SI), AX
	ADDQ   $8, SI
	SUBQ   $8, CX
	JGE    words

tail: // CX is what is left, less 8: the same lower three bits.
	TESTQ $7, CX
	JZ    bind
	TESTQ $4, CX
	JZ    two
	CRC32L (SI), AX
	ADDQ  $4, SI

two:
	TESTQ $2, CX
	JZ    one
	CRC32W (SI), AX
	ADDQ  $2, SI

one:
	TESTQ $1, CX
	JZ    bind
	CRC32B (SI), AX

bind:
	CRC32Q x+32(FP), AX
	CRC32Q y+40(FP), AX
	MOVL   AX, ret+48(FP)
	RET
