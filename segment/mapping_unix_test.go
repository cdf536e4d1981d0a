//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"unsafe"
)

// faultAt stores to, or loads from, an address and returns the address of the fault; 0 if there is
// none.
func faultAt(p unsafe.Pointer, store bool) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if f, ok := recover().(interface{ Addr() uintptr }); ok {
			addr = f.Addr()
		}
	}()
	if store {
		*(*byte)(p) = 1
	} else {
		sink = *(*byte)(p)
	}
	return 0
}

var sink byte

// TestGuardPages: an access just before or just behind a mapping faults, whether it is of a file or
// anonymous, and touches nobody's memory.
func TestGuardPages(t *testing.T) {
	page := int64(os.Getpagesize())
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 4*page), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		size int64
		open func(size int64) (*Mapping, error)
	}{
		{"file", 4 * page, mapper(path, ReadWrite)},
		{"part of a file", page, mapper(path, ReadWrite)},
		{"file, for reading", 4 * page, mapper(path, ReadOnly)},
		{"anonymous", 4 * page, mapAnonymous},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.open(c.size)
			if err != nil {
				t.Fatal(err)
			}
			b := m.Bytes()
			if int64(len(b)) != c.size || int64(cap(b)) != c.size {
				t.Errorf("%d bytes, capacity %d, want %d", len(b), cap(b), c.size)
			}
			start := unsafe.Pointer(&b[0])
			for _, off := range []int64{-page, -8, -1, c.size, c.size + 8, c.size + page - 1} {
				p := unsafe.Add(start, off)
				for _, store := range []bool{false, true} {
					if got := faultAt(p, store); got != uintptr(p) {
						t.Errorf("at %d, store %v: fault at %#x, want %#x", off, store, got, uintptr(p))
					}
				}
			}
			for _, off := range []int64{0, c.size - 1} {
				if got := faultAt(unsafe.Add(start, off), false); got != 0 {
					t.Errorf("a load at %d faults", off)
				}
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func mapPath(path string, size int64, mode OpenMode) (*Mapping, error) {
	f, err := OS.Open(path, mode)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Map(size, mode)
}

func mapper(path string, mode OpenMode) func(int64) (*Mapping, error) {
	return func(size int64) (*Mapping, error) { return mapPath(path, size, mode) }
}

// TestProtection: a mapping for reading, and one that was protected, cannot be stored to.
func TestProtection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	rw, err := mapPath(path, 8192, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	ro, err := mapPath(path, 8192, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	p := unsafe.Pointer(&ro.Bytes()[8191])
	if got := faultAt(p, true); got != uintptr(p) {
		t.Errorf("a store to a mapping for reading: fault at %#x", got)
	}
	p = unsafe.Pointer(&rw.Bytes()[8191])
	if got := faultAt(p, true); got != 0 {
		t.Errorf("a store to a mapping for writing: fault at %#x", got)
	}
	if ro.Bytes()[8191] != 1 {
		t.Error("the mappings do not share the file")
	}
	if err := rw.protect(); err != nil {
		t.Fatal(err)
	}
	if got := faultAt(p, true); got != uintptr(p) {
		t.Errorf("a store to a protected mapping: fault at %#x", got)
	}
	if got := faultAt(p, false); got != 0 || rw.Bytes()[8191] != 1 {
		t.Errorf("a load from a protected mapping: fault at %#x", got)
	}
}

// TestMapErrors: sizes that cannot be mapped give errors.
func TestMapErrors(t *testing.T) {
	for _, size := range []int64{0, -1, -4096, 1<<63 - 1, 1<<63 - 8192} {
		if m, err := mapAnonymous(size); err == nil {
			t.Errorf("%d bytes are mapped: %d", size, len(m.Bytes()))
		}
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 4096), 0o400); err != nil {
		t.Fatal(err)
	}
	f, err := OS.Open(path, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Map(4096, ReadWrite); err == nil {
		t.Error("a file that is open for reading is mapped for writing")
	}
}
