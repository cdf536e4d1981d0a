package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShared: only a file system without locks is one where nobody has a file to himself.
func TestShared(t *testing.T) {
	for _, c := range []struct {
		err    unix.Errno
		shared bool
		fails  bool
	}{
		{unix.EOPNOTSUPP, true, false},
		{unix.ENOSYS, true, false},
		{unix.EINVAL, true, false},
		{unix.EWOULDBLOCK, false, false},
		{unix.ENOLCK, false, true},
		{unix.ENOMEM, false, true},
		{unix.EIO, false, true},
	} {
		ok, err := shared(c.err)
		if ok != c.shared || (err != nil) != c.fails || c.fails && !errors.Is(err, c.err) {
			t.Errorf("%v: shared %v, error %v", c.err, ok, err)
		}
	}
}

// TestOpenLocked: a file that the writer has taken away from its name, to write over it, does not
// exist under it, whatever has the name now; one that somebody has locked where it is does.
func TestOpenLocked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName(1))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(opened.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	id := inodeOf(&st)
	d, err := OpenDir(dir, DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	foreign, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if err := flock(foreign, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	try := func(what string, want, not error) {
		t.Helper()
		if err := d.share(opened, FileName(1), id); !errors.Is(err, want) || errors.Is(err, not) {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("in its place", ErrFileLocked, fs.ErrNotExist)
	if err := os.Rename(path, path+TempSuffix); err != nil {
		t.Fatal(err)
	}
	try("renamed", fs.ErrNotExist, ErrFileLocked)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	try("replaced", fs.ErrNotExist, ErrFileLocked)
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	try("unlocked, but replaced", fs.ErrNotExist, ErrFileLocked)
	if err := os.Rename(path+TempSuffix, path); err != nil {
		t.Fatal(err)
	}
	try("unlocked", nil, ErrFileLocked)
}
