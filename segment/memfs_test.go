package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFileSystem is the contract of FS, for the two implementations alike.
func TestFileSystem(t *testing.T) {
	for _, c := range fileSystems {
		t.Run(c.name, func(t *testing.T) {
			fsys := c.fsys()
			dir := filepath.Join(t.TempDir(), "a", "b")
			path := filepath.Join(dir, "file")
			if err := c.mkdir(dir); err != nil {
				t.Fatal(err)
			}
			if err := c.mkdir(dir); err != nil {
				t.Errorf("it is there already: %v", err)
			}

			for _, mode := range []OpenMode{ReadOnly, ReadWrite} {
				if _, err := fsys.Open(path, mode); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Open(%d) of no file: %v", mode, err)
				}
			}
			if err := fsys.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Remove of no file: %v", err)
			}
			if err := fsys.Rename(path, path+"2"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Rename of no file: %v", err)
			}

			f, err := fsys.Open(path, Create)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fsys.Open(path, Create); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Create of a file that is there: %v", err)
			}
			checkFile(t, f)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if err := fsys.Rename(path, path+"2"); err != nil {
				t.Error(err)
			}
			writeFile(t, fsys, path, []byte("other"))
			if err := fsys.Rename(path, path+"2"); err != nil {
				t.Error(err)
			}
			if got := readFile(t, fsys, path+"2"); string(got) != "other" {
				t.Errorf("the renamed file holds %d bytes", len(got))
			}
			writeFile(t, fsys, filepath.Join(dir, "0"), nil)
			if got := names(t, fsys, dir); !slices.Equal(got, []string{"0", "file2"}) {
				t.Errorf("the directory holds %q", got)
			}
			if err := fsys.SyncDir(dir); err != nil {
				t.Error(err)
			}
			if err := fsys.Remove(path + "2"); err != nil {
				t.Error(err)
			}
			if got := names(t, fsys, dir); !slices.Equal(got, []string{"0"}) {
				t.Errorf("the directory holds %q", got)
			}
		})
	}
}

