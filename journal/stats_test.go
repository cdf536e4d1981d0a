package journal_test

import (
	"sync/atomic"
	"testing"
	"time"

	"mmjournal/journal"
	"mmjournal/segment"
)

// slowFS takes a while to reserve space.
type slowFS struct {
	segment.FS
	slow *atomic.Int64 // nanoseconds
}

func (f slowFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	file, err := f.FS.Open(path, mode)
	return slowFile{file, f.slow}, err
}

type slowFile struct {
	segment.File
	slow *atomic.Int64
}

func (f slowFile) Allocate(size int64) error {
	time.Sleep(time.Duration(f.slow.Load()))
	return f.File.Allocate(size)
}

// TestStalls: Stats says how often and how long appends waited for a segment, and only then.
func TestStalls(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	fsys := slowFS{segment.NewHeapFS(), new(atomic.Int64)}
	j, err := journal.OpenFSBackground(fsys, "/j", &journal.Options{
		SegmentSize: 8192, Durability: journal.Published,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for j.Stats().Prepared == 0 { // Open begins to
		time.Sleep(time.Millisecond)
	}
	if _, err := j.Append(nil); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Stalls != 0 || s.StallTime != 0 {
		t.Errorf("a segment was ready: %d stalls of %v", s.Stalls, s.StallTime)
	}
	fsys.slow.Store(int64(200 * time.Millisecond)) // from here to the roll are a few appends
	for j.Stats().Rolls == 0 {
		if _, err := j.Append(make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	s := j.Stats()
	if s.Stalls != 1 || s.StallTime <= 0 {
		t.Errorf("no segment was ready: %d stalls of %v", s.Stalls, s.StallTime)
	}
}
