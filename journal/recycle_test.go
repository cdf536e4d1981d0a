package journal_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"mmjournal/journal"
)

// TestRecycled: where old segments are dropped, new ones are written over their files; somebody who
// still reads an old one goes on reading it.
func TestRecycled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux is it known who uses a file")
	}
	dir := t.TempDir()
	o := &journal.Options{SegmentSize: journal.MinSegmentSize, Spares: 2}
	j := mustOpen(t, dir, o)
	record := func(seq journal.Seq) string { return fmt.Sprintf("%0*d", 5000, seq) }
	fill := func(n int) {
		for range n {
			mustAppend(t, j, []byte(record(j.Last()+1)))
		}
	}
	fill(40)
	reader, err := journal.OpenReadOnly(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := j.TruncateFront(j.Last() - 5); err != nil {
			t.Fatal(err)
		}
		fill(30)
	}
	s := j.Stats()
	if s.Recycled < 5 || s.Recycled >= s.Prepared {
		t.Errorf("%d of %d segments are recycled", s.Recycled, s.Prepared)
	}
	n := journal.Seq(0)
	for rec, err := range reader.Records(1) {
		if err != nil || string(rec.Payload) != record(rec.Seq) {
			t.Fatalf("a reader of what was there before: seq %d, %v", rec.Seq, err)
		}
		n++
	}
	if n != 40 {
		t.Errorf("it reads %d records", n)
	}
	mustClose(t, reader)
	first, last := j.First(), j.Last()
	mustClose(t, j)
	if temps, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(temps) > 0 {
		t.Errorf("left behind: %q", temps)
	}
	for range 3 {
		j = mustOpen(t, dir, &journal.Options{VerifyOnOpen: true})
		if j.First() != first || j.Last() != last {
			t.Fatalf("records %d to %d, want %d to %d", j.First(), j.Last(), first, last)
		}
		for rec, err := range j.Records(0) {
			if err != nil || string(rec.Payload) != record(rec.Seq) {
				t.Fatalf("seq %d: %v", rec.Seq, err)
			}
		}
		mustAppend(t, j, []byte(record(last+1)))
		last++
		mustClose(t, j)
	}
}