// checkFile is the contract of File for a new, empty file.
func checkFile(t *testing.T, f File) {
	t.Helper()
	size := func(want int64) {
		t.Helper()
		if n, err := f.Size(); n != want || err != nil {
			t.Errorf("size %d, %v, want %d", n, err, want)
		}
	}
	size(0)
	if n, err := f.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("read of an empty file: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("hello"), 3); n != 5 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	size(8)
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	size(8192)
	if err := f.Allocate(8192); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 0); n != 10 || err != nil || string(b) != "\x00\x00\x00hello\x00\x00" {
		t.Errorf("read: %d, %v, %q", n, err, b)
	}
	if n, err := f.ReadAt(b, 8190); n != 2 || err != io.EOF {
		t.Errorf("read across the end: %d, %v", n, err)
	}
	m, err := f.Map(8192, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	m.Bytes()[5] = 'L'
	if _, err := f.WriteAt([]byte("O"), 7); err != nil {
		t.Error(err)
	}
	if got := string(m.Bytes()[3:8]); got != "heLlO" {
		t.Errorf("the mapping holds %q", got)
	}
	if _, err := f.ReadAt(b[:5], 3); err != nil || string(b[:5]) != "heLlO" {
		t.Errorf("the file holds %q, %v", b[:5], err)
	}
	if err := errors.Join(f.Sync(), f.Datasync()); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Truncate(4096); err != nil {
		t.Error(err)
	}
	size(4096)
	if _, err := f.ReadAt(b[:5], 3); err != nil || string(b[:5]) != "heLlO" {
		t.Errorf("cut short, the file holds %q, %v", b[:5], err)
	}
}

// TestMapOutlivesClose: a mapping stays when its file is closed, and removed.
func TestMapOutlivesClose(t *testing.T) {
	for _, c := range fileSystems {
		t.Run(c.name, func(t *testing.T) {
			fsys, path := c.fsys(), filepath.Join(t.TempDir(), "f")
			writeFile(t, fsys, path, bytes.Repeat([]byte{7}, 4096))
			f, err := fsys.Open(path, ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			m, err := f.Map(4096, ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Close(), fsys.Remove(path)); err != nil {
				t.Error(err)
			}
			if m.Bytes()[4095] != 7 {
				t.Error("the bytes are gone")
			}
			if err := errors.Join(m.Close(), m.Close()); err != nil {
				t.Errorf("closed twice: %v", err)
			}
			if m.Bytes() != nil {
				t.Error("a closed mapping has bytes")
			}
		})
	}
}

// TestMemFSFrees: a file's memory is given back when its name, its handles and its mappings are
// gone, in whatever order, and no earlier.
func TestMemFSFrees(t *testing.T) {
	for _, order := range []string{"nhm", "nmh", "hnm", "hmn", "mnh", "mhn"} {
		t.Run(order, func(t *testing.T) {
			fsys := newMemFS(t)
			f, err := fsys.Open("d/f", Create)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(8192); err != nil {
				t.Fatal(err)
			}
			m, err := f.Map(8192, ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			file := fsys.files["d/f"]
			for _, what := range order {
				if file.m == nil || len(file.m.b) != 8192 {
					t.Fatalf("before %c is dropped the memory is gone", what)
				}
				var err error
				switch what {
				case 'n':
					err = fsys.Remove("d/f")
				case 'h':
					err = f.Close()
				case 'm':
					err = m.Close()
				}
				if err != nil {
					t.Error(err)
				}
			}
			if file.m != nil || file.refs != 0 {
				t.Errorf("the memory is still there, with %d references", file.refs)
			}
		})
	}
}

func newMemFS(t *testing.T) *memFS {
	t.Helper()
	m, ok := NewMemFS().(*memFS)
	if !ok {
		t.Fatal("NewMemFS makes something else")
	}
	return m
}

// TestHeapFSAligned: files of any size are 8-aligned.
func TestHeapFSAligned(t *testing.T) {
	fsys := NewHeapFS()
	for n := range 200 {
		writeFile(t, fsys, fmt.Sprintf("d/%d", n), make([]byte, n))
	}
	for n := range 200 {
		if got := readFile(t, fsys, fmt.Sprintf("d/%d", n)); len(got) != n {
			t.Errorf("%d bytes instead of %d", len(got), n)
		}
	}
}

// TestMemFSRenameFrees: a file whose name another one takes is gone.
func TestMemFSRenameFrees(t *testing.T) {
	fsys := newMemFS(t)
	writeFile(t, fsys, "d/a", []byte("a"))
	writeFile(t, fsys, "d/b", []byte("b"))
	a, b := fsys.files["d/a"], fsys.files["d/b"]
	if err := fsys.Rename("d/a", "d/b"); err != nil {
		t.Fatal(err)
	}
	if b.m != nil || a.m == nil || fsys.files["d/b"] != a || len(fsys.files) != 1 {
		t.Errorf("%d files; a %+v, b %+v", len(fsys.files), a, b)
	}
}

// TestMemFSSegments: a segment in memory lives as long as its users, as one on disk does.
func TestMemFSSegments(t *testing.T) {
	fsys := newMemFS(t)
	s, err := Prepare(fsys, "d", testIdentity(1), Zeros{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, "hello", strings.Repeat("x", 3000))
	file := fsys.files[s.Path()]
	reader, err := Open(fsys, s.Path(), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	reader.Adopt(scan(t, reader, 0))
	if err := fsys.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if p, err := reader.Read(2, nil); len(p) != 3000 || err != nil {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if err := reader.Drop(); err != nil {
		t.Fatal(err)
	}
	if file.m != nil || file.refs != 0 {
		t.Errorf("the memory is still there, with %d references", file.refs)
	}
}

// TestMemFSEntries: directory entries are those of plain files.
func TestMemFSEntries(t *testing.T) {
	fsys := NewMemFS()
	writeFile(t, fsys, "d/x", nil)
	writeFile(t, fsys, "d/sub/y", nil)
	list, err := fsys.ReadDir("d/")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	info, err := list[0].Info()
	if err != nil || list[0].Name() != "x" || list[0].IsDir() || list[0].Type() != 0 ||
		info.Name() != "x" || info.IsDir() || info.Mode() != 0 {
		t.Errorf("entry %v, %v", list[0], err)
	}
}

// TestMemFSEmpty: an empty file can be read, cut and not mapped.
func TestMemFSEmpty(t *testing.T) {
	fsys := NewMemFS()
	writeFile(t, fsys, "d/f", []byte("content"))
	f, err := fsys.Open("d/f", ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); n != 0 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if n, err := f.ReadAt(nil, 0); n != 0 || err != nil {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	if _, err := f.Map(4096, ReadWrite); err == nil {
		t.Error("more than the file is mapped")
	}
	if err := f.Truncate(8); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, fsys, "d/f"); string(got) != "\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("content %q", got)
	}
}
