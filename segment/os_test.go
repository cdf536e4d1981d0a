//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOSModes: others have no access to what is created.
func TestOSModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := CreateDir(dir); err != nil {
		t.Fatal(err)
	}
	writeFile(t, OS, filepath.Join(dir, "f"), nil)
	for path, want := range map[string]fs.FileMode{
		dir:                     0o700 | fs.ModeDir,
		filepath.Dir(dir):       0o700 | fs.ModeDir,
		filepath.Join(dir, "f"): 0o600,
	} {
		fi, err := os.Stat(path)
		if err != nil || fi.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, fi.Mode(), err, want)
		}
	}
}

// TestOSErrors: what cannot be done is an error that says what and where.
func TestOSErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	writeFile(t, OS, file, nil)
	var pe *fs.PathError
	if err := CreateDir(file); !errors.As(err, &pe) || pe.Path != file {
		t.Errorf("a directory where a file is: %v", err)
	}
	if err := CreateDir(filepath.Join(file, "x")); !errors.As(err, &pe) {
		t.Errorf("a directory in a file: %v", err)
	}
	if err := OS.SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of no directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo} {
		for _, mode := range []OpenMode{ReadOnly, ReadWrite} {
			if _, err := OS.Open(path, mode); !errors.As(err, &pe) || pe.Path != path {
				t.Errorf("open of %s, which is no file: %v", path, err)
			}
		}
	}
	if _, err := OS.ReadDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list of no directory: %v", err)
	}
	f, err := OS.Open(file, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Datasync": f.Datasync(), "Sync": f.Sync(), "Allocate": f.Allocate(8192), "Close": f.Close(),
	} {
		if err == nil {
			t.Errorf("%s of a closed file gives no error", name)
		}
	}
	if _, err := f.Size(); err == nil {
		t.Error("Size of a closed file gives no error")
	}
}
