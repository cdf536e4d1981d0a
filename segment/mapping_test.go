package segment

import (
	"slices"
	"testing"
	"unsafe"
)

// TestNewMapping: bytes that are not 8-aligned are refused; what is given is called.
func TestNewMapping(t *testing.T) {
	b := heapBytes(64)
	if uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		t.Fatal("the heap gives bytes that are not 8-aligned")
	}
	for off := range 8 {
		func() {
			defer func() {
				if r := recover(); (r != nil) != (off != 0) {
					t.Errorf("bytes at an address %d behind a multiple of 8: panic %v", off, r)
				}
			}()
			NewMapping(b[off:], nil, nil)
		}()
	}
	var stored, unmapped int
	m := NewMapping(b, func() error { unmapped++; return nil }, func(_, _ Offset) { stored++ })
	m.notify()
	m.notify()
	if err := m.Close(); err != nil || stored != 2 || unmapped != 1 || m.Bytes() != nil {
		t.Errorf("%v; told of %d stores, unmapped %d times", err, stored, unmapped)
	}
	if err := m.Close(); err != nil || unmapped != 1 {
		t.Errorf("closed again: %v, unmapped %d times", err, unmapped)
	}
	if lo, hi := m.addressOf(); lo != 0 || hi != 0 {
		t.Errorf("a closed mapping is at %#x to %#x", lo, hi)
	}
	plain := NewMapping(nil, nil, nil)
	plain.notify()
	if err := plain.protect(); err != nil {
		t.Error(err)
	}
	if err := plain.Close(); err != nil {
		t.Error(err)
	}
}

// TestWords: words are little-endian in memory whatever the machine is.
func TestWords(t *testing.T) {
	b := heapBytes(32)
	store64(b, 8, 0x0102030405060708)
	want := []byte{8: 8, 9: 7, 10: 6, 11: 5, 12: 4, 13: 3, 14: 2, 15: 1, 31: 0}
	if !slices.Equal(b, want) {
		t.Errorf("stored % x", b)
	}
	if got := load64(b, 8); got != 0x0102030405060708 {
		t.Errorf("loaded %#x", got)
	}
	if got := littleEndian(littleEndian(42)); got != 42 {
		t.Errorf("there and back: %d", got)
	}
}

// TestDirtyChangesNothing: dirtying pages leaves every byte as it is, wherever it begins and ends.
func TestDirtyChangesNothing(t *testing.T) {
	b := heapBytes(4 * 4096)
	for i := range b {
		b[i] = byte(i * 7)
	}
	before := slices.Clone(b)
	for _, from := range []Offset{0, 1, 4095, 4096, 4104, 16383} {
		for _, to := range []Offset{0, 1, 4096, 4097, 8192, 16384} {
			NewMapping(b, nil, nil).dirty(from, to)
			if !slices.Equal(b, before) {
				t.Fatalf("dirty(%d, %d) changes bytes", from, to)
			}
		}
	}
}
