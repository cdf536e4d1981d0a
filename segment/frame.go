package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of p (RFC 3720).
func Checksum(p []byte) uint32 { return crc32.Update(0, castagnoli, p) }

// checksumFar is Checksum for bytes that are probably in no cache. For 4032 bytes and more
// crc32.Update reads at three places 1344 bytes apart, where the processor does not see what to
// fetch next: measured, 7.5 GB/s from memory instead of 18.
func checksumFar(p []byte) (crc uint32) {
	const piece = 4 * 504 // what it reads at three places 168 bytes apart, four times
	for len(p) > piece {
		crc = crc32.Update(crc, castagnoli, p[:piece])
		p = p[piece:]
	}
	return crc32.Update(crc, castagnoli, p)
}

// slicing holds the tables of slicing-by-8 (Kounavis and Berry, "A Systematic Approach to Building
// High Performance, Software-based, CRC Generators", 2005).
var slicing = func() (t [8][256]uint32) {
	for i := range 256 {
		t[0][i] = castagnoli[i]
	}
	for i := range 256 {
		for k := 1; k < 8; k++ {
			c := t[k-1][i]
			t[k][i] = t[0][c&0xff] ^ c>>8
		}
	}
	return t
}()

// extend8 continues the CRC-32C (in its inverted, running form) over the 8 bytes of x. It exists
// because a slice handed to crc32.Update escapes to the heap.
func extend8(c uint32, x uint64) uint32 {
	x ^= uint64(c)
	return slicing[7][x&0xff] ^ slicing[6][x>>8&0xff] ^ slicing[5][x>>16&0xff] ^
		slicing[4][x>>24&0xff] ^ slicing[3][x>>32&0xff] ^ slicing[2][x>>40&0xff] ^
		slicing[1][x>>48&0xff] ^ slicing[0][x>>56]
}

// bind turns the checksum of a payload into that of its frame: FORMAT.md §4.
func bind(payloadCRC uint32, salt uint64, at Offset, length uint32, seqKind uint64) uint32 {
	return ^extend16(^payloadCRC, binding(salt, at, length), seqKind)
}

// frameChecksum returns the checksum of a frame with that payload: FORMAT.md §4.
func frameChecksum(p []byte, salt uint64, at Offset, length uint32, seqKind uint64) uint32 {
	return checksum16(p, binding(salt, at, length), seqKind)
}

// binding is what a frame's checksum binds it to, beside its seq and kind.
func binding(salt uint64, at Offset, length uint32) uint64 {
	return salt ^ (uint64(at)<<29 | uint64(length))
}

// header is a frame's decoded header.
type header struct {
	length uint32 // header and payload, without padding
	crc    uint32
	seq    Seq
	kind   Kind // with flags
}

// size is how many bytes the frame takes.
func (h *header) size() Offset { return pad8(Offset(h.length)) }

func seqKind(seq Seq, kind Kind) uint64 { return uint64(seq)<<8 | uint64(kind) }

// publication is a frame's first 8 bytes as one little-endian word.
func publication(length, crc uint32) uint64 { return uint64(crc)<<32 | uint64(length) }

// readHeader reads the header at off and checks that the frame it announces lies inside b, that is
// conditions 1 and 2 of FORMAT.md §4. The first word is loaded atomically: once it is there, so is
// the frame.
func readHeader(b []byte, off Offset) (h header, err error) {
	if off < FirstFrame || off > Offset(len(b))-HeaderSize {
		return h, ErrHole
	}
	first := load64(b, off)
	if first == 0 {
		return h, ErrHole
	}
	return parseHeader(first, le.Uint64(b[off+8:]), int64(len(b))-int64(off))
}

// parseHeader decodes the two words of a header, behind whose beginning there is room for so many
// bytes.
func parseHeader(first, second uint64, room int64) (header, error) {
	if first == 0 {
		return header{}, ErrHole
	}
	h := header{uint32(first), uint32(first >> 32), Seq(second >> 8), Kind(second)}
	if h.length < HeaderSize || int64(h.length) > room || pad8(int64(h.length)) > room {
		return h, fmt.Errorf("%w: length %d", ErrFrame, h.length)
	}
	return h, nil
}

// check verifies a frame that starts at off and whose header has been decoded: conditions 3 to 5 of
// FORMAT.md §4.
func (h *header) check(frame []byte, off Offset, salt uint64) error {
	payload := frame[HeaderSize:h.length]
	if frameChecksum(payload, salt, off, h.length, seqKind(h.seq, h.kind)) != h.crc {
		return ErrChecksum
	}
	if !padded(frame, uint64(h.length)) {
		return fmt.Errorf("%w: padding is not zero", ErrFrame)
	}
	return h.checkKind()
}

// padded reports whether the bytes that fill a frame of that length up to 8 are zero.
func padded(frame []byte, length uint64) bool {
	last := le.Uint64(frame[(length-1)&^7:])
	return last>>(8*((length-1)&7+1)) == 0
}

func (h *header) checkKind() error {
	least, most := uint32(0), uint32(0)
	switch h.kind {
	case KindRecord, KindBatch, KindBatchEnd, KindVoid:
		return nil
	case KindMark:
		least, most = markFrame, markFrame
	case KindLink:
		least, most = linkFrame, mostLinkFrame // newer software may write more than we know
	case KindSeal:
		least, most = sealFrame, sealFrame
	default:
		return fmt.Errorf("%w: a frame of %v", ErrVersion, h.kind)
	}
	if h.length < least || h.length > most {
		return fmt.Errorf("%w: a %v of %d bytes", ErrFrame, h.kind, h.length)
	}
	return nil
}

// readFrame reads and fully verifies the frame at off, but for its place in the order of frames.
func readFrame(b []byte, off Offset, salt uint64) (h header, payload []byte, err error) {
	if h, err = readHeader(b, off); err != nil {
		return h, nil, err
	}
	if err = h.check(b[off:], off, salt); err != nil {
		return h, nil, err
	}
	return h, b[off+HeaderSize : off+Offset(h.length)], nil
}

// lastNonZero returns the index of the last byte of b that is not zero, or -1.
func lastNonZero(b []byte) int {
	n := len(b)
	for n >= 32 {
		p := b[n-32 : n]
		if binary.NativeEndian.Uint64(p)|binary.NativeEndian.Uint64(p[8:])|
			binary.NativeEndian.Uint64(p[16:])|binary.NativeEndian.Uint64(p[24:]) != 0 {
			break
		}
		n -= 32
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n - 1
}
