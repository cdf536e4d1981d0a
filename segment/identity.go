package segment

import (
	"bytes"
	"fmt"
	"time"
)

var (
	segmentMagic = [8]byte{'m', 'm', 'j', 's', 'e', 'g', '\r', '\n'}
	journalMagic = [8]byte{'m', 'm', 'j', 'r', 'n', 'l', '\r', '\n'}
)

// Identity is the first 4096 bytes of a segment, which say which segment it is. It never changes.
type Identity struct {
	Journal ID
	Ordinal uint64 // equal to the file's name
	Salt    uint64 // random; every checksum in the segment depends on it
	Size    int64  // of the file, in bytes
	Created time.Time

	// Recycled: the file was another segment before. The bytes after the frames are those of that
	// segment, except for the rest of the page in which the frames end, which is zero.
	Recycled bool
	// ReadOnly: newer software made the segment with a feature that lets this software read the
	// journal, but not write to it. Encode does not write it.
	ReadOnly bool
}

// features are the bits by which newer software says what it made a file with, in an identity and
// in JOURNAL: FORMAT.md §9.
type features struct {
	incompatible       uint32 // a reader must know them
	readOnlyCompatible uint32 // a writer must know them
	compatible         uint32 // nobody has to
}

// featureRecycled is the bit among the incompatible ones that says so.
const featureRecycled = 1

// decodeFeatures reads the three classes, and returns ErrVersion if a reader must know a bit that
// is not among known.
func decodeFeatures(b []byte, known uint32) (f features, err error) {
	f = features{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])}
	if f.incompatible&^known != 0 {
		err = fmt.Errorf("%w: feature bits %#x", ErrVersion, f.incompatible)
	}
	return f, err
}

// newer reports whether bytes that are reserved may have got a meaning: a bit is set that this
// software does not know.
func (f *features) newer() bool { return f.readOnlyCompatible|f.compatible != 0 }

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
	f, err := decodeFeatures(b[64:], featureRecycled)
	if err != nil {
		return id, err
	}
	id.Recycled = f.incompatible&featureRecycled != 0
	id.ReadOnly = f.readOnlyCompatible != 0
	copy(id.Journal[:], b[16:])
	id.Ordinal = le.Uint64(b[32:])
	id.Salt = le.Uint64(b[40:])
	id.Size = int64(le.Uint64(b[48:]))
	id.Created = time.Unix(0, int64(le.Uint64(b[56:])))
	if id.Ordinal == 0 || id.Salt == 0 || !ValidSize(id.Size) ||
		!f.newer() && !zero(b[76:identityCRCAt]) {
		return id, ErrIdentity
	}
	return id, nil
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
