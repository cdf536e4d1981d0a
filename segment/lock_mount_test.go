//go:build linux

package segment

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/internal/testutil/nobody"
)

// mountTmpfs mounts a tmpfs until the end of the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("needs to mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestLockNoSpace: a disk that has no room for LOCK keeps nobody from opening the journal: the
// directory is locked. When there is room, LOCK is made.
func TestLockNoSpace(t *testing.T) {
	dir := mountTmpfs(t, "nr_inodes=10")
	fill := func() (files []string) {
		for i := 0; ; i++ {
			path := filepath.Join(dir, "x"+strconv.Itoa(i))
			if err := os.WriteFile(path, nil, 0o600); errors.Is(err, unix.ENOSPC) {
				return files
			} else if err != nil {
				t.Fatal(err)
			}
			files = append(files, path)
		}
	}
	path := filepath.Join(dir, LockName)
	files := fill()
	d, warnings := lockedDirectory(t, dir)
	for range 2 {
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0], "no space") {
		t.Errorf("warnings %q", *warnings)
	}
	second, _ := openDirectory(t, dir, DirOptions{})
	if err := second.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	if err := errors.Join(os.Remove(files[0]), d.Check()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	before := openDescriptors(t)
	if err := os.Remove(path); err != nil { // and none any more
		t.Fatal(err)
	}
	fill()
	for range 2 {
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if n := openDescriptors(t); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	// Another writer, on a machine that does not see the directory's lock.
	if err := os.Rename(files[1], path); err != nil {
		t.Fatal(err)
	}
	lockFile(t, path, unix.LOCK_EX)
	if err := d.Check(); !errors.Is(err, ErrReplaced) {
		t.Errorf("another writer has LOCK: %v", err)
	}
}

// TestLockLocal: where other machines do not see the lock on the directory, one that is held alone
// is none.
func TestLockLocal(t *testing.T) {
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	kind := uint32(st.Type)
	if localLocks[kind] {
		t.Skipf("the file system of %s is such a one", dir)
	}
	localLocks[kind] = true
	defer delete(localLocks, kind)
	d, _ := lockedDirectory(t, dir)
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, LockName)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Check(); !errors.Is(err, ErrReplaced) {
			t.Errorf("LOCK was removed: %v", err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, LockName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("LOCK is made again: %v", err)
	}
}

// TestLockUnreadable: a directory without permission says nothing about LOCK.
func TestLockUnreadable(t *testing.T) {
	if nobody.Demote(t) { // root needs no permission
		return
	}
	for _, local := range []bool{false, true} {
		dir := t.TempDir()
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		kind := uint32(st.Type)
		defer func(old bool) { localLocks[kind] = old }(localLocks[kind])
		localLocks[kind] = local
		d, warnings := lockedDirectory(t, dir)
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Errorf("local %v, without permission: %v", local, err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Errorf("local %v, with permission again: %v", local, err)
		}
		if len(*warnings) > 0 {
			t.Errorf("local %v: warnings %q", local, *warnings)
		}
	}
}
