package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// flipJournals are small journals whose every bit is flipped. They are synced and cleanly closed.
var flipJournals = map[string]func(t *testing.T, j *journal.Journal){
	"everything": func(t *testing.T, j *journal.Journal) { // rolls, batches, both truncations
		addSized(t, j, 9, 700)
		if err := j.TruncateFront(3); err != nil {
			t.Fatal(err)
		}
		addSized(t, j, 2, 300)
		if err := j.TruncateBack(10); err != nil {
			t.Fatal(err)
		}
		addSized(t, j, 1, 0)
		if _, err := j.AppendBatch([][]byte{[]byte("b1"), nil, []byte("b3")}); err != nil {
			t.Fatal(err)
		}
		addSized(t, j, 4, 900)
		addSized(t, j, 2, 33)
	},
	"front": func(t *testing.T, j *journal.Journal) { // only the newest segment knows what is live
		addSized(t, j, 6, 700)
		if err := j.TruncateFront(4); err != nil {
			t.Fatal(err)
		}
		addSized(t, j, 1, 33)
	},
}

func addSized(t *testing.T, j *journal.Journal, n, size int) {
	t.Helper()
	for range n {
		mustAppend(t, j, fmt.Appendf(nil, "%0*d", size, j.Last()+1))
	}
}

// flipJournal builds one of them and returns its records.
func flipJournal(
	t *testing.T, fsys segment.FS, build func(*testing.T, *journal.Journal),
) (want []string) {
	t.Helper()
	j, err := journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	build(t, j)
	want = collect(t, j, 0)
	mustClose(t, j)
	return want
}

// bytesOf returns the live bytes of a file in a MemFS: changing them changes the file.
func bytesOf(t *testing.T, fsys segment.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(filepath.Join("/j", name), segment.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Map(size, segment.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); f.Close() })
	return m.Bytes()
}

// TestEveryBit flips every bit of a cleanly closed journal, one at a time. Either the full check
// finds damage, or the bit carries nothing by FORMAT.md §7, or it is one of JOURNAL: that is a
// warning, and the other copy serves. Whatever it is, every record that can
// be read is right, in order, and from the first one on; and if the journal is not called corrupt,
// all of them can be read. (Its parts share out the bits, each with a journal of its own.)
func TestEveryBit(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	parts := runtime.GOMAXPROCS(0)
	every := int(torture.Count(9, 9, 1))
	for name, build := range flipJournals {
		t.Run(name, func(t *testing.T) {
			for part := range parts {
				t.Run(fmt.Sprint(part), func(t *testing.T) {
					t.Parallel()
					flipAll(t, build, func(bit int) bool {
						return bit%parts == part && bit/parts%every == 0
					})
				})
			}
		})
	}
}

// flipAll flips the bits that are chosen, of every segment, and of JOURNAL.
func flipAll(t *testing.T, build func(*testing.T, *journal.Journal), chosen func(bit int) bool) {
	fsys := segment.NewMemFS()
	want := flipJournal(t, fsys, build)
	report := scan(t, fsys)
	if report.Verdict != recovery.Intact || report.End != recovery.EndClean {
		t.Fatal(report)
	}
	t.Logf("%d segments, %d records", len(report.Segments), len(want))
	counts := map[string]int{}
	for i, s := range report.Segments {
		b := bytesOf(t, fsys, s.File)
		nothing := carriesNothing(t, report, i)
		for bit := range len(b) * 8 {
			if !chosen(bit) {
				continue
			}
			b[bit/8] ^= 1 << (bit % 8)
			counts[flipped(t, fsys, s.File, bit, nothing(int64(bit/8)), want)]++
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	b := bytesOf(t, fsys, segment.JournalName)
	for bit := range len(b) * 8 {
		if !chosen(bit) {
			continue
		}
		b[bit/8] ^= 1 << (bit % 8)
		counts[flipped(t, fsys, segment.JournalName, bit, false, want)]++
		b[bit/8] ^= 1 << (bit % 8)
	}
	t.Logf("bits: %v", counts)
	if r := scan(t, fsys); r.Verdict != recovery.Intact {
		t.Errorf("at the end: %v", r)
	}
}

// carriesNothing returns which bytes of the i-th segment carry nothing: FORMAT.md §7.
func carriesNothing(t *testing.T, r *recovery.Report, i int) func(off int64) bool {
	t.Helper()
	s := r.Segments[i]
	const mark = 56
	switch s.State {
	case recovery.Active:
		return func(off int64) bool { return off >= s.Used-mark }
	case recovery.Linked:
		return func(off int64) bool { return off >= s.Used }
	case recovery.Sealed:
		return func(off int64) bool { return off >= s.Used+indexSize(t, s) }
	}
	t.Fatalf("segment %d is %s", s.Ordinal, s.State)
	return nil
}

// indexSize counts the pages in which a record starts, by what FORMAT.md says; flipJournal's
// segments of 8 KiB have two pages, and frames only in the second.
func indexSize(t *testing.T, s recovery.Segment) int64 {
	t.Helper()
	if s.Size != 8192 || s.Records == 0 {
		t.Fatalf("segment %d: %d bytes, %d records", s.Ordinal, s.Size, s.Records)
	}
	return 16
}

func scan(t *testing.T, fsys segment.FS) *recovery.Report {
	t.Helper()
	st, err := recovery.Scan(fsys, "/j", recovery.Options{Full: true})
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
	return st.Report
}

// flipped checks a journal with one flipped bit and returns a word for the statistics.
func flipped(
	t *testing.T, fsys segment.FS, file string, bit int, nothing bool, want []string,
) string {
	where := fmt.Sprintf("%s, byte %d, bit %d", file, bit/8, bit%8)
	st, err := recovery.Scan(fsys, "/j", recovery.Options{Full: true})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	st.Close()
	r := st.Report
	switch {
	case errors.Is(st.Err, journal.ErrVersion):
		t.Fatalf("%s: taken for a newer version: %v", where, st.Err)
	case nothing && r.Verdict != recovery.Intact:
		t.Fatalf("%s carries nothing, but: %v", where, r)
	case file == segment.JournalName && (r.Verdict != recovery.Intact || !warnsOfJournal(r)):
		t.Fatalf("%s: the other copy does not serve, or nothing is said: %v", where, r)
	case file != segment.JournalName && !nothing && r.Verdict == recovery.Intact:
		t.Fatalf("%s is not noticed: %v", where, r)
	case nothing && r.Tail == nil && r.End == recovery.EndTorn:
		t.Fatalf("%s: a torn tail that is not described: %v", where, r)
	}
	got, readErr := readDamaged(t, fsys, where)
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Fatalf("%s: wrong records", where)
	}
	if r.Verdict != recovery.Corrupt && (readErr != nil || len(got) != len(want)) {
		t.Fatalf("%s: %s, but %d of %d records, %v", where, r.Verdict, len(got), len(want), readErr)
	}
	if len(got) < len(want) && !errors.Is(readErr, journal.ErrCorrupt) {
		t.Fatalf("%s: %d of %d records, and no word of it: %v", where, len(got), len(want), readErr)
	}
	return string(r.Verdict)
}

// readDamaged reads what can be read, and returns the error that reading ended with.
func readDamaged(t *testing.T, fsys segment.FS, where string) (got []string, err error) {
	t.Helper()
	j, err := journal.OpenReadOnlyFS(fsys, "/j", &journal.Options{
		SegmentSize: 8192, ReadDamaged: true,
	})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	defer j.Close()
	for rec, err := range j.Records(0) {
		if err != nil {
			return got, err
		}
		got = append(got, string(rec.Payload))
	}
	return got, nil
}
