package segment

import (
	"errors"
	"fmt"
	"time"
)

// JournalFile is what one copy in the file JOURNAL says: which journal a directory is, what is
// durable, and which segment must exist.
type JournalFile struct {
	Journal    ID
	Generation uint64 // one more with each update; of two good copies the one with the higher counts
	Created    time.Time
	Newest     uint64   // this segment, or a newer one with a good link, exists; 0: none yet
	Claim      Position // what is durable, as in a mark; zero: nothing

	// FirstLive is the first live seq when the claim was written; 0 with no claim.
	FirstLive Seq
	// SegmentSize is the size of the last writer's new segments; 0 if it is not known.
	SegmentSize int64

	// Reserved, and 0: the newest history of the journal.
	Epoch, EpochNonce uint64

	// StandIn is the link of a segment StandInOrdinal that has no file and no records; the ordinal
	// is 0 if there is none.
	StandInOrdinal uint64
	StandIn        Link

	// ReadOnly: newer software made the journal with a feature that lets this software read it, but
	// not write to it. Encode does not write it.
	ReadOnly bool
}

// Encode returns one of the two copies in JOURNAL, 4096 bytes.
func (j *JournalFile) Encode() []byte {
	b := make([]byte, copySize)
	putPreamble(b, journalMagic)
	copy(b[16:], j.Journal[:])
	le.PutUint64(b[32:], j.Generation)
	le.PutUint64(b[40:], uint64(j.Created.UnixNano()))
	le.PutUint64(b[64:], j.Newest)
	le.PutUint64(b[72:], j.Claim.Ordinal)
	le.PutUint64(b[80:], uint64(j.Claim.Offset))
	le.PutUint64(b[88:], uint64(j.FirstLive))
	le.PutUint64(b[96:], uint64(j.SegmentSize))
	le.PutUint64(b[104:], j.Epoch)
	le.PutUint64(b[112:], j.EpochNonce)
	if j.StandInOrdinal != 0 {
		le.PutUint64(b[120:], j.StandInOrdinal)
		le.PutUint64(b[128:], uint64(j.StandIn.Base))
		j.StandIn.encode(b[136:])
	}
	le.PutUint32(b[copyCRCAt:], Checksum(b[:copyCRCAt]))
	return b
}

// JournalFaults says what is wrong with a file JOURNAL that can be read nevertheless. The zero
// value means that nothing is wrong.
type JournalFaults struct {
	Copies [2]error // of the first copy, and of the second; nil for a good one
	Size   error    // the file does not have the right size
	// Behind: one copy is older than the other, because an update was interrupted. That is no fault.
	Behind bool
}

// NextGeneration returns the generation of the next update of a file that holds j and has these
// faults. An even generation writes the first copy first, an odd one the second. The copy that is
// written first must be the bad one; or, of two that differ, the newer one; or else the one that
// was written last, which may not have reached the disk.
func (j *JournalFile) NextGeneration(f *JournalFaults) uint64 {
	next := j.Generation + 1
	for i, err := range f.Copies {
		if err != nil && firstCopy(next) != int64(i)*copySize {
			next++
		}
	}
	if f.Behind {
		next = j.Generation + 2
	}
	return next
}

// Any reports whether anything is wrong.
func (f *JournalFaults) Any() bool {
	return f.Copies[0] != nil || f.Copies[1] != nil || f.Size != nil
}

// Texts returns a sentence for people about each fault.
func (f *JournalFaults) Texts() (texts []string) {
	names := [2]string{"first", "second"}
	for i, err := range f.Copies {
		if err != nil {
			texts = append(texts, fmt.Sprintf("the %s copy is not good (%v); the %s one serves",
				names[i], err, names[1-i]))
		}
	}
	if f.Size != nil {
		texts = append(texts, f.Size.Error())
	}
	return texts
}

// JournalFileSize is the size of the file JOURNAL, in bytes.
const JournalFileSize = journalSize

// DecodeJournalFile reads the content of a file JOURNAL. It returns the good copy, or of two good
// ones the one with the higher generation. faults says what else is wrong with the file.
//
// If no copy is good, the error is that of the first one: ErrShort, ErrMagic, ErrChecksum or
// ErrIdentity. It also matches that of the second one, if that differs. If the two copies are of
// different journals, the error is ErrIdentity. If newer software made either copy, it is
// ErrVersion.
func DecodeJournalFile(b []byte) (j JournalFile, faults JournalFaults, err error) {
	var copies [2]JournalFile
	for i := range copies {
		part := b[min(i*copySize, len(b)):min((i+1)*copySize, len(b))]
		copies[i], faults.Copies[i] = decodeCopy(part)
		if errors.Is(faults.Copies[i], ErrVersion) {
			return j, faults, faults.Copies[i]
		}
	}
	if len(b) > journalSize {
		faults.Size = ErrShort
	}
	first, second := faults.Copies[0], faults.Copies[1]
	switch {
	case first != nil && second != nil && first.Error() == second.Error():
		return j, faults, first
	case first != nil && second != nil:
		return j, faults, fmt.Errorf("first copy: %w; second copy: %w", first, second)
	case first != nil:
		return copies[1], faults, nil
	case second != nil:
		return copies[0], faults, nil
	case copies[0].Journal != copies[1].Journal:
		err = fmt.Errorf("%w: its copies are of the journals %v and %v",
			ErrIdentity, copies[0].Journal, copies[1].Journal)
		return j, JournalFaults{Copies: [2]error{err, err}, Size: faults.Size}, err
	}
	faults.Behind = copies[0].Generation != copies[1].Generation
	if copies[0].Generation < copies[1].Generation {
		return copies[1], faults, nil
	}
	return copies[0], faults, nil
}

// decodeCopy reads one copy.
func decodeCopy(b []byte) (j JournalFile, err error) {
	if len(b) < preambleSize {
		return j, ErrShort
	}
	if err := checkPreamble(b, journalMagic); err != nil {
		return j, err
	}
	if len(b) != copySize {
		return j, ErrShort
	}
	if le.Uint32(b[copyCRCAt:]) != Checksum(b[:copyCRCAt]) {
		return j, ErrChecksum
	}
	f, err := decodeFeatures(b[48:], 0)
	if err != nil {
		return j, err
	}
	j = JournalFile{
		Generation:     le.Uint64(b[32:]),
		Created:        time.Unix(0, int64(le.Uint64(b[40:]))),
		Newest:         le.Uint64(b[64:]),
		Claim:          Position{le.Uint64(b[72:]), Offset(le.Uint64(b[80:]))},
		FirstLive:      Seq(le.Uint64(b[88:])),
		SegmentSize:    int64(le.Uint64(b[96:])),
		Epoch:          le.Uint64(b[104:]),
		EpochNonce:     le.Uint64(b[112:]),
		StandInOrdinal: le.Uint64(b[120:]),
		ReadOnly:       f.readOnlyCompatible != 0,
	}
	copy(j.Journal[:], b[16:])
	ok := j.Claim.Offset >= 0 && (j.SegmentSize == 0 || ValidSize(j.SegmentSize))
	if j.StandInOrdinal == 0 {
		ok = ok && zero(b[128:136+linkPayload])
	} else {
		var link bool
		j.StandIn, link = decodeLink(b[136:], Seq(le.Uint64(b[128:])), j.StandInOrdinal)
		ok = ok && link && j.StandIn.Base <= MaxSeq
	}
	if !ok || !f.newer() && !(zero(b[60:64]) && zero(b[136+linkPayload:copyCRCAt])) {
		return JournalFile{}, ErrIdentity
	}
	return j, nil
}
