//go:build !amd64 || race

package segment

import (
	"sync/atomic"
	"unsafe"
)

// store64 stores 8 little-endian bytes at off, a multiple of 8, atomically.
func store64(b []byte, off Offset, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[off : off+8][0])), littleEndian(v))
}
