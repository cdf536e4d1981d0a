package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Seq is a record's sequence number: 1, 2, 3, … without gaps.
type Seq uint64

// MaxSeq is the largest seq that a frame can hold.
const MaxSeq = 1<<56 - 1

// Offset is a place in a segment's file, in bytes from its start.
type Offset int64

// Position is a place in a journal: an offset in the segment with an ordinal. Positions are
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

// Sizes of the format, in bytes; FORMAT.md §3–§5.
const (
	Version = 1

	MinSize     = 8 << 10  // the least segment size that the format allows
	MaxSize     = 16 << 30 // the largest
	DefaultSize = 64 << 20
	SizeUnit    = pageSize // segment sizes are multiples of this

	HeaderSize    = 16 // of a frame
	FirstFrame    = Offset(identitySize)
	LinkEnd       = FirstFrame + linkFrame // where the link ends, and records may begin
	identitySize  = 4096
	pageSize      = 4096 // of the sparse index, and the least page size of any machine we run on
	linkPayload   = 64
	markPayload   = 40
	sealPayload   = 64
	linkFrame     = HeaderSize + linkPayload
	markFrame     = HeaderSize + markPayload
	sealFrame     = HeaderSize + sealPayload
	indexEntry    = 16
	maxFrame      = 1<<32 - 1 // length is a u32
	journalSize   = 128
	preambleSize  = 16
	identityCRCAt = identitySize - 4
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
)

func (r Reason) String() string {
	names := [...]string{"", "start", "roll", "recovery", "truncate back", "reset"}
	if r == 0 || int(r) >= len(names) {
		return fmt.Sprintf("reason %d", uint64(r))
	}
	return names[r]
}

var (
	segmentMagic = [8]byte{'m', 'm', 'j', 's', 'e', 'g', '\r', '\n'}
	journalMagic = [8]byte{'m', 'm', 'j', 'r', 'n', 'l', '\r', '\n'}
	le           = binary.LittleEndian
)

// Identity is the first 4096 bytes of a segment: who it is. It never changes.
type Identity struct {
	Journal ID
	Ordinal uint64 // equal to the file's name
	Salt    uint64 // random; every checksum in the segment depends on it
	Size    int64  // of the file, in bytes
	Created time.Time

	// Recycled: the file was another segment before. Bytes behind the frames are that one's, but
	// for the rest of the page in which the frames end, which is zero.
	Recycled bool
}

// featureRecycled is the bit among the features that says so.
const featureRecycled = 1

// Encode returns the identity's 4096 bytes.
func (id *Identity) Encode() []byte {
	b := make([]byte, identitySize)
	putPreamble(b, segmentMagic)
	copy(b[16:], id.Journal[:])
	le.PutUint64(b[32:], id.Ordinal)
	le.PutUint64(b[40:], id.Salt)
	le.PutUint64(b[48:], uint64(id.Size))
	le.PutUint64(b[56:], uint64(id.Created.UnixNano()))
	if id.Recycled {
		le.PutUint32(b[64:], featureRecycled)
	}
	le.PutUint32(b[identityCRCAt:], Checksum(b[:identityCRCAt]))
	return b
}

// DecodeIdentity reads the identity of a segment from its first bytes. It returns ErrShort,
// ErrMagic, ErrChecksum, ErrVersion or ErrIdentity.
func DecodeIdentity(b []byte) (id Identity, err error) {
	if len(b) < identitySize {
		return id, ErrShort
	}
	b = b[:identitySize]
	if err := checkPreamble(b, segmentMagic); err != nil {
		return id, err
	}
	if le.Uint32(b[identityCRCAt:]) != Checksum(b[:identityCRCAt]) {
		return id, ErrChecksum
	}
	features := le.Uint32(b[64:])
	if features&^featureRecycled != 0 {
		return id, fmt.Errorf("%w: feature bits %#x", ErrVersion, features)
	}
	id.Recycled = features&featureRecycled != 0
	copy(id.Journal[:], b[16:])
	id.Ordinal = le.Uint64(b[32:])
	id.Salt = le.Uint64(b[40:])
	id.Size = int64(le.Uint64(b[48:]))
	id.Created = time.Unix(0, int64(le.Uint64(b[56:])))
	if id.Ordinal == 0 || id.Salt == 0 || !zero(b[68:identityCRCAt]) || !ValidSize(id.Size) {
		return id, ErrIdentity
	}
	return id, nil
}

// ValidSize reports whether the format allows segments of n bytes.
func ValidSize(n int64) bool { return n >= MinSize && n <= MaxSize && n%SizeUnit == 0 }

