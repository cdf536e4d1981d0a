//go:build !race

#include "funcdata.h"
#include "go_asm.h"
#include "textflag.h"

#define leastThreefold 96 // bytes: for less, one CRC32 instruction after the other is as fast
#define ahead 2048        // bytes: so far away memory is fetched before it is read

// func copyFramesSSE42(dst, src *byte, room int, at, seqKind, salt uint64,
//	folds *[longestPiece + 1][2]uint64) (n int, next uint64)
//
// Every word of src is loaded once: what is stored is what is checked. SI and DI are where source
// and copy go on, CX is how many bytes of the payload are left, AX is the checksum, R8 is the
// second word of a header for the next record, without a kind.
TEXT ·copyFramesSSE42(SB), NOSPLIT, $24-72
	NO_LOCAL_POINTERS
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ seqKind+32(FP), R8

frame:
	PREFETCHT0 ahead(SI)
	PREFETCHT0 ahead+64(SI)
	MOVQ SI, R13
	SUBQ src+8(FP), R13
	MOVQ R13, n+56(FP)
	MOVQ R8, next+64(FP)
	MOVQ room+16(FP), R9
	SUBQ R13, R9
	CMPQ R9, $const_HeaderSize
	JLT  done
	MOVQ (SI), R11
	MOVQ 8(SI), R12
	MOVL R11, CX // the length
	CMPQ CX, $const_HeaderSize
	JLT  done
	LEAQ 7(CX), R10
	ANDQ $~7, R10
	CMPQ R10, R9
	JGT  done
	MOVQ R12, DX
	SUBQ R8, DX // the kind, if it is the next record
	DECQ DX
	CMPQ DX, $(const_KindBatchEnd-1)
	JHI  done
	MOVQ R11, (DI)
	MOVQ R12, 8(DI)
	ADDQ at+24(FP), R13
	SHLQ $29, R13
	ORQ  CX, R13
	XORQ salt+40(FP), R13
	MOVQ R13, binding-8(SP)
	MOVQ R12, second-16(SP)
	SHRQ $32, R11
	MOVQ R11, want-24(SP)
	ADDQ $const_HeaderSize, SI
	ADDQ $const_HeaderSize, DI
	SUBQ $const_HeaderSize, CX
	MOVL $-1, AX
	CMPQ CX, $leastThreefold
	JLT  words

// Three pieces of R9 words, R10 bytes, each with a checksum of its own: the processor computes
// three at a time.
pieces:
	CMPQ   CX, $(24*const_longestPiece)
	JGE    long
	IMUL3Q $2731, CX, R9 // a 24th of CX, for less than 8192
	SHRQ   $16, R9
	JMP    begin

long:
	MOVQ       $const_longestPiece, R9
	PREFETCHT0 ahead(SI)
	PREFETCHT0 ahead+64(SI)
	PREFETCHT0 ahead+128(SI)
	PREFETCHT0 ahead+192(SI)
	PREFETCHT0 ahead+256(SI)
	PREFETCHT0 ahead+320(SI)
	PREFETCHT0 ahead+384(SI)
	PREFETCHT0 ahead+448(SI)

begin:
	LEAQ  (R9*8), R10
	LEAQ  (R10)(R10*2), R11
	SUBQ  R11, CX
	MOVQ  folds+48(FP), R11
	MOVOU (R11)(R10*2), X2
	XORL  BX, BX
	XORL  DX, DX
	DECQ  R9

threefold:
	MOVQ   (SI), R11
	MOVQ   (SI)(R10*1), R12
	MOVQ   (SI)(R10*2), R13
	CRC32Q R11, AX
	CRC32Q R12, BX
	CRC32Q R13, DX
	MOVQ   R11, (DI)
	MOVQ   R12, (DI)(R10*1)
	MOVQ   R13, (DI)(R10*2)
	ADDQ   $8, SI
	ADDQ   $8, DI
	DECQ   R9
	JNZ    threefold

	// The last words. What the first two checksums are worth at the end is added to the third
	// piece's.
	MOVQ      (SI), R11
	MOVQ      (SI)(R10*1), R12
	MOVQ      (SI)(R10*2), R13
	CRC32Q    R11, AX
	CRC32Q    R12, BX
	MOVQ      R11, (DI)
	MOVQ      R12, (DI)(R10*1)
	MOVQ      R13, (DI)(R10*2)
	MOVQ      AX, X0
	MOVQ      BX, X1
	PCLMULQDQ $0x00, X2, X0
	PCLMULQDQ $0x10, X2, X1
	PXOR      X1, X0
	MOVQ      X0, AX
	XORQ      R13, AX
	CRC32Q    AX, DX
	MOVQ      DX, AX
	LEAQ      8(SI)(R10*2), SI
	LEAQ      8(DI)(R10*2), DI
	CMPQ      CX, $leastThreefold
	JGE       pieces

words:
	SUBQ $8, CX
	JLT  rest

word:
	MOVQ   (SI), R11
	CRC32Q R11, AX
	MOVQ   R11, (DI)
	ADDQ   $8, SI
	ADDQ   $8, DI
	SUBQ   $8, CX
	JGE    word

rest: // CX is what is left, less 8: the same lower three bits. Padding makes it a word.
	TESTQ  $7, CX
	JZ     check
	MOVQ   (SI), R11
	MOVQ   R11, (DI)
	ADDQ   $8, SI
	ADDQ   $8, DI
	TESTQ  $4, CX
	JZ     two
	CRC32L R11, AX
	SHRQ   $32, R11

two:
	TESTQ  $2, CX
	JZ     one
	CRC32W R11, AX
	SHRQ   $16, R11

one:
	TESTQ  $1, CX
	JZ     padding
	CRC32B R11, AX
	SHRQ   $8, R11

padding:
	TESTQ R11, R11
	JNZ   done

check:
	CRC32Q binding-8(SP), AX
	CRC32Q second-16(SP), AX
	NOTL   AX
	CMPL   AX, want-24(SP)
	JNE    done
	ADDQ   $256, R8
	JMP    frame

done:
	RET
