package segment

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// OS opens the directory of each path anew: tests need not say which one they are in.
var OS FS = pathFS{}

type pathFS struct{}

// in runs f on the directory at dir.
func in[T any](dir string, f func(*Directory) (T, error)) (v T, err error) {
	d, err := OpenDir(dir, DirOptions{})
	if err != nil {
		return v, err
	}
	v, err = f(d)
	return v, errors.Join(err, d.Close())
}

func (pathFS) Check() error { return nil }

func (pathFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	return in(dir, func(d *Directory) ([]fs.DirEntry, error) { return d.ReadDir(dir) })
}

func (pathFS) Open(path string, mode OpenMode) (File, error) {
	return in(filepath.Dir(path), func(d *Directory) (File, error) { return d.Open(path, mode) })
}

func (pathFS) Rename(oldPath, newPath string) error {
	_, err := in(filepath.Dir(oldPath), func(d *Directory) (any, error) {
		return nil, d.Rename(oldPath, newPath)
	})
	return err
}

func (pathFS) Remove(path string) error {
	_, err := in(filepath.Dir(path), func(d *Directory) (any, error) { return nil, d.Remove(path) })
	return err
}

func (pathFS) SyncDir(dir string) error {
	_, err := in(dir, func(d *Directory) (any, error) { return nil, d.SyncDir(dir) })
	return err
}
