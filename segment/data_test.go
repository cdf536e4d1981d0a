package segment

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// tellingFile is a heapFile that says where its data is.
type tellingFile struct {
	heapFile
	next func(off int64) (from, to int64)
	size int64
}

func (f *tellingFile) NextData(off int64) (from, to int64) { return f.next(off) }
func (f *tellingFile) Size() (int64, error) {
	if f.size < 0 {
		return 0, errors.New("i/o error")
	}
	return f.size, nil
}

// TestExtents: whatever a file system says, the extents are in order, aligned, inside the file, and
// hold all that it has not called a hole.
func TestExtents(t *testing.T) {
	const size = 64 << 10
	list := func(l ...extent) func(off int64) (from, to int64) {
		return func(off int64) (from, to int64) {
			for _, e := range l {
				if int64(e.to) > off {
					return max(off, int64(e.from)), int64(e.to)
				}
			}
			return math.MaxInt64, math.MaxInt64
		}
	}
	for _, c := range []struct {
		name string
		next func(off int64) (from, to int64)
		want []extent
	}{
		{"nothing is known", func(off int64) (from, to int64) { return off, math.MaxInt64 },
			[]extent{{4096, size}}},
		{"a hole", func(int64) (from, to int64) { return math.MaxInt64, math.MaxInt64 }, nil},
		{"two", list(extent{0, 8192}, extent{12288, 16384}), []extent{{4096, 8192}, {12288, 16384}}},
		{"odd ends", list(extent{5001, 5003}), []extent{{5000, 5008}}},
		{"the last byte", list(extent{size - 1, size + 100}), []extent{{size - 8, size}}},
		{"beyond the end", list(extent{size, size + 8}), nil},
		{"backwards", func(int64) (from, to int64) { return 0, 8192 },
			[]extent{{4096, 8192}, {8192, size}}},
		{"a page that is data no more when its end is asked for",
			func(off int64) (from, to int64) { return max(off, 8192), max(off, 8192) },
			[]extent{{8192, size}}},
	} {
		s := &Segment{Identity: Identity{Size: size}, m: NewMapping(heapBytes(size), nil, nil)}
		f := &tellingFile{next: c.next, size: size}
		s.mu.file = f
		if got := s.data(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		for _, f.size = range []int64{-1, size - 1} { // it cannot be asked, or was cut
			if got := s.data(); !slices.Equal(got, []extent{{0, size}}) {
				t.Errorf("%s, file size %d: %v, want everything", c.name, f.size, got)
			}
		}
	}
	many := &tellingFile{next: func(off int64) (from, to int64) { return off + 8, off + 16 }}
	got := extents(many, 1<<20)
	if last := got[len(got)-1]; len(got) != mostExtents+1 || last.to != 1<<20 ||
		last.from != got[mostExtents-1].to+8 {
		t.Errorf("%d extents, the last %v", len(got), last)
	}
}

// TestScanOfHoles: what lies in a hole is not read; what does not is found. A byte in what the file
// system calls a hole is a lie that only a test can tell.
func TestScanOfHoles(t *testing.T) {
	const size = 64 << 10
	id := testIdentity(1)
	id.Size = size
	b := heapBytes(size)
	copy(b, id.Encode())
	f := &tellingFile{heapFile: heapFile{b: b}, size: size}
	s, err := newSegment(f, FileName(id.Ordinal), id, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	scan := func(data ...extent) *Scan {
		t.Helper()
		f.next = func(off int64) (from, to int64) {
			for _, e := range data {
				if int64(e.to) > off {
					return max(off, int64(e.from)), int64(e.to)
				}
			}
			return size, size
		}
		sc, err := s.Scan(0)
		if err != nil {
			t.Fatal(err)
		}
		return sc
	}
	b[40000] = 1
	if sc := scan(extent{0, 8192}); !sc.Unused() {
		t.Errorf("a byte in a hole was read: %+v", sc)
	}
	if sc := scan(extent{0, 8192}, extent{36864, 40960}); sc.Unused() || sc.Tail.Bytes != 40001-4096 {
		t.Errorf("a byte in data was not seen: %+v", sc)
	}
	w, err := NewWriter(s, Link{Base: 1, FirstLive: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, "a", "b")
	end := w.Position().Offset
	if sc := scan(extent{36864, 40960}); sc.HasLink || !errors.Is(sc.Stop, ErrHole) {
		t.Errorf("a link in a hole was read: %+v", sc)
	}
	if sc := scan(extent{0, 8192}, extent{36864, 40960}); sc.End != end || sc.Records != 2 ||
		sc.Tail.Bytes != int64(40001-end) {
		t.Errorf("scan %+v, want 2 records up to %d", sc, end)
	}
}

// TestNextData: on the file systems at hand, every byte that is not zero lies in what NextData says
// is data, whether it was written, stored through a mapping, or synced in between.
func TestNextData(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm"} {
		t.Run(dir, func(t *testing.T) {
			if _, err := os.Stat(dir); err != nil {
				t.Skip(err)
			}
			sub, err := os.MkdirTemp(dir, "nextdata")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(sub)
			for seed := range uint64(30) {
				checkNextData(t, filepath.Join(sub, "f"), seed)
			}
		})
	}
}

func checkNextData(t *testing.T, path string, seed uint64) {
	t.Helper()
	const size = 1 << 20
	rnd := rand.New(rand.NewPCG(seed, 9))
	f, err := OS.Open(path, Create)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if rnd.IntN(4) > 0 {
		if err := f.Allocate(size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
	}
	m, err := f.Map(size, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	shadow := make([]byte, size) // the file is not read: a hole that was read is none
	for range 40 {
		at := rnd.Int64N(size - 9000)
		p := bytes.Repeat([]byte{7}, 1+rnd.IntN(9000))
		switch rnd.IntN(5) {
		case 0, 1:
			copy(m.Bytes()[at:], p)
			copy(shadow[at:], p)
		case 2:
			_, err = f.WriteAt(p, at)
			copy(shadow[at:], p)
		case 3:
			err = f.Datasync()
		case 4:
			_ = m.Bytes()[at] // a look makes the page a part of the page cache
		}
		if err != nil {
			t.Fatal(err)
		}
		off := int64(0)
		for off < size {
			from, to := f.NextData(off)
			from, to = min(from, size), min(to, size)
			if from < off || to <= from && from < size {
				t.Fatalf("seed %d: data behind %d from %d to %d", seed, off, from, to)
			}
			if i := lastNonZero(shadow[off:from]); i >= 0 {
				t.Fatalf("seed %d: byte %d is not zero and lies in a hole from %d to %d",
					seed, off+int64(i), off, from)
			}
			off = max(from, to)
		}
	}
}
