package journal_test

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"mmjournal/segment"
)

// copyFS is a [segment.FS] over files that many of them share: a file's bytes are copied when it is
// first opened for writing. It is for one goroutine, and for looking at the same files tens of
// thousands of times with one small change each. Whoever has a file mapped for reading does not see
// what is written later.
type copyFS struct {
	files map[string]*copyFile // by path
	ops   int                  // operations so far: what makes them must be bounded
	moved bool                 // a name has come, gone or changed
}

// copyFile is one file; own says that its bytes are nobody else's.
type copyFile struct {
	b   []byte
	own bool
}

// newCopyFS returns a file system with these files, whose bytes it never changes.
func newCopyFS(files map[string][]byte) *copyFS {
	c := &copyFS{files: make(map[string]*copyFile, len(files)+1)}
	for path, b := range files {
		c.files[path] = &copyFile{b: b}
	}
	return c
}

// changed returns which files differ from those given, "" if none does.
func (c *copyFS) changed(files map[string][]byte) string {
	if !c.moved && !c.written() {
		return ""
	}
	return diffFiles(files, c.bytes())
}

func (c *copyFS) written() bool {
	for _, f := range c.files {
		if f.own {
			return true
		}
	}
	return false
}

// bytes returns the files as they are; they must not be changed.
func (c *copyFS) bytes() map[string][]byte {
	files := make(map[string][]byte, len(c.files))
	for path, f := range c.files {
		files[path] = f.b
	}
	return files
}

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Check implements [segment.FS].
func (c *copyFS) Check() error { return nil }

// SyncDir implements [segment.FS].
func (c *copyFS) SyncDir(string) error { c.ops++; return nil }

// ReadDir implements [segment.FS].
func (c *copyFS) ReadDir(dir string) (list []fs.DirEntry, err error) {
	c.ops++
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		if filepath.Dir(path) == dir {
			list = append(list, fs.FileInfoToDirEntry(copyInfo{path: path}))
		}
	}
	return list, nil
}

// Open implements [segment.FS].
func (c *copyFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	c.ops++
	f := c.files[path]
	switch {
	case mode == segment.Create && f != nil:
		return nil, pathError("open", path, fs.ErrExist)
	case mode == segment.Create:
		f = &copyFile{own: true}
		c.files[path] = f
		c.moved = true
	case f == nil:
		return nil, pathError("open", path, fs.ErrNotExist)
	case mode == segment.ReadWrite && !f.own:
		f.b, f.own = bytes.Clone(f.b), true
	}
	return &copyHandle{c, f}, nil
}

// Rename implements [segment.FS].
func (c *copyFS) Rename(oldPath, newPath string) error {
	c.ops++
	f := c.files[oldPath]
	if f == nil {
		return pathError("rename", oldPath, fs.ErrNotExist)
	}
	delete(c.files, oldPath)
	c.files[newPath] = f
	c.moved = true
	return nil
}

// Remove implements [segment.FS].
func (c *copyFS) Remove(path string) error {
	c.ops++
	if c.files[path] == nil {
		return pathError("remove", path, fs.ErrNotExist)
	}
	delete(c.files, path)
	c.moved = true
	return nil
}

// Sole implements [segment.File].
func (h *copyHandle) Sole() bool { return true }

// copyHandle is an open file.
type copyHandle struct {
	c *copyFS
	f *copyFile
}

func (h *copyHandle) Size() (int64, error) { h.c.ops++; return int64(len(h.f.b)), nil }
func (h *copyHandle) Allocate(int64) error { h.c.ops++; return nil }
func (h *copyHandle) Sync() error          { h.c.ops++; return nil }
func (h *copyHandle) Datasync() error      { h.c.ops++; return nil }
func (h *copyHandle) Close() error         { h.c.ops++; return nil }

func (h *copyHandle) DatasyncRange(*segment.Mapping, segment.Offset, segment.Offset) error {
	return h.Datasync()
}

func (h *copyHandle) Touch([]byte, int64, bool) error { h.c.ops++; return nil }

func (h *copyHandle) Uncache()            {}
func (h *copyHandle) SetPath(string)      {}
func (h *copyHandle) Links() (int, error) { return 1, nil }

func (h *copyHandle) Zero(int64, int64) (done bool) { return false }

func (h *copyHandle) NextData(off int64) (from, to int64) {
	h.c.ops++
	return off, int64(len(h.f.b))
}

func (h *copyHandle) ReadAt(p []byte, off int64) (int, error) {
	h.c.ops++
	n := copy(p, h.f.b[min(off, int64(len(h.f.b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *copyHandle) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(h.f.b)) {
		if err := h.Truncate(end); err != nil {
			return 0, err
		}
	}
	h.c.ops++
	return copy(h.f.b[off:], p), nil
}

func (h *copyHandle) Truncate(n int64) error {
	h.c.ops++
	b := make([]byte, n)
	copy(b, h.f.b)
	h.f.b = b
	return nil
}

func (h *copyHandle) Map(size int64, _ segment.OpenMode) (*segment.Mapping, error) {
	h.c.ops++
	if size > int64(len(h.f.b)) {
		return nil, pathError("map", "memory", fs.ErrInvalid)
	}
	return segment.NewMapping(h.f.b[:size:size], nil, nil), nil
}

// copyInfo is a name in a directory.
type copyInfo struct {
	fs.FileInfo
	path string
}

func (e copyInfo) Name() string      { return filepath.Base(e.path) }
func (e copyInfo) IsDir() bool       { return false }
func (e copyInfo) Mode() fs.FileMode { return 0 }