// JournalFile is the content of the file JOURNAL, which says which journal a directory is.
type JournalFile struct {
	Journal ID
	Newest  uint64 // this segment, or a newer one with a good link, exists; 0: none yet
	Created time.Time
	Claim   Position // what is durable, as in a mark; zero: nothing

	// FirstLive is the first live seq when the claim was written; 0 with no claim.
	FirstLive Seq
}

// Encode returns the file's 128 bytes.
func (j *JournalFile) Encode() []byte {
	b := make([]byte, journalSize)
	putPreamble(b, journalMagic)
	copy(b[16:], j.Journal[:])
	le.PutUint64(b[32:], j.Newest)
	le.PutUint64(b[40:], uint64(j.Created.UnixNano()))
	le.PutUint64(b[48:], j.Claim.Ordinal)
	le.PutUint64(b[56:], uint64(j.Claim.Offset))
	le.PutUint64(b[64:], uint64(j.FirstLive))
	le.PutUint32(b[journalSize-4:], Checksum(b[:journalSize-4]))
	return b
}

// DecodeJournalFile reads the content of a file JOURNAL. It returns ErrShort, ErrMagic,
// ErrChecksum, ErrVersion or ErrIdentity.
func DecodeJournalFile(b []byte) (j JournalFile, err error) {
	if len(b) < preambleSize {
		return j, ErrShort
	}
	if err := checkPreamble(b, journalMagic); err != nil {
		return j, err
	}
	if len(b) != journalSize {
		return j, ErrShort
	}
	if le.Uint32(b[journalSize-4:]) != Checksum(b[:journalSize-4]) {
		return j, ErrChecksum
	}
	copy(j.Journal[:], b[16:])
	j.Newest = le.Uint64(b[32:])
	j.Created = time.Unix(0, int64(le.Uint64(b[40:])))
	j.Claim = Position{le.Uint64(b[48:]), Offset(le.Uint64(b[56:]))}
	j.FirstLive = Seq(le.Uint64(b[64:]))
	if !zero(b[72:journalSize-4]) || j.Claim.Offset < 0 {
		return j, ErrIdentity
	}
	return j, nil
}

func putPreamble(b []byte, magic [8]byte) {
	copy(b, magic[:])
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], Checksum(b[:12]))
}

func checkPreamble(b []byte, magic [8]byte) error {
	if !bytes.Equal(b[:8], magic[:]) {
		return ErrMagic
	}
	if le.Uint32(b[12:]) != Checksum(b[:12]) {
		return ErrChecksum
	}
	if v := le.Uint32(b[8:]); v != Version {
		return fmt.Errorf("%w: version %d", ErrVersion, v)
	}
	return nil
}

// Link is the first frame of every segment: where the segment hangs in the chain.
type Link struct {
	Base      Seq      // of the segment's first record; in the frame's header
	Pred      uint64   // the predecessor's ordinal; 0: none, the chain starts here
	PredSalt  uint64   // 0 if none
	PredEnd   Offset   // where the predecessor ends; 0 if none
	FirstLive Seq      // records before it have been dropped
	Claim     Position // what is durable; zero: nothing
	Time      time.Time
	Reason    Reason
}

func (l *Link) encode(b []byte) {
	le.PutUint64(b[0:], l.Pred)
	le.PutUint64(b[8:], l.PredSalt)
	le.PutUint64(b[16:], uint64(l.PredEnd))
	le.PutUint64(b[24:], uint64(l.FirstLive))
	le.PutUint64(b[32:], l.Claim.Ordinal)
	le.PutUint64(b[40:], uint64(l.Claim.Offset))
	le.PutUint64(b[48:], uint64(l.Time.UnixNano()))
	le.PutUint64(b[56:], uint64(l.Reason))
}

// decodeLink reads a link's payload and reports whether it satisfies FORMAT.md §4.1 in the
// segment with that ordinal.
func decodeLink(b []byte, base Seq, ordinal uint64) (l Link, ok bool) {
	l = Link{
		Base:      base,
		Pred:      le.Uint64(b[0:]),
		PredSalt:  le.Uint64(b[8:]),
		PredEnd:   Offset(le.Uint64(b[16:])),
		FirstLive: Seq(le.Uint64(b[24:])),
		Claim:     Position{le.Uint64(b[32:]), Offset(le.Uint64(b[40:]))},
		Time:      time.Unix(0, int64(le.Uint64(b[48:]))),
		Reason:    Reason(le.Uint64(b[56:])),
	}
	if l.Pred == 0 {
		ok = l.PredSalt == 0 && l.PredEnd == 0
	} else {
		ok = l.Pred < ordinal && l.PredEnd >= LinkEnd && l.PredEnd%8 == 0
	}
	return l, ok && base > 0 && l.Claim.Ordinal < ordinal && l.Claim.Offset >= 0
}

