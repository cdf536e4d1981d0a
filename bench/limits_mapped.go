package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/klauspost/crc32"
	"golang.org/x/sys/unix"
)

// The limits for memory: an 8-byte header (length, CRC-32C), the payload, padding to 8, in a
// mapping whose pages are all there. At the end they begin anew, over the same memory.
var (
	mappedLimitImpl = &Impl{
		Name: "mapped limit",
		caps: canAppend | canScan | canRead | isChecked | isLimit,
		open: func(dir string, o OpenOptions) (Log, error) {
			m, err := openMapped(dir, o)
			return &mutexLimit{mapped: m}, err
		},
	}
	fetchAddLimitImpl = &Impl{
		Name: "fetch-add limit",
		caps: canAppend | isLimit,
		open: func(dir string, o OpenOptions) (Log, error) {
			m, err := openMapped(dir, o)
			return &fetchAddLimit{mapped: m}, err
		},
	}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const limitSlack = 1 << 20 // room behind the wrap of the fetch-add limit: the largest record

type mapped struct {
	f    *os.File
	b    []byte
	size int64 // a power of two
	at   []int64
}

func openMapped(dir string, o OpenOptions) (*mapped, error) {
	m := &mapped{size: 1}
	for m.size < max(o.Segment, o.Total) {
		m.size *= 2
	}
	var err error
	if m.f, err = zeroedFile(filepath.Join(dir, "limit"), m.size+limitSlack, 1<<20); err != nil {
		return nil, err
	}
	m.b, err = unix.Mmap(int(m.f.Fd()), 0, int(m.size+limitSlack),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	for off := 0; off < len(m.b); off += 4096 {
		atomic.AddUint64((*uint64)(unsafe.Pointer(&m.b[off])), 0)
	}
	return m, nil
}

// zeroedFile creates a file that is written full of zeros, by writes of chunk bytes, and synced.
func zeroedFile(path string, size int64, chunk int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, chunk)
	for off := int64(0); off < size; off += int64(chunk) {
		if _, err := f.WriteAt(zeros, off); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, f.Sync()
}

func frame8(n int) int64 { return int64(8+n+7) &^ 7 }

// put stores a frame; its header last, as one word.
func (m *mapped) put(at int64, p []byte, crc uint32) {
	copy(m.b[at+8:], p)
	word := uint64(crc)<<32 | uint64(uint32(len(p)))
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&m.b[at])), word)
}

// get verifies the frame at an offset and returns its payload.
func (m *mapped) get(at int64) ([]byte, error) {
	word := atomic.LoadUint64((*uint64)(unsafe.Pointer(&m.b[at])))
	n := int64(uint32(word))
	if n > m.size-at-8 {
		return nil, errLimit
	}
	p := m.b[at+8 : at+8+n]
	if crc32.Update(0, castagnoli, p) != uint32(word>>32) {
		return nil, errLimit
	}
	return p, nil
}

var errLimit = errors.New("limit: bad frame")

func (m *mapped) AppendBatch([][]byte) error { return errCannot }

func (m *mapped) Sync() error { return nil }

func (m *mapped) Close() error { return errors.Join(unix.Munmap(m.b), m.f.Close()) }

// Read is the limit of a random read: the place from a table, one checksum, no copy.
func (m *mapped) Read(seq uint64, _ []byte) ([]byte, error) {
	if m.at == nil {
		if err := m.locate(); err != nil {
			return nil, err
		}
	}
	return m.get(m.at[seq-1])
}

func (m *mapped) locate() error {
	at := int64(0)
	return m.Scan(func(_ uint64, p []byte) error {
		m.at = append(m.at, at)
		at += frame8(len(p))
		return nil
	})
}

// Scan is the limit of a sequential read: one checksum each, no copy.
func (m *mapped) Scan(fn func(uint64, []byte) error) error {
	at := int64(0)
	for seq := uint64(1); at < m.size && binary.NativeEndian.Uint64(m.b[at:]) != 0; seq++ {
		p, err := m.get(at)
		if err == nil {
			err = fn(seq, p)
		}
		if err != nil {
			return err
		}
		at += frame8(len(p))
	}
	return nil
}

type mutexLimit struct {
	*mapped
	mu   sync.Mutex
	next int64
}

func (l *mutexLimit) Append(p []byte) error {
	crc := crc32.Update(0, castagnoli, p)
	size := frame8(len(p))
	l.mu.Lock()
	if l.next+size > l.size {
		l.next = 0
	}
	l.put(l.next, p, crc)
	l.next += size
	l.mu.Unlock()
	return nil
}

type fetchAddLimit struct {
	*mapped
	next atomic.Int64
}

func (l *fetchAddLimit) Append(p []byte) error {
	crc := crc32.Update(0, castagnoli, p)
	size := frame8(len(p))
	at := l.next.Add(size) - size
	l.put(at&(l.size-1), p, crc)
	return nil
}
