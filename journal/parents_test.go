package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// above returns the directories above dir, the nearest first.
func above(dir string) (all []string) {
	for filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		all = append(all, dir)
	}
	return all
}

// TestSyncParents: Open syncs every directory above that of a new journal. It goes past those that
// cannot be synced at all, or may not be read; a disk that fails makes it fail.
func TestSyncParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "journal")
	for _, c := range []struct {
		err   error
		fails bool
	}{
		{nil, false},
		{syscall.EINVAL, false},
		{syscall.ENOTSUP, false},
		{syscall.EOPNOTSUPP, false},
		{syscall.ENOSYS, false},
		{errors.ErrUnsupported, false},
		{syscall.EACCES, false},
		{syscall.EPERM, false},
		{syscall.EIO, true},
		{syscall.ENOSPC, true},
		{syscall.ENOENT, true},
	} {
		for at, bad := range above(dir) {
			t.Run(fmt.Sprintf("%v at %d", c.err, at), func(t *testing.T) {
				var synced []string
				err := journal.SyncParents(dir, func(d string) error {
					synced = append(synced, d)
					if d != bad || c.err == nil {
						return nil
					}
					// As of an *os.File that a sync and a close have failed on.
					return errors.Join(&os.PathError{Op: "sync", Path: d, Err: c.err}, nil)
				})
				if c.fails != (err != nil) || c.fails && !errors.Is(err, c.err) {
					t.Errorf("%v, want it to fail: %v", err, c.fails)
				}
				want := above(dir)
				if c.fails {
					want = want[:at+1]
				}
				if !slices.Equal(synced, want) {
					t.Errorf("synced %q, want %q", synced, want)
				}
			})
		}
	}
}

// TestSyncParentsOnce: where there is a journal, the names above it are durable.
func TestSyncParentsOnce(t *testing.T) {
	dir := t.TempDir()
	never := func(d string) error { return fmt.Errorf("%s is synced", d) }
	if err := journal.SyncParents(dir, never); err == nil {
		t.Error("nothing is synced above a directory without a journal")
	}
	mustClose(t, mustOpen(t, dir, nil))
	if err := journal.SyncParents(dir, never); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, segment.JournalName)); err != nil {
		t.Fatal(err)
	}
	if err := journal.SyncParents(dir, never); err == nil {
		t.Error("nothing is synced above a directory whose file JOURNAL is gone")
	}
}

// TestSyncParentsOfRelativePath: a relative path has directories above it, too.
func TestSyncParentsOfRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	err = journal.SyncParents("journal", func(d string) error {
		synced = append(synced, d)
		return nil
	})
	if want := append([]string{wd}, above(wd)...); err != nil || !slices.Equal(synced, want) {
		t.Errorf("synced %q, %v; want %q", synced, err, want)
	}
}
