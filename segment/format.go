package segment

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

var le = binary.LittleEndian

// Seq is a record's sequence number: 1, 2, 3, … without gaps.
type Seq uint64

// MaxSeq is the largest seq that a frame can hold.
const MaxSeq = 1<<56 - 1

// Offset is a position in a segment's file, in bytes from its start.
type Offset int64

// Position is a position in a journal: an offset in the segment with an ordinal. Positions are
// ordered by ordinal first; the zero Position is before every other.
type Position struct {
	Ordinal uint64 `json:"ordinal"`
	Offset  Offset `json:"offset"`
}

// Less reports whether p is before q.
func (p Position) Less(q Position) bool {
	return p.Ordinal < q.Ordinal || p.Ordinal == q.Ordinal && p.Offset < q.Offset
}

func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Ordinal, p.Offset) }

// ID identifies a journal: a random UUID (version 4, RFC 9562).
type ID [16]byte

func (id ID) String() string {
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// ParseID is the inverse of [ID.String].
func ParseID(s string) (id ID, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) || ID(b).String() != strings.ToLower(s) {
		return id, fmt.Errorf("%q is not a journal's id, such as %v", s, ID{15: 1})
	}
	return ID(b), nil
}

// Sizes of the format, in bytes; FORMAT.md §3–§5.
const (
	Version = 1

	MinSize     = 8 << 10  // the least segment size that the format allows
	MaxSize     = 16 << 30 // the largest
	DefaultSize = 64 << 20
	SizeUnit    = pageSize // segment sizes are multiples of this

	HeaderSize    = 16 // of a frame
	FirstFrame    = Offset(identitySize)
	LinkEnd       = FirstFrame + linkFrame // the least offset at which a link ends
	identitySize  = 4096
	pageSize      = 4096 // of the sparse index, and the least page size of any machine we run on
	linkPayload   = 96   // that is written; the least that is read
	markPayload   = 40
	sealPayload   = 64
	linkFrame     = HeaderSize + linkPayload
	markFrame     = HeaderSize + markPayload
	sealFrame     = HeaderSize + sealPayload
	indexEntry    = 16
	mostLinkFrame = HeaderSize + 3496 // of a link of newer software
	maxFrame      = 1<<32 - 1         // length is a u32
	copySize      = 4096              // of a copy in JOURNAL
	journalSize   = 2 * copySize
	preambleSize  = 16
	identityCRCAt = identitySize - 4
	copyCRCAt     = copySize - 4
)

// Frame layout holds only if each control frame is a multiple of 8.
const _ = uint(-(linkFrame%8 + markFrame%8 + sealFrame%8))

// Kind says what a frame holds.
type Kind uint8

const (
	KindRecord   Kind = 1 // one record
	KindBatch    Kind = 2 // one record of a batch that goes on in the next frame
	KindBatchEnd Kind = 3 // the last record of a batch
	KindMark     Kind = 4
	KindLink     Kind = 5
	KindSeal     Kind = 6
	KindVoid     Kind = 7 // nothing
)

// IsRecord reports whether frames of this kind hold a record.
func (k Kind) IsRecord() bool { return k >= KindRecord && k <= KindBatchEnd }

func (k Kind) String() string {
	names := [...]string{"", "record", "batch", "batchEnd", "mark", "link", "seal", "void"}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind %#02x", uint8(k))
	}
	return names[k]
}

// Reason says why a segment begins where its link says.
type Reason uint64

const (
	ReasonStart        Reason = 1 // the journal was new
	ReasonRoll         Reason = 2 // the predecessor was full
	ReasonRecovery     Reason = 3 // the journal had not been closed cleanly
	ReasonTruncateBack Reason = 4
	ReasonReset        Reason = 5
	ReasonNoSpace      Reason = 6 // of a stand-in: the disk was full
	ReasonShared       Reason = 7 // the predecessor's file has another name, in a snapshot
)

func (r Reason) String() string {
	names := [...]string{"", "start", "roll", "recovery", "truncate back", "reset", "no space",
		"shared file"}
	if r == 0 || int(r) >= len(names) {
		return fmt.Sprintf("reason %d", uint64(r))
	}
	return names[r]
}

// indexReserve is how many bytes at the end of a segment are kept free of frames.
func indexReserve(size int64) int64 { return indexEntry * (size / pageSize) }

// ValidSize reports whether the format allows segments of n bytes.
func ValidSize(n int64) bool { return n >= MinSize && n <= MaxSize && n%SizeUnit == 0 }

// MaxBatch returns the number of bytes that the frames of all records in a new segment of size
// bytes can take. A batch can have as many: the sum of FrameSize over its payloads.
func MaxBatch(size int64) int64 {
	return size - identitySize - linkFrame - markFrame - sealFrame - indexReserve(size)
}

// SizeFor returns the smallest segment size for which MaxBatch returns n bytes or more.
func SizeFor(n int64) int64 {
	size := max(MinSize, n/(pageSize-indexEntry)*pageSize)
	for MaxBatch(size) < n {
		size += pageSize
	}
	return size
}

// MaxRecord returns the largest payload, in bytes, that a segment of size bytes can hold.
func MaxRecord(size int64) int64 {
	return min(MaxBatch(size)-HeaderSize, maxFrame-HeaderSize)
}

// FrameSize returns the number of bytes that a record with a payload of n bytes takes in a segment.
func FrameSize(n int64) int64 { return pad8(n + HeaderSize) }

func pad8[T ~int | ~int64 | ~uint64](n T) T { return (n + 7) &^ 7 }

// zero reports whether all bytes of b are zero.
func zero(b []byte) bool { return lastNonZero(b) < 0 }

// MaxOrdinal is the largest ordinal that a file's name can hold.
const MaxOrdinal = 1e16 - 1

// FileName returns the name of the segment file with that ordinal.
func FileName(ordinal uint64) string { return fmt.Sprintf("%016d.seg", ordinal) }

// ParseFileName returns the ordinal that the name of a segment file stands for.
func ParseFileName(name string) (ordinal uint64, ok bool) {
	if len(name) != 20 || name[16:] != ".seg" {
		return 0, false
	}
	for _, c := range []byte(name[:16]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		ordinal = ordinal*10 + uint64(c-'0')
	}
	return ordinal, ordinal > 0
}
