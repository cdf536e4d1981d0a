package journal_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// TestNewerFrameAfterLastRecord: a frame of newer software in a segment that Open does not read is
// noticed when reading leaves the segment, though every record in it is good.
func TestNewerFrameAfterLastRecord(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	fsys := segment.NewHeapFS()
	o := &journal.Options{SegmentSize: 8192}
	j, err := journal.OpenFS(fsys, "/j", o)
	if err != nil {
		t.Fatal(err)
	}
	addSized(t, j, 8, 900)
	mustClose(t, j)
	files := map[string][]byte{}
	for _, s := range scan(t, fsys).Segments {
		files[s.File] = bytesOf(t, fsys, s.File)
	}
	first := parseSegments(files)[0]
	n := len(first.frames)
	mark, seal := first.frames[n-2], first.frames[n-1]
	if mark.kind != rawMark || seal.kind != rawSeal || len(files) < 2 {
		t.Fatalf("%d segments; the first ends with frames of kind %d and %d",
			len(files), mark.kind, seal.kind)
	}
	putUnknown(first.bytes, mark.off, mark.seq)
	for name, open := range map[string]func() (*journal.Journal, error){
		"writer": func() (*journal.Journal, error) { return journal.OpenFS(fsys, "/j", o) },
		"reader": func() (*journal.Journal, error) { return journal.OpenReadOnlyFS(fsys, "/j", o) },
	} {
		j, err := open()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var last journal.Seq
		for rec, readErr := range j.Records(0) {
			if err = readErr; err == nil {
				last = rec.Seq
			}
		}
		if !errors.Is(err, journal.ErrVersion) || errors.Is(err, journal.ErrCorrupt) ||
			last != journal.Seq(mark.seq-1) {
			t.Errorf("%s: the last record is %d, then %v; want %d, ErrVersion", name, last, err, mark.seq-1)
		}
		mustClose(t, j)
	}
}

// putUnknown writes a frame of a kind that version 1 does not have.
func putUnknown(b []byte, at int64, seq uint64) {
	const length, kind = 16, 9
	le := binary.LittleEndian
	le.PutUint64(b[at+8:], seq<<8|kind)
	sum := le.AppendUint64(nil, le.Uint64(b[40:])^(uint64(at)<<29|length))
	le.PutUint32(b[at:], length)
	le.PutUint32(b[at+4:], segment.Checksum(append(sum, b[at+8:at+16]...)))
}
