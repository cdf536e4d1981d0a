package powercut

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"mmjournal/journal"
)

const payloadHeader = 20

// largeWriter is added to the number of a writer whose records are large.
const largeWriter = 100

// payload returns a record's bytes: its ID, and a pattern. Both follow from the ID alone, so that
// a reader can tell whether a single bit is wrong.
func (id ID) payload() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(id.Life))
	b = le.AppendUint32(b, uint32(id.Writer))
	b = le.AppendUint64(b, uint64(id.N))
	b = le.AppendUint16(b, uint16(id.Index))
	b = le.AppendUint16(b, uint16(id.Of))
	r := rand.New(rand.NewPCG(uint64(id.Life)<<32|uint64(id.Writer), uint64(id.N)))
	n := r.IntN(300)
	switch r.IntN(12) {
	case 0:
		n = 0
	case 1:
		n = r.IntN(9000)
	}
	if id.Writer >= largeWriter {
		n = r.IntN(9000)
	}
	for x := r.Uint64() | 1; n > 0; n-- {
		x = x*6364136223846793005 + 1442695040888963407
		b = append(b, byte(x>>56))
	}
	return b
}

// parsePayload returns which record a payload is, or an error if any byte is not that record's.
func parsePayload(b []byte) (ID, error) {
	if len(b) < payloadHeader {
		return ID{}, fmt.Errorf("a record of %d bytes, which nobody has appended", len(b))
	}
	le := binary.LittleEndian
	id := ID{
		Life: int(le.Uint32(b)), Writer: int(le.Uint32(b[4:])), N: int(le.Uint64(b[8:])),
		Index: int(le.Uint16(b[16:])), Of: int(le.Uint16(b[18:])),
	}
	if !bytes.Equal(b, id.payload()) {
		return id, fmt.Errorf("the record that says it is %v has wrong bytes", id)
	}
	return id, nil
}

// contents reads a whole journal.
func contents(j *journal.Journal) (first uint64, ids []ID, err error) {
	first = uint64(j.First())
	for rec, err := range j.Records(0) {
		if err != nil {
			return first, ids, fmt.Errorf("read: %w", err)
		}
		if want := first + uint64(len(ids)); uint64(rec.Seq) != want {
			return first, ids, fmt.Errorf("I2: seq %d follows %d", rec.Seq, want-1)
		}
		id, err := parsePayload(rec.Payload)
		if err != nil {
			return first, ids, fmt.Errorf("I2: seq %d: %w", rec.Seq, err)
		}
		ids = append(ids, id)
	}
	if last := uint64(j.Last()); last+1 != first+uint64(len(ids)) {
		return first, ids, fmt.Errorf("I2: last is %d, but %d records from %d are there",
			last, len(ids), first)
	}
	return first, ids, nil
}