// Plausible reports whether a segment with the link pred can be what precedes l: its base seq is
// not above l's, and the records in between fit before l's end.
func (l *Link) Plausible(pred *Link) bool {
	return pred.Base <= l.Base && uint64(l.Base-pred.Base) <= uint64(l.PredEnd-LinkEnd)/HeaderSize
}

// Mark says what is durable.
type Mark struct {
	Next      Seq      // of the next record; in the frame's header
	Claim     Position // every byte of the chain before it is on stable storage
	FirstLive Seq
	Time      time.Time
	Clean     bool // the journal was closed here
}

func (m *Mark) encode(b []byte) {
	le.PutUint64(b[0:], m.Claim.Ordinal)
	le.PutUint64(b[8:], uint64(m.Claim.Offset))
	le.PutUint64(b[16:], uint64(m.FirstLive))
	le.PutUint64(b[24:], uint64(m.Time.UnixNano()))
	var flags uint64
	if m.Clean {
		flags = 1
	}
	le.PutUint64(b[32:], flags)
}

// decodeMark reads a mark's payload and reports whether it may stand at position at.
func decodeMark(b []byte, next Seq, at Position) (m Mark, ok bool) {
	flags := le.Uint64(b[32:])
	m = Mark{
		Next:      next,
		Claim:     Position{le.Uint64(b[0:]), Offset(le.Uint64(b[8:]))},
		FirstLive: Seq(le.Uint64(b[16:])),
		Time:      time.Unix(0, int64(le.Uint64(b[24:]))),
		Clean:     flags&1 != 0,
	}
	ok = flags <= 1 && m.Claim.Offset >= 0 && !at.Less(m.Claim)
	return m, ok && (!m.Clean || m.Claim == at)
}

// Seal is the last frame of a full segment.
type Seal struct {
	Next       Seq // of the next record; in the frame's header
	Records    uint64
	OldestTime time.Time
	NewestTime time.Time
	Succ       uint64 // the successor's ordinal
	SuccSalt   uint64
	IndexAt    Offset // where the seal's frame ends
	IndexLen   uint32 // entries
	IndexCRC   uint32
}

// IndexEnd returns the offset behind the sparse index.
func (s *Seal) IndexEnd() Offset { return s.IndexAt + Offset(s.IndexLen)*indexEntry }

func (s *Seal) encode(b []byte) {
	le.PutUint64(b[0:], s.Records)
	le.PutUint64(b[8:], uint64(s.OldestTime.UnixNano()))
	le.PutUint64(b[16:], uint64(s.NewestTime.UnixNano()))
	le.PutUint64(b[24:], s.Succ)
	le.PutUint64(b[32:], s.SuccSalt)
	le.PutUint64(b[40:], uint64(s.IndexAt))
	le.PutUint32(b[48:], s.IndexLen)
	le.PutUint32(b[52:], s.IndexCRC)
	le.PutUint64(b[56:], 0)
}

// decodeSeal reads a seal's payload and reports whether it may end at end.
func decodeSeal(b []byte, next Seq, end Offset) (s Seal, ok bool) {
	s = Seal{
		Next:       next,
		Records:    le.Uint64(b[0:]),
		OldestTime: time.Unix(0, int64(le.Uint64(b[8:]))),
		NewestTime: time.Unix(0, int64(le.Uint64(b[16:]))),
		Succ:       le.Uint64(b[24:]),
		SuccSalt:   le.Uint64(b[32:]),
		IndexAt:    Offset(le.Uint64(b[40:])),
		IndexLen:   le.Uint32(b[48:]),
		IndexCRC:   le.Uint32(b[52:]),
	}
	return s, s.IndexAt == end && le.Uint64(b[56:]) == 0 && s.Succ != 0
}

// indexReserve is how many bytes at the end of a segment are kept free of frames.
func indexReserve(size int64) int64 { return indexEntry * (size / pageSize) }

// MaxBatch returns how many bytes the frames of all records in a segment of size bytes can take,
// and so those of one batch: the sum of [FrameSize] over its payloads.
func MaxBatch(size int64) int64 {
	return size - identitySize - linkFrame - markFrame - sealFrame - indexReserve(size)
}

// MaxRecord returns the largest payload, in bytes, that a segment of size bytes can hold.
func MaxRecord(size int64) int64 {
	return min(MaxBatch(size)-HeaderSize, maxFrame-HeaderSize)
}

// FrameSize returns how many bytes of a segment a record with a payload of n bytes takes.
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
