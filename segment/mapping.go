package segment

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Mapping is a file's bytes in memory. On a real file they come from mmap, in tests from the heap.
// The type is the same, so that the race detector and simulated disks see the real code.
//
// All bytes but the first eight of a frame are read and written as plain memory. Those eight
// publish the frame; only load64 and store64 access them.
type Mapping struct {
	b        []byte
	unmap    func() error
	readOnly func() error // makes stores fault from now on
	shared   bool         // the bytes are the page cache's, to write: unmapping a page loses nothing

	// stored, if set, is called after each group of stores, before the next group: tests watch
	// the order in which bytes reach the page cache through it. from and to are 0, or the bytes
	// that were marked as modified without a change.
	stored func(from, to Offset)
}

// NewMapping returns a mapping over b, which must be 8-aligned. Close calls unmap once, if it is
// not nil. The writer calls stored, if it is not nil, after each group of stores with 0 and 0, or
// with the range of bytes that were marked as modified without a change. NewMapping is for file
// systems in memory.
func NewMapping(b []byte, unmap func() error, stored func(from, to Offset)) *Mapping {
	if len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		panic("segment: mapping is not 8-aligned")
	}
	return &Mapping{b: b, unmap: unmap, stored: stored}
}

// Bytes returns the mapped bytes. They must not be touched after Close.
func (m *Mapping) Bytes() []byte { return m.b }

// Close unmaps the bytes.
func (m *Mapping) Close() error {
	m.b = nil
	if m.unmap == nil {
		return nil
	}
	unmap := m.unmap
	m.unmap = nil
	return unmap()
}

// protect makes the mapping read-only where that is possible: a stray store then faults.
func (m *Mapping) protect() error {
	if m.readOnly == nil {
		return nil
	}
	return m.readOnly()
}

// notify tells a watching test that a group of stores is done.
func (m *Mapping) notify() {
	if m.stored != nil {
		m.stored(0, 0)
	}
}

// load64 loads the 8 little-endian bytes at off, a multiple of 8, atomically.
func load64(b []byte, off Offset) uint64 {
	return littleEndian(atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[off : off+8][0]))))
}

// dirty marks the pages of the bytes from:to as modified without changing them. A plain b[i] = b[i]
// would not do: the compiler drops it.
func (m *Mapping) dirty(from, to Offset) {
	for off := from &^ 7; off < to; off = (off | (pageSize - 1)) + 1 {
		atomic.AddUint64((*uint64)(unsafe.Pointer(&m.b[off : off+8][0])), 0)
		if m.stored != nil {
			m.stored(off, off+8)
		}
	}
}

// littleEndian converts between the machine's byte order and little-endian; on little-endian
// machines it compiles to nothing.
func littleEndian(v uint64) uint64 {
	var p [8]byte
	binary.NativeEndian.PutUint64(p[:], v)
	return binary.LittleEndian.Uint64(p[:])
}

// addressOf returns the address range of the mapping, to tell whose fault a fault is.
func (m *Mapping) addressOf() (lo, hi uintptr) {
	if len(m.b) == 0 {
		return 0, 0
	}
	lo = uintptr(unsafe.Pointer(&m.b[0]))
	return lo, lo + uintptr(len(m.b))
}
