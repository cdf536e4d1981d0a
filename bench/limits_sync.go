package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/crc32"
	"golang.org/x/sys/unix"
)

// syncLimitImpl is the limit of an open after bytes were appended and not synced: it syncs the file
// and computes the CRC of every byte of it.
var syncLimitImpl = &Impl{
	Name:    "sync and CRC",
	caps:    isLimit | canResync,
	open:    openSyncLimit,
	recover: syncAndCheck,
}

// syncNewLimitImpl is the same for a new file, as ours are: its space is reserved, and a sync tells
// the file system's log, too, what of it has been written.
var syncNewLimitImpl = &Impl{
	Name:    "sync and CRC, new file",
	caps:    isLimit | canResync,
	open:    openSyncNewLimit,
	recover: syncAndCheck,
}

type syncLimit struct {
	unreadable
	f *os.File
}

// openSyncLimit makes a file that is written full of zeros, by 256 KiB.
func openSyncLimit(dir string, o OpenOptions) (Log, error) {
	f, err := zeroedFile(syncLimitFile(dir), o.Total, 256<<10)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return &syncLimit{f: f}, err
}

// openSyncNewLimit makes a file whose space is reserved.
func openSyncNewLimit(dir string, o OpenOptions) (Log, error) {
	f, err := os.OpenFile(syncLimitFile(dir), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		err = f.Truncate(o.Total)
	}
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, o.Total)
	}
	if err == nil {
		err = f.Sync()
	}
	return &syncLimit{f: f}, err
}

func syncLimitFile(dir string) string { return filepath.Join(dir, "limit") }

func (l *syncLimit) Append(p []byte) error {
	_, err := l.f.Write(p)
	return err
}

func (l *syncLimit) AppendBatch(ps [][]byte) error {
	for _, p := range ps {
		if err := l.Append(p); err != nil {
			return err
		}
	}
	return nil
}

func (l *syncLimit) Sync() error { return unix.Fdatasync(int(l.f.Fd())) }

func (l *syncLimit) Scan(func(uint64, []byte) error) error { return errCannot }

func (l *syncLimit) Close() error { return l.f.Close() }

func syncAndCheck(dir string, o OpenOptions) (records int64, err error) {
	f, err := os.OpenFile(syncLimitFile(dir), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return 0, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(o.Total), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(b)
	crc := uint32(0)
	for piece := b; len(piece) > 0; {
		n := min(len(piece), 2<<10)
		crc = crc32.Update(crc, castagnoli, piece[:n])
		piece = piece[n:]
	}
	if crc == 0 {
		return 0, io.ErrUnexpectedEOF // what is computed must not be optimised away
	}
	return -1, nil
}
