package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// TestFileLockedByOthers: a lock that somebody else has on a segment's file, such as a backup, does
// not look like a journal that is not there.
func TestFileLockedByOthers(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, nil)
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
	f, err := os.Open(filepath.Join(dir, segment.FileName(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(string, *journal.Options) (*journal.Journal, error){
		"Open": journal.Open, "OpenReadOnly": journal.OpenReadOnly,
	} {
		_, err := open(dir, nil)
		if !errors.Is(err, journal.ErrFileLocked) || errors.Is(err, fs.ErrNotExist) ||
			errors.Is(err, journal.ErrNotExist) || errors.Is(err, journal.ErrMoving) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, nil))
}
