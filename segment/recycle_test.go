package segment

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// usedFile prepares a segment of a journal and returns it, to be recycled.
func usedFile(t *testing.T, dir string) *Segment {
	t.Helper()
	s, err := Prepare(OS, dir, testIdentity(1), Zeros{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, "one", string(make([]byte, 3000)), "three")
	return s
}

// TestRecycle: a file that nobody uses becomes a prepared segment; one that is in use stays as it
// is for who uses it.
func TestRecycle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux is it known who uses a file")
	}
	for _, c := range []struct {
		name string
		use  func(t *testing.T, s *Segment, path string)
		want error
	}{
		{"nobody", func(t *testing.T, s *Segment, _ string) { mustDrop(t, s) }, nil},
		{"open", func(*testing.T, *Segment, string) {}, ErrInUse},
		{"mapped, and closed", func(t *testing.T, s *Segment, _ string) {
			if err := s.Release(); err != nil {
				t.Fatal(err)
			}
		}, ErrInUse},
		{"mapped for reading by somebody else", func(t *testing.T, s *Segment, path string) {
			r, err := Open(OS, path, ReadOnly)
			if err != nil {
				t.Fatal(err)
			}
			mustDrop(t, s)
			if err := r.Release(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { mustDrop(t, r) })
		}, ErrInUse},
		{"a second name", func(t *testing.T, s *Segment, path string) {
			mustDrop(t, s)
			if err := os.Link(path, path+".link"); err != nil {
				t.Fatal(err)
			}
		}, ErrInUse},
		{"cut", func(t *testing.T, s *Segment, path string) {
			mustDrop(t, s)
			if err := os.Truncate(path, MinSize-1); err != nil {
				t.Fatal(err)
			}
		}, ErrInUse},
		{"gone", func(t *testing.T, s *Segment, path string) {
			mustDrop(t, s)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := usedFile(t, dir)
			c.use(t, s, s.Path())
			from := s.Path() + TempSuffix
			if err := os.Rename(s.Path(), from); err != nil && c.want == nil {
				t.Fatal(err)
			}
			got, err := Recycle(OS, dir, from, testIdentity(2))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if _, err := os.Stat(from); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the old name: %v", err)
			}
			if c.want != nil {
				return
			}
			defer mustDrop(t, got)
			if !got.Recycled || got.Ordinal != 2 || filepath.Base(got.Path()) != FileName(2) {
				t.Errorf("it is %+v at %s", got.Identity, got.Path())
			}
			if sc := scan(t, got, 0); !sc.Unused() {
				t.Errorf("it is not prepared: %+v", sc)
			}
			if r, err := Open(OS, got.Path(), ReadOnly); err != nil {
				t.Errorf("nobody else can open it: %v", err)
			} else {
				mustDrop(t, r)
			}
		})
	}
}

func mustDrop(t *testing.T, s *Segment) {
	t.Helper()
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
}

// TestSole: who has a file to himself keeps others out, until he closes it; a mapping counts as
// long as it is there.
func TestSole(t *testing.T) {
	for _, c := range []struct {
		name string
		fsys FS
	}{{"os", OS}, {"heap", NewHeapFS()}} {
		t.Run(c.name, func(t *testing.T) {
			if c.fsys == OS && runtime.GOOS != "linux" {
				t.Skip("only on Linux is it known who uses a file")
			}
			testSole(t, c.fsys)
		})
	}
}

