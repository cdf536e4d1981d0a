package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

// spareFile makes a file that the factory may write over.
func spareFile(t *testing.T, dir string, ordinal uint64) string {
	t.Helper()
	path := filepath.Join(dir, segment.FileName(ordinal)+segment.TempSuffix)
	if err := os.WriteFile(path, make([]byte, MinSegmentSize), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// renameFS tells of each rename before it happens.
type renameFS struct {
	segment.FS
	renames func()
}

func (r *renameFS) Rename(from, to string) error {
	r.renames()
	return r.FS.Rename(from, to)
}

// TestSparesAreBounded: however many segments are dropped while a file is being written over, no
// more files are kept than were asked for.
func TestSparesAreBounded(t *testing.T) {
	const most = 2
	dir := t.TempDir()
	fsys := &renameFS{FS: testutil.OpenDir(t, dir)}
	f := newFactory(fsys, dir, MinSegmentSize, noFolio, false)
	f.spares = most
	f.begin(segment.NewID(), 100, 0)
	n := uint64(0)
	drop := func() {
		for f.room() > 0 {
			n++
			f.keep(spareFile(t, dir, n))
		}
	}
	drop()
	fsys.renames = drop
	for range 3 {
		seg, _, err := f.take(0, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := seg.Drop(); err != nil {
			t.Fatal(err)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*"+segment.TempSuffix)); len(files) > most {
			t.Fatalf("%d spare files: %q", len(files), files)
		}
	}
}

// TestUnusableSpare: a spare file that cannot be written over is gone, the log says so, and the
// next one is taken.
func TestUnusableSpare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux is it known who uses a file")
	}
	dir := t.TempDir()
	core, logs := observer.New(zap.DebugLevel)
	f := newFactory(testutil.OpenDir(t, dir), dir, MinSegmentSize, noFolio, false)
	f.log = zap.New(core)
	f.begin(segment.NewID(), 100, 0)
	gone, cut, good := spareFile(t, dir, 1), spareFile(t, dir, 2), spareFile(t, dir, 3)
	if err := errors.Join(os.Remove(gone), os.Truncate(cut, 4096)); err != nil {
		t.Fatal(err)
	}
	f.keep(gone, cut, good)
	seg, _, err := f.take(0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Drop()
	if !seg.Recycled {
		t.Error("the good one is not used")
	}
	if _, err := os.Stat(cut); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the one that was cut: %v", err)
	}
	warned := logs.FilterLevelExact(zap.WarnLevel).Len()
	if all := logs.Len(); warned != 1 || all != 2 {
		t.Errorf("%d warnings in %d lines, want 1 in 2", warned, all)
	}
}

// noDirSync is a file system whose directories cannot be synced, for a reason.
type noDirSync struct {
	segment.FS
	err error
}

func (n noDirSync) SyncDir(string) error { return n.err }

// TestNothingIsKeptUnsynced: files whose temporary names may not be durable are neither kept nor
// left behind.
func TestNothingIsKeptUnsynced(t *testing.T) {
	for _, cause := range []error{syscall.EMFILE, syscall.EIO} {
		dir := t.TempDir()
		garbage := []uint64{1, 2, 3}
		for _, o := range garbage {
			path := filepath.Join(dir, segment.FileName(o))
			if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := names{fsys: noDirSync{testutil.OpenDir(t, dir), cause}, dir: dir}
		kept, err := n.remove(2, garbage...)
		if len(kept) > 0 || !errors.Is(err, cause) ||
			errors.Is(err, segment.ErrUnnamed) != errors.Is(cause, syscall.EIO) {
			t.Errorf("%v: kept %q, error %v", cause, kept, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v: left: %v, %v", cause, left, err)
		}
	}
}

// TestCloseWithoutSpares: somebody may clean up spare files while the journal is open.
func TestCloseWithoutSpares(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, &Options{SegmentSize: MinSegmentSize, Spares: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := j.Append(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.TruncateFront(j.Last()); err != nil {
		t.Fatal(err)
	}
	temps, _ := filepath.Glob(filepath.Join(dir, "*"+segment.TempSuffix))
	if len(temps) == 0 {
		t.Fatal("no file is spare")
	}
	for _, path := range temps {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
