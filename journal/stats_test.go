package journal_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"

	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/segment"
)

// gatedFS reserves space when its gate is open.
type gatedFS struct {
	segment.FS
	gate *sync.RWMutex
}

func (f gatedFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	file, err := f.FS.Open(path, mode)
	return gatedFile{file, f.gate}, err
}

type gatedFile struct {
	segment.File
	gate *sync.RWMutex
}

func (f gatedFile) Allocate(size int64) error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.Allocate(size)
}

// TestStalls: Stats says how often and how long appends waited for a segment, and only then.
func TestStalls(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	fsys := gatedFS{segment.NewHeapFS(), new(sync.RWMutex)}
	j, err := journal.OpenFSBackground(fsys, "/j", &journal.Options{
		SegmentSize: 8192, Durability: journal.Published,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for j.Stats().Prepared == 0 { // Open begins to
		runtime.Gosched()
	}
	fsys.gate.Lock() // no other segment is prepared from now on
	if _, err := j.Append(nil); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Stalls != 0 || s.StallTime != 0 {
		t.Errorf("a segment was ready: %d stalls of %v", s.Stalls, s.StallTime)
	}
	rolled := make(chan error)
	go func() {
		var err error
		for range 3 { // more than a segment holds, less than two do
			if err == nil {
				_, err = j.Append(make([]byte, 1500))
			}
		}
		rolled <- err
	}()
	stacks := make([]byte, 64<<20) // other tests leave goroutines behind
	wait.Until(t, "the append that rolls waits for a segment", func() bool {
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*factory).waitLocked("))
	})
	fsys.gate.Unlock()
	if err := <-rolled; err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Stalls != 1 || s.StallTime <= 0 {
		t.Errorf("one segment was not ready: %d stalls of %v", s.Stalls, s.StallTime)
	}
}
