package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"mmjournal/journal"
)

// A journal in memory gives its memory back when it is closed.
func TestMemoryIsFreed(t *testing.T) {
	areas := func() int {
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skip(err)
		}
		return bytes.Count(b, []byte("\n"))
	}
	before := 0
	for i := range 60 {
		j, err := journal.OpenMemory(smallSegments)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			mustAppend(t, j, make([]byte, 3000))
		}
		mustClose(t, j)
		if i == 20 {
			before = areas()
		}
	}
	if after := areas(); after > before+20 {
		t.Errorf("%d memory areas, and %d after 40 more journals", before, after)
	}
}

// TestTruncateDuringIteration: an iteration shows what is there, not what was when it began.
func TestTruncateDuringIteration(t *testing.T) {
	j, err := journal.OpenMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	for range 20 {
		mustAppend(t, j, []byte("old"))
	}
	for rec, err := range j.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Seq == 5 {
			if err := j.TruncateBack(7); err != nil {
				t.Fatal(err)
			}
			for range 13 {
				mustAppend(t, j, []byte("new"))
			}
		}
		if want := map[bool]string{true: "new", false: "old"}[rec.Seq > 7]; string(rec.Payload) != want {
			t.Fatalf("seq %d is %q", rec.Seq, rec.Payload)
		}
	}
}

// TestSyncBesideTruncateBack: what is dropped meanwhile needs no sync.
func TestSyncBesideTruncateBack(t *testing.T) {
	j, err := journal.OpenMemory(&journal.Options{Durability: journal.Published})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	done := make(chan error)
	go func() {
		var err error
		for range 300 {
			err = errors.Join(err, j.Sync(context.Background()))
		}
		done <- err
	}()
	for ended := false; !ended; {
		mustAppend(t, j, []byte("x"))
		if err := j.TruncateBack(0); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if ended = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
}

// TestLargeSync: a sync of many pages takes them out of the page tables where they belong to a
// file, and only there; every record is there afterwards.
func TestLargeSync(t *testing.T) {
	o := &journal.Options{Durability: journal.Published, SegmentSize: 1 << 20}
	for name, open := range map[string]func() (*journal.Journal, error){
		"memory": func() (*journal.Journal, error) { return journal.OpenMemory(o) },
		"files":  func() (*journal.Journal, error) { return journal.Open(t.TempDir(), o) },
	} {
		j, err := open()
		if err != nil {
			t.Fatal(err)
		}
		const size = 9999
		for i := range 500 {
			mustAppend(t, j, fmt.Appendf(nil, "%0*d", size, i))
			if i%70 == 69 {
				if err := j.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, got := range collect(t, j, 0) {
			if want := fmt.Sprintf("%0*d", size, i); got != want {
				t.Fatalf("%s: record %d is gone", name, i+1)
			}
		}
		mustClose(t, j)
	}
}

func TestMemory(t *testing.T) {
	j, err := journal.OpenMemory(smallSegments)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		mustAppend(t, j, fmt.Appendf(nil, "%d %0*d", i, 3000, i))
	}
	if err := errors.Join(j.TruncateFront(31), j.TruncateBack(60)); err != nil {
		t.Fatal(err)
	}
	if n := len(collect(t, j, 0)); n != 30 || j.Stats().Segments < 2 {
		t.Errorf("%d records, %+v", n, j.Stats())
	}
	mustClose(t, j)
}
