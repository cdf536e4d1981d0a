package segment

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync(2). An interrupted call has synced nothing and reported nothing.
func datasync(f *os.File) error {
	return retryEINTR("fdatasync", f, func() error { return unix.Fdatasync(int(f.Fd())) })
}

// datasyncRange is msync(2), which syncs what lies in the range only. On a mapping that cannot be
// written to it does nothing, and says that it has.
func datasyncRange(f *os.File, m *Mapping, from, to Offset) error {
	if !m.shared {
		return datasync(f)
	}
	from &^= Offset(unix.Getpagesize()) - 1
	if from >= to {
		return nil
	}
	return retryEINTR("msync", f, func() error { return unix.Msync(m.b[from:to], unix.MS_SYNC) })
}

// writeSync writes, and makes these bytes and the file's metadata durable, with one pwritev2(2): an
// fsync would write whatever else is modified. It returns false if that cannot be done, or there is
// no space.
func writeSync(f *os.File, p []byte, off int64) (done bool, err error) {
	n := 0
	err = retry(func() error {
		n, err = unix.Pwritev2(int(f.Fd()), [][]byte{p}, off, unix.RWF_SYNC)
		return err
	})
	switch {
	case err == nil:
		return n == len(p), nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL),
		isFull(err):
		return false, nil
	}
	return true, pathError("pwritev2", f, err)
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

// nextData asks the file system where data begins and ends, with lseek(2). What was reserved and
// not written since is none. Only file systems are asked that look into the page cache for it: what
// was stored and not written yet, or could not be written, is data. (btrfs looks at its own state,
// others have missed pages. EXT4's number is that of ext2 and ext3, too.)
func nextData(f *os.File, off int64) (from, to int64) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || !tellsData[uint32(st.Type)] {
		return off, math.MaxInt64
	}
	from, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return math.MaxInt64, math.MaxInt64
	}
	if err != nil {
		return off, math.MaxInt64
	}
	to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	if err != nil || to <= from {
		// A page that was only read is data as long as it stays in the page cache.
		return from, math.MaxInt64
	}
	return from, to
}

var tellsData = map[uint32]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
}
