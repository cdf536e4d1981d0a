package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync(2). An interrupted call has synced nothing and reported nothing.
func datasync(f *os.File) error {
	return retryEINTR("fdatasync", f, func() error { return unix.Fdatasync(int(f.Fd())) })
}

func fullsync(f *os.File) error { return f.Sync() }

func syncDir(d *os.File) error { return d.Sync() }

// allocate reserves blocks for the whole file with fallocate(2), without changing its size.
func allocate(f *os.File, size int64) error {
	return retryEINTR("fallocate", f, func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	})
}

func retryEINTR(op string, f *os.File, call func() error) error {
	for {
		err := call()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) {
			return errUnsupported(op)
		}
		return pathError(op, f, err)
	}
}
