//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Directory is an open directory of the operating system; there is none on this one.
type Directory struct{ FS }

// OpenDir opens the directory at path.
func OpenDir(string, DirOptions) (*Directory, error) {
	return nil, fmt.Errorf("files on this system: %w", errors.ErrUnsupported)
}

// Path returns the path that the directory was opened by.
func (d *Directory) Path() string { return "" }

// Lock takes the writer's lock.
func (d *Directory) Lock() error { return errors.ErrUnsupported }

// Close gives up the lock and the descriptor.
func (d *Directory) Close() error { return nil }

func (d *Directory) links(string, uint64) (n int, known bool) { return 0, false }

func links(f *os.File) (n int, ino uint64, err error) {
	return 0, 0, &fs.PathError{Op: "stat", Path: f.Name(), Err: errors.ErrUnsupported}
}
