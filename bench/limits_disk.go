package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/crc32"
	"golang.org/x/sys/unix"
)

// The limits for the disk: pwrite and fdatasync on a file that was written full of zeros, by 4 KiB,
// so that a sync writes as little as can be. At the end they begin anew.
var (
	diskLimitImpl = &Impl{
		Name: "disk limit",
		caps: canDurable | canBatch | isLimit,
		open: openDisk,
	}
	diskGroupLimitImpl = &Impl{
		Name: "disk limit, grouped",
		caps: canDurable | isLimit | wantsGroup,
		open: openDisk,
	}
)

type diskLimit struct {
	unreadable
	mu  sync.Mutex
	f   *os.File
	at  int64
	end int64
	buf []byte
}

func openDisk(dir string, o OpenOptions) (Log, error) {
	f, err := zeroedFile(filepath.Join(dir, "limit"), o.Segment, 4<<10)
	return &diskLimit{f: f, end: o.Segment}, err
}

func (l *diskLimit) Append(p []byte) error { return l.AppendBatch([][]byte{p}) }

func (l *diskLimit) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buf[:0]
	for _, p := range ps {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Update(0, castagnoli, p))
		b = append(b, p...)
		b = append(b, make([]byte, -len(b)&7)...)
	}
	l.buf = b
	if l.at+int64(len(b)) > l.end {
		l.at = 0
	}
	if _, err := l.f.WriteAt(b, l.at); err != nil {
		return err
	}
	l.at += int64(len(b))
	return unix.Fdatasync(int(l.f.Fd()))
}

func (l *diskLimit) Sync() error { return nil }

func (l *diskLimit) Scan(func(uint64, []byte) error) error { return errCannot }

func (l *diskLimit) Close() error { return l.f.Close() }