func testSole(t *testing.T, fsys FS) {
	path := filepath.Join(t.TempDir(), FileName(1))
	writeFile(t, fsys, path, make([]byte, pageSize))
	open := func() File {
		f, err := fsys.Open(path, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	closing := func(c io.Closer) {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := open()
	m, err := other.Map(pageSize, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	alone := func(want bool, who string) File {
		t.Helper()
		f := open()
		if f.Sole() != want {
			t.Errorf("%s: sole is %v", who, !want)
		}
		return f
	}
	closing(alone(false, "open and mapped elsewhere"))
	closing(other)
	closing(alone(false, "mapped elsewhere"))
	closing(m)
	f := alone(true, "nobody else")
	_, err = fsys.Open(path, ReadOnly)
	if !errors.Is(err, ErrFileLocked) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a second open: %v", err)
	}
	closing(f)
	closing(open())
}

// TestRecycledTail: what counts behind the end of a recycled segment, and what does not.
func TestRecycledTail(t *testing.T) {
	id := testIdentity(2)
	id.Recycled = true
	// mark puts a mark into b, as a segment with that salt has it.
	mark := func(b []byte, at Offset, salt uint64) {
		m := Mark{Time: time.Unix(1, 0)}
		m.encode(b[at+HeaderSize : at+markFrame])
		crc := Checksum(b[at+HeaderSize : at+markFrame])
		store64(b, at, fillFrame(b[at:], at, markPayload, crc, salt, 9, KindMark))
	}
	const end = FirstFrame + linkFrame
	for _, c := range []struct {
		name string
		edit func(b []byte)
		want int64
	}{
		{"nothing", func([]byte) {}, 0},
		{"the rest of the page", func(b []byte) { b[recycledBlank-1] = 1 }, int64(recycledBlank - end)},
		{"a mark", func(b []byte) { mark(b, 8200, id.Salt) }, 8256 - int64(end)},
		{"a mark in the page", func(b []byte) {
			mark(b, end+8, id.Salt)
			b[recycledBlank-1] = 1
		}, int64(recycledBlank - end)},
		{"two marks", func(b []byte) {
			mark(b, 8200, id.Salt)
			mark(b, 12000, id.Salt)
		}, 12056 - int64(end)},
		{"a mark of another segment", func(b []byte) { mark(b, 8200, id.Salt+1) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := id
			id.Size = 4 * pageSize
			b := heapBytes(id.Size)
			for i := range b[2*pageSize:] {
				b[2*pageSize+i] = byte(i*7) | 1
			}
			copy(b, id.Encode())
			s := openBytes(t, b, id, nil)
			if _, err := NewWriter(s, startLink(), nil); err != nil {
				t.Fatal(err)
			}
			c.edit(b)
			sc := scan(t, s, 0)
			if sc.End != end || sc.Tail.Bytes != c.want {
				t.Errorf("ends at %d, %d bytes behind, want %d", sc.End, sc.Tail.Bytes, c.want)
			}
		})
	}
}

// noAllocate is a file system whose files cannot reserve space, for a reason.
type noAllocate struct {
	FS
	err error
}

type noAllocateFile struct {
	File
	err error
}

func (n noAllocate) Open(path string, mode OpenMode) (File, error) {
	f, err := n.FS.Open(path, mode)
	return noAllocateFile{f, n.err}, err
}

func (f noAllocateFile) Allocate(int64) error { return f.err }
func (f noAllocateFile) Sole() bool           { return true }

// TestRecycleWithoutSpace: where no space can be reserved, whatever the reason, no file becomes a
// segment, and none is left.
func TestRecycleWithoutSpace(t *testing.T) {
	for _, want := range []error{syscall.ENOSPC, errors.ErrUnsupported} {
		dir := t.TempDir()
		s := usedFile(t, dir)
		mustDrop(t, s)
		from := s.Path() + TempSuffix
		if err := os.Rename(s.Path(), from); err != nil {
			t.Fatal(err)
		}
		if s, err := Recycle(noAllocate{OS, want}, dir, from, testIdentity(2)); !errors.Is(err, want) {
			t.Errorf("%v, error %v, want %v", s, err, want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// watchedFile is a file that tells of each write, and knows what was written by no store.
type watchedFile struct {
	heapFile
	written []byte
	wrote   func()
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	copy(f.written[off:], p)
	n, err := f.heapFile.WriteAt(p, off)
	f.wrote()
	return n, err
}

// watchedRecycled returns a recycled segment over bytes of an earlier use.
func watchedRecycled(t *testing.T, r *rand.Rand) (*Segment, *watchedFile) {
	t.Helper()
	id := testIdentity(2)
	id.Recycled, id.Size = true, 16*pageSize
	f := &watchedFile{heapFile: heapFile{b: heapBytes(id.Size)}}
	for i := range f.b {
		f.b[i] = byte(r.Uint32()) | 1
	}
	copy(f.b, append(id.Encode(), blankPages[:pageSize]...))
	f.written = slices.Clone(f.b)
	s, err := newSegment(f, FileName(id.Ordinal), id, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

// TestRecycledWrites: link, groups and seal of a recycled segment are written, never stored; before
// the last write of each nothing of it is there; and behind it, the index included, the page is
// zero.
func TestRecycledWrites(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, f := watchedRecycled(t, r)
		writes, end := 0, FirstFrame // where the frames ended before
		f.wrote = func() {
			writes++
			if sc := scanBytes(f.b, &s.Identity, 0, allOf(f.b), nil); writes == 1 && sc.End != end {
				t.Fatalf("seed %d: frames behind %d are there up to %d too early", seed, end, sc.End)
			}
		}
		step := func(what string, behind Offset, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if sc := scan(t, s, 0); sc.End != s.End() || writes != 2 {
				t.Fatalf("seed %d: %s: frames end at %d, not %d, after %d writes",
					seed, what, sc.End, s.End(), writes)
			}
			writes, end = 0, s.End()
			behind += end
			if to := min(pageEnd(behind+8), Offset(s.Size)); !zero(f.b[behind:to]) {
				t.Fatalf("seed %d: %s: from %d to %d it is not zero", seed, what, behind, to)
			}
		}
		w, err := NewWriter(s, startLink(), nil)
		step("link", 0, err)
		w.use(&Stage{})
		for range r.IntN(30) {
			size := r.IntN(3000)
			if !w.Fits(FrameSize(int64(size)), false) {
				break
			}
			mustAppend(t, w, string(make([]byte, size)))
			step("group", 0, w.Take().Move())
		}
		succ := testIdentity(3)
		err = w.Seal(&succ)
		step("seal", Offset(len(s.index.all())*indexEntry), err)
		if err := s.CheckIndex(scan(t, s, 0)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(f.b, f.written) {
			t.Errorf("seed %d: something was stored through the mapping", seed)
		}
	}
}
