package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

// fullFS is a file system that is full on demand: no new file can be created.
type fullFS struct {
	segment.FS
	full *atomic.Bool
}

func (f fullFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	if mode == segment.Create && f.full.Load() {
		return nil, syscall.ENOSPC
	}
	return f.FS.Open(path, mode)
}

// copyFS is a full file system on which a write in place needs space, as on btrfs: JOURNAL cannot
// stand in for a segment.
type copyFS struct{ fullFS }

func (f copyFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	file, err := f.fullFS.Open(path, mode)
	if err == nil && strings.HasPrefix(filepath.Base(path), segment.JournalName) {
		file = copyFile{file, f.full}
	}
	return file, err
}

type copyFile struct {
	segment.File
	full *atomic.Bool
}

func (f copyFile) WriteAt(p []byte, off int64) (int, error) {
	if f.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, off)
}

// stagedJournal returns a journal that prepares segments when they are needed, and syncs on demand.
func stagedJournal(t *testing.T, fsys segment.FS, dir string, spares int) *Journal {
	t.Helper()
	j, err := OpenFS(fsys, dir, &Options{SegmentSize: MinSegmentSize, Spares: spares})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// stageRecord appends without waiting for the sync.
func stageRecord(t *testing.T, j *Journal, n int) Seq {
	t.Helper()
	if err := Stage(j, bytes.Repeat([]byte{byte(n), 255}, n/2)); err != nil {
		t.Fatal(err)
	}
	return j.mu.writer.Next() - 1
}

// untilRecycled appends and truncates until the newest segment is a recycled one, if it is to be.
func untilRecycled(t *testing.T, j *Journal, recycled bool) {
	t.Helper()
	for ok := false; !ok; ok = newest(j).Recycled == recycled {
		for range 5 {
			if _, err := j.Append(make([]byte, 4000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.TruncateFront(j.Last()); err != nil {
			t.Fatal(err)
		}
	}
}

// canRecycle: only on Linux is it known who uses a file.
const canRecycle = runtime.GOOS == "linux"

// onBothKinds tests a journal of which the newest segment is a new file, and one of which it is
// written over an old one.
func onBothKinds(t *testing.T, test func(t *testing.T, j *Journal)) {
	for _, recycled := range []bool{false, true} {
		t.Run(fmt.Sprint("recycled ", recycled), func(t *testing.T) {
			if recycled && !canRecycle {
				t.Skip("nothing is recycled here")
			}
			dir := t.TempDir()
			j := stagedJournal(t, testutil.OpenDir(t, dir), dir, 2)
			untilRecycled(t, j, recycled)
			test(t, j)
		})
	}
}

// TestRoomBehindGroups: on a full disk, behind the last record that fits, whatever its size, there
// is room for what a truncation at the front and a close have to say, also where JOURNAL cannot say
// it.
func TestRoomBehindGroups(t *testing.T) {
	ends := map[string]func(*Journal) error{
		"TruncateFront": func(j *Journal) error { return j.TruncateFront(j.Last() - 2) },
		"Close":         (*Journal).Close,
	}
	for _, spares := range []int{0, 2} {
		for name, end := range ends {
			for size := 8; size < 400; size += 8 {
				full := &atomic.Bool{}
				fsys := copyFS{fullFS{segment.NewHeapFS(), full}}
				j := stagedJournal(t, fsys, "x", spares)
				untilRecycled(t, j, spares > 0)
				full.Store(true)
				var err error
				for err == nil {
					_, err = j.Append(make([]byte, size))
				}
				if !errors.Is(err, ErrNoSpace) {
					t.Fatal(err)
				}
				if err := end(j); err != nil {
					t.Errorf("%d spares, records of %d bytes: %s: %v", spares, size, name, err)
				}
				full.Store(false)
				j.Close()
			}
		}
	}
}

// TestRoomBehindWholeSegment: the same behind a record that fills a segment by itself, in one that
// is not recycled.
func TestRoomBehindWholeSegment(t *testing.T) {
	ends := map[string]func(*Journal) error{
		"TruncateFront": func(j *Journal) error { return j.TruncateFront(j.Last()) },
		"Close":         (*Journal).Close,
	}
	for name, end := range ends {
		full := &atomic.Bool{}
		j := stagedJournal(t, fullFS{segment.NewHeapFS(), full}, "x", 0)
		for range 3 {
			if _, err := j.Append(make([]byte, segment.MaxRecord(MinSegmentSize))); err != nil {
				t.Fatal(err)
			}
		}
		full.Store(true)
		if err := end(j); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		full.Store(false)
		j.Close()
	}
}

// TestCutUnderneath: what was moved into a file that somebody then cuts is not acknowledged, though
// the group behind it reaches the end of the file.
func TestCutUnderneath(t *testing.T) {
	onBothKinds(t, func(t *testing.T, j *Journal) {
		seg := newest(j)
		for range 5 {
			stageRecord(t, j, 8900)
		}
		lost := stageRecord(t, j, 100)
		if err := j.moveStaged(); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(seg.Path(), 20000); err != nil {
			t.Fatal(err)
		}
		for newest(j) == seg && j.failed() == nil {
			_ = Stage(j, make([]byte, 1000))
		}
		if err := j.waitDurable(t.Context(), lost); err == nil {
			t.Error("acknowledged")
		}
		if err := j.Close(); err == nil {
			t.Error("closed without an error")
		}
	})
}

// TestTailOfRolledGroup: where the beginning of a group is lost that went on in the next segment,
// the report says how much of this segment that is.
func TestTailOfRolledGroup(t *testing.T) {
	onBothKinds(t, func(t *testing.T, j *Journal) {
		for j.mu.writer.Fits(12000, false) {
			if _, err := j.Append(make([]byte, 4000)); err != nil {
				t.Fatal(err)
			}
		}
		seg, from := newest(j), j.mu.writer.Position().Offset
		for newest(j) == seg {
			stageRecord(t, j, 100)
		}
		if err := j.waitDurable(t.Context(), j.mu.writer.Next()-1); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(j.dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(seg.Path()))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := (from+511)&^511 + 512
		clear(b[at : at+512])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := OpenReadOnly(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		tail := k.Report().Tail
		if least := int64(seg.End()-at) - 1024; tail == nil || tail.Bytes < least {
			t.Errorf("tail %+v, want %d bytes at least", tail, least)
		}
		k.Close()
		j.Close()
	})
}
