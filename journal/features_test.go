package journal_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// setFeature sets a bit in an identity, or in both copies of JOURNAL, as newer software does.
func setFeature(b []byte, at int) {
	n := 4096
	if string(b[:6]) == "mmjrnl" {
		n = len(b)
	}
	for ; n > 0; n -= 4096 {
		part := b[n-4096 : n]
		part[at] |= 2
		binary.LittleEndian.PutUint32(part[4092:], segment.Checksum(part[:4092]))
	}
}

// contentOf returns a copy of every file's bytes.
func contentOf(t *testing.T, fsys segment.FS) map[string][]byte {
	t.Helper()
	entries, err := fsys.ReadDir("/j")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		all[e.Name()] = slices.Clone(bytesOf(t, fsys, e.Name()))
	}
	return all
}

// TestFeatures: what newer software may write with a bit that this software does not know.
func TestFeatures(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	first := segment.FileName(1)
	for _, c := range []struct {
		name, file  string
		at          int
		write, read bool
	}{
		{"incompatible, in JOURNAL", segment.JournalName, 48, false, false},
		{"incompatible, in an identity", first, 64, false, false},
		{"read-only compatible, in JOURNAL", segment.JournalName, 52, false, true},
		{"read-only compatible, in an identity", first, 68, false, true},
		{"compatible, in JOURNAL", segment.JournalName, 56, true, true},
		{"compatible, in an identity", first, 72, true, true},
	} {
		for _, closed := range []bool{true, false} {
			fsys := segment.NewMemFS()
			j, err := journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 8192})
			if err != nil {
				t.Fatal(err)
			}
			addSized(t, j, 9, 700)
			want := collect(t, j, 0)
			if closed {
				mustClose(t, j)
			}
			setFeature(bytesOf(t, fsys, c.file), c.at)
			before := contentOf(t, fsys)

			r, err := journal.OpenReadOnlyFS(fsys, "/j", nil)
			if c.read != (err == nil) || err != nil && !errors.Is(err, journal.ErrVersion) {
				t.Fatalf("%s: OpenReadOnly: %v", c.name, err)
			}
			if err == nil {
				if got := collect(t, r, 0); !slices.Equal(got, want) {
					t.Errorf("%s: %d records are read, want %d", c.name, len(got), len(want))
				}
				mustClose(t, r)
			}
			j, err = journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 8192})
			if c.write != (err == nil) || err != nil && !errors.Is(err, journal.ErrVersion) {
				t.Fatalf("%s: Open: %v", c.name, err)
			}
			if err != nil {
				for name, b := range contentOf(t, fsys) {
					if !slices.Equal(before[name], b) {
						t.Errorf("%s: refusing to open has changed %s", c.name, name)
					}
				}
				continue
			}
			addSized(t, j, 1, 40)
			mustClose(t, j)
		}
	}
}

// TestOneBadCopy: a bad copy in JOURNAL costs nothing, and the next Open writes both anew.
func TestOneBadCopy(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	for _, at := range []int{70, 4096 + 70} {
		fsys := segment.NewMemFS()
		want := flipJournal(t, fsys, flipJournals["front"])
		generation := binary.LittleEndian.Uint64(bytesOf(t, fsys, segment.JournalName)[32:])
		bytesOf(t, fsys, segment.JournalName)[at] ^= 1
		j, err := journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 8192})
		if err != nil {
			t.Fatal(err)
		}
		if got := collect(t, j, 0); !slices.Equal(got, want) || !j.Report().Verdict.Sound() ||
			!warnsOfJournal(j.Report()) {
			t.Errorf("byte %d: %d of %d records; %v", at, len(got), len(want), j.Report())
		}
		mustClose(t, j)
		b := bytesOf(t, fsys, segment.JournalName)
		f, faults, err := segment.DecodeJournalFile(b)
		if err != nil || faults.Any() || f.Generation <= generation {
			t.Errorf("byte %d: JOURNAL %+v, %v, %v", at, f, faults, err)
		}
	}
}
