package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"mmjournal/journal"
)

// FuzzInput: whatever comes in through append, in each of its framings, is either refused or in the
// journal as records that give the input again.
func FuzzInput(f *testing.F) {
	framed := binary.LittleEndian.AppendUint32(nil, 5)
	for _, in := range [][]byte{
		nil, []byte("\n"), []byte("a\nb"), []byte("a\n\nb\n"), append(framed, "hello"...), framed,
		{255, 255, 255, 255}, {0, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte("long "), 30_000),
	} {
		for how := range byte(3) {
			f.Add(in, how)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, how byte) {
		j, err := journal.OpenMemory(&journal.Options{
			SegmentSize: journal.MinSegmentSize, Durability: journal.Published,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		limit := journal.MaxRecord(journal.MinSegmentSize)
		p := &appender{app: &app{}, j: j, dir: "memory", limit: limit, size: journal.MinSegmentSize}
		r := bufio.NewReaderSize(bytes.NewReader(in), 16)
		switch how % 3 {
		case 0:
			err = p.lines(context.Background(), r)
		case 1:
			err = p.framed(context.Background(), r)
		default:
			err = p.whole(r)
		}
		got := readBack(t, j, how%3)
		if !bytes.HasPrefix(append(bytes.Clone(in), '\n'), got) {
			t.Fatalf("%q gives %q", in, got)
		}
		if err == nil && len(got) < len(in) {
			t.Fatalf("no error, and %d of %d bytes", len(got), len(in))
		}
		if errors.Is(err, journal.ErrTooLarge) && len(in) <= int(limit) {
			t.Fatalf("%d bytes: %v", len(in), err)
		}
	})
}

// readBack undoes a framing.
func readBack(t *testing.T, j *journal.Journal, how byte) (all []byte) {
	t.Helper()
	for rec, err := range j.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		if how == 1 {
			all = binary.LittleEndian.AppendUint32(all, uint32(len(rec.Payload)))
		}
		all = append(all, rec.Payload...)
		if how == 0 {
			all = append(all, '\n')
		}
	}
	return all
}
