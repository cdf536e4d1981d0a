package segment

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"
)

// mapped returns how many of the pages of the bytes from:to are in the page tables.
func mapped(t *testing.T, m *Mapping, from, to Offset) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	page := Offset(os.Getpagesize())
	var entry [8]byte
	for off := from; off < to; off += page {
		number := int64(uintptr(unsafe.Pointer(&m.b[off])) / uintptr(page))
		if _, err := f.ReadAt(entry[:], 8*number); err != nil {
			t.Fatal(err)
		}
		if binary.NativeEndian.Uint64(entry[:])>>63 != 0 { // present
			n++
		}
	}
	return n
}

// TestPopulate: the pages are there, as far as the file goes; no byte is changed; a sync starts
// anew.
func TestPopulate(t *testing.T) {
	id := testIdentity(1)
	id.Size = 8 << 20
	s, err := Prepare(OS, t.TempDir(), id, Zeros{Chunk: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop()
	page := Offset(os.Getpagesize())
	const from, to = 1 << 20, 3 << 20
	s.Populate(from+5, to)
	if n := mapped(t, s.m, from, to); n == 0 {
		t.Skip("this kernel does not populate")
	} else if n != int((to-from)/page) {
		t.Errorf("%d pages of %d are mapped", n, (to-from)/page)
	}
	if s.Populated() != to {
		t.Errorf("populated to %d", s.Populated())
	}
	end := Offset(id.Size)
	s.Populate(end-page, end+1<<20)
	if n := mapped(t, s.m, end-page, end); n != 1 || s.Populated() != end {
		t.Errorf("%d pages at the end, populated to %d of %d", n, s.Populated(), end)
	}
	if !zero(s.m.b[FirstFrame:]) {
		t.Error("bytes have changed")
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := mapped(t, s.m, from, to); n != 0 || s.Populated() != 0 {
		t.Errorf("after a sync %d pages are mapped, populated to %d", n, s.Populated())
	}
}

// TestPopulateNothing: what cannot be populated is left alone: no pages, bytes that are no file's,
// a file that was cut, and a mapping that cannot be stored to any more.
func TestPopulateNothing(t *testing.T) {
	heap := heapSegment(t, testIdentity(1), nil)
	heap.Populate(0, 1<<20)
	w := realWriter(t, 0)
	s := w.Segment()
	s.Populate(FirstFrame, FirstFrame)
	if err := os.Truncate(s.Path(), 0); err != nil {
		t.Fatal(err)
	}
	s.Populate(0, Offset(s.Size))
	expectFault(t, w.Append([]byte("x"), Checksum([]byte("x"))), s, "append", 0)
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	s.Populate(0, Offset(s.Size))
}
