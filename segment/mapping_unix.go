//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes of f, shared, between two guard pages: an access beyond either
// end faults instead of touching somebody else's memory.
func mapFile(f *os.File, size int64, mode OpenMode) (*Mapping, error) {
	prot := unix.PROT_READ
	if mode != ReadOnly {
		prot |= unix.PROT_WRITE
	}
	m, err := mapGuarded(int(f.Fd()), size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	m.shared = mode != ReadOnly
	return m, nil
}

// mapAnonymous returns size zero bytes that belong to no file.
func mapAnonymous(size int64) (*Mapping, error) {
	return mapGuarded(-1, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// pageTable is what one page table maps (on amd64, and on arm64 with pages of 4 KiB). At the first
// touch the kernel maps a whole folio of the page cache if it lies in one page table, and else page
// by page, which costs forty times as much: so a mapping begins where one begins.
const pageTable = 2 << 20

func mapGuarded(fd int, size int64, prot, flags int) (*Mapping, error) {
	page := int64(os.Getpagesize())
	inner := (size + page - 1) &^ (page - 1)
	align := max(page, min(pageTable, int64(1)<<bits.Len64(uint64(inner-1))))
	if size <= 0 || inner > math.MaxInt-2*page-align {
		return nil, fmt.Errorf("%w: %d bytes", unix.ENOMEM, size)
	}
	total := uintptr(inner + 2*page + align)
	window, err := unix.MmapPtr(-1, 0, nil, total, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", total, err)
	}
	start := unsafe.Add(window, page+-(int64(uintptr(window))+page)&(align-1))
	if _, err := unix.MmapPtr(fd, 0, start, uintptr(inner), prot, flags|unix.MAP_FIXED); err != nil {
		_ = unix.MunmapPtr(window, total) // mmap has failed: that is the error
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	b := unsafe.Slice((*byte)(start), size)
	return &Mapping{
		b:     b,
		unmap: func() error { return unix.MunmapPtr(window, total) },
		readOnly: func() error {
			return unix.Mprotect(unsafe.Slice((*byte)(start), inner), unix.PROT_READ)
		},
	}, nil
}
