package segment

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// On macOS fsync(2) leaves the bytes in the drive's cache; F_FULLFSYNC (fcntl(2)) does not.
func fullsync(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_FULLFSYNC, 0)
	return pathError("F_FULLFSYNC", f, err)
}

func datasync(f *os.File) error { return fullsync(f) }

func datasyncRange(f *os.File, _ *Mapping, _, _ Offset) error { return datasync(f) }

func syncDir(d *os.File) error { return d.Sync() }

func allocate(*os.File, int64) error { return errUnsupported("fallocate") }

func nextData(_ *os.File, off int64) (from, to int64) { return off, math.MaxInt64 }

func writeSync(*os.File, []byte, int64) (done bool, err error) { return false, nil }
