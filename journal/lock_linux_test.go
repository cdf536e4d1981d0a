package journal_test

import (
	"errors"
	"fmt"
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

// TestLockLost: LOCK is removed or replaced under an open journal. Nobody else can open it, and it
// goes on, with a LOCK of its own again.
func TestLockLost(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"a file moved over it": func(path string) error {
			return errors.Join(os.WriteFile(path+".tmp", nil, 0o600), os.Rename(path+".tmp", path))
		},
	} {
		for _, level := range levels {
			t.Run(name+", "+level.String(), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, segment.LockName)
				o := &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: level}
				j := mustOpen(t, dir, o)
				mustAppend(t, j, []byte("a"))
				run(t, j.Sync(t.Context()), lose(path))
				second := func() {
					t.Helper()
					if _, err := journal.Open(dir, o); !errors.Is(err, journal.ErrLocked) {
						t.Errorf("a second Open: %v", err)
					}
				}
				second()
				mustAppend(t, j, []byte("b"))
				run(t, j.Sync(t.Context()))
				if b, err := os.ReadFile(path); string(b) != fmt.Sprintln(os.Getpid()) {
					t.Errorf("after a sync LOCK holds %q, %v", b, err)
				}
				second()
				mustClose(t, j)
				j = mustOpen(t, dir, o)
				expect(t, j, 1, "a", "b")
				mustClose(t, j)
			})
		}
	}
}

// TestLockTaken: another writer has LOCK. The journal acknowledges nothing any more.
func TestLockTaken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, segment.LockName)
	j := mustOpen(t, dir, nil)
	mustAppend(t, j, []byte("a"))
	run(t, os.Remove(path))
	f, err := os.Create(path)
	run(t, err)
	defer f.Close()
	run(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	_, err = j.Append([]byte("b"))
	isReplaced(t, "Append", err)
	isReplaced(t, "Close", j.Close())
}

// TestLockCopied: a copy by hard links of the directory of an open journal is not locked by it.
func TestLockCopied(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	j := mustOpen(t, dir, nil)
	mustAppend(t, j, []byte("a"))
	list, err := os.ReadDir(dir)
	run(t, err)
	for _, e := range list {
		run(t, os.Link(filepath.Join(dir, e.Name()), filepath.Join(copied, e.Name())))
	}
	c := mustOpen(t, copied, nil)
	mustAppend(t, c, []byte("b"))
	mustAppend(t, j, []byte("c"))
	for _, dir := range []string{dir, copied} {
		if _, err := journal.Open(dir, nil); !errors.Is(err, journal.ErrLocked) {
			t.Errorf("a second Open: %v", err)
		}
	}
	expect(t, c, 1, "a", "b")
	expect(t, j, 1, "a", "c")
	mustClose(t, c)
	mustClose(t, j)
}
