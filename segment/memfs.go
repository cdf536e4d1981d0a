package segment

import (
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// NewMemFS returns a file system that keeps its files in anonymous memory, outside the Go heap. The
// files end with the process, and syncs do nothing. A file's memory is freed when its name and its
// last mapping are gone.
func NewMemFS() FS { return &memFS{alloc: mapAnonymous, files: map[string]*memFile{}} }

// NewHeapFS is like NewMemFS, but on the Go heap, because the race detector sees only memory there.
func NewHeapFS() FS { return &memFS{alloc: mapHeap, files: map[string]*memFile{}} }

// mapHeap allocates 16 bytes or more: only then are they 8-aligned in any case.
func mapHeap(size int64) (*Mapping, error) {
	return NewMapping(make([]byte, max(size, 16))[:size:size], nil, nil), nil
}

type memFS struct {
	alloc func(size int64) (*Mapping, error)
	mu    sync.Mutex
	files map[string]*memFile
}

// memFile is a file's bytes and who still needs them.
type memFile struct {
	mu   sync.Mutex
	m    *Mapping // nil while the file is empty
	refs int      // the name, and each mapping and open handle
	gone bool     // it has no name any more
	sole bool     // the only handle has it to itself
}

func (f *memFile) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs++
}

// open is hold for a handle. It returns false if another one has the file to itself.
func (f *memFile) open() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sole {
		return false
	}
	f.refs++
	return true
}

// unname is drop for the name.
func (f *memFile) unname() error {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	return f.drop()
}

func (f *memFile) drop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs--; f.refs > 0 || f.m == nil {
		return nil
	}
	m := f.m
	f.m = nil
	return m.Close()
}

func pathErr(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func (m *memFS) Check() error         { return nil }
func (m *memFS) SyncDir(string) error { return nil }

func (m *memFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []fs.DirEntry
	for path := range m.files {
		if filepath.Dir(path) == filepath.Clean(dir) {
			list = append(list, memEntry{filepath.Base(path)})
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

func (m *memFS) Open(path string, mode OpenMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	switch {
	case mode == Create && f != nil:
		return nil, pathErr("open", path, fs.ErrExist)
	case mode == Create:
		f = &memFile{refs: 1}
		m.files[path] = f
	case f == nil:
		return nil, pathErr("open", path, fs.ErrNotExist)
	}
	if !f.open() {
		return nil, pathErr("open", path, ErrFileLocked)
	}
	return &memHandle{f, m.alloc}, nil
}

func (m *memFS) Rename(oldPath, newPath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[oldPath]
	if f == nil {
		return pathErr("rename", oldPath, fs.ErrNotExist)
	}
	delete(m.files, oldPath)
	replaced := m.files[newPath]
	m.files[newPath] = f
	if replaced != nil {
		return replaced.unname()
	}
	return nil
}

func (m *memFS) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	if f == nil {
		return pathErr("remove", path, fs.ErrNotExist)
	}
	delete(m.files, path)
	return f.unname()
}

// memHandle is an open memFile.
type memHandle struct {
	f     *memFile
	alloc func(size int64) (*Mapping, error)
}

// bytes returns the file's content; the file's lock guards its replacement, not its bytes.
func (h *memHandle) bytes() []byte {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.f.m == nil {
		return nil
	}
	return h.f.m.b
}

func (h *memHandle) Size() (int64, error)   { return int64(len(h.bytes())), nil }
func (h *memHandle) Allocate(int64) error   { return nil }
func (h *memHandle) Sync() error            { return nil }
func (h *memHandle) Datasync() error        { return nil }
func (h *memHandle) Truncate(n int64) error { return h.resize(n) }

// Sole: the name and this handle are all that holds the file.
func (h *memHandle) Sole() bool {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.f.sole = !h.f.gone && h.f.refs == 2
	return h.f.sole
}

func (h *memHandle) Close() error {
	h.f.mu.Lock()
	h.f.sole = false
	h.f.mu.Unlock()
	return h.f.drop()
}

func (h *memHandle) DatasyncRange(*Mapping, Offset, Offset) error { return nil }

func (h *memHandle) Zero(int64, int64) (done bool) { return false }

// Touch implements File: there are no times.
func (h *memHandle) Touch([]byte, int64, bool) error { return nil }

func (h *memHandle) Uncache()       {}
func (h *memHandle) SetPath(string) {}

// Links implements File: a file has one name, or none.
func (h *memHandle) Links() (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.f.gone {
		return 0, nil
	}
	return 1, nil
}

func (h *memHandle) NextData(off int64) (from, to int64) { return off, int64(len(h.bytes())) }

func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	b := h.bytes()
	if len(p) > 0 && off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[min(off, int64(len(b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(h.bytes())) {
		if err := h.resize(end); err != nil {
			return 0, err
		}
	}
	return copy(h.bytes()[off:], p), nil
}

// resize gives the file new bytes; it must not be mapped yet.
func (h *memHandle) resize(n int64) error {
	var m *Mapping
	if n > 0 {
		var err error
		if m, err = h.alloc(n); err != nil {
			return err
		}
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	old := h.f.m
	h.f.m = m
	if old == nil {
		return nil
	}
	if m != nil {
		copy(m.b, old.b)
	}
	return old.Close()
}

func (h *memHandle) Map(size int64, _ OpenMode) (*Mapping, error) {
	b := h.bytes()
	if size > int64(len(b)) {
		return nil, pathErr("map", "memory", fs.ErrInvalid)
	}
	h.f.hold()
	return NewMapping(b[:size:size], h.f.drop, nil), nil
}

// memEntry is a name in a directory.
type memEntry struct{ name string }

func (e memEntry) Name() string               { return e.name }
func (e memEntry) IsDir() bool                { return false }
func (e memEntry) Type() fs.FileMode          { return 0 }
func (e memEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e memEntry) Size() int64                { return 0 }
func (e memEntry) Mode() fs.FileMode          { return 0 }
func (e memEntry) ModTime() time.Time         { return time.Time{} }
func (e memEntry) Sys() any                   { return nil }
