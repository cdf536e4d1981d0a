package segment

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Whoever uses a file holds a shared lock on it, flock(2): as long as it is open, and as long as it
// is mapped, since a mapping keeps the open file that it was made from (a test holds the kernel to
// that).

// share takes the shared lock. It returns false if somebody has the file to himself.
func share(f *os.File) (bool, error) { return shared(flock(f, unix.LOCK_SH)) }

// shared says what the outcome of flock(2) means to who wants a shared lock. Where a file system
// has no locks, nobody ever has a file to himself. Any other error must not be taken for that: the
// next who asks for an exclusive lock may get it.
func shared(err error) (bool, error) {
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS),
		errors.Is(err, unix.EINVAL):
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	}
	return false, os.NewSyscallError("flock", err)
}

// sole turns the shared lock into one that excludes all others.
func sole(f *os.File) bool {
	if err := flock(f, unix.LOCK_EX); err != nil {
		return false
	}
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}

// lockIsLocal reports whether other machines do not see the lock on a directory: these file systems
// pass on the locks of files at most.
func lockIsLocal(dir *os.File) bool {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(int(dir.Fd()), &st) })
	return err == nil && localLocks[uint32(st.Type)]
}

var localLocks = map[uint32]bool{
	unix.NFS_SUPER_MAGIC: true, unix.FUSE_SUPER_MAGIC: true, unix.V9FS_MAGIC: true,
	unix.SMB_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true,
	unix.CEPH_SUPER_MAGIC: true, unix.AFS_SUPER_MAGIC: true, unix.CODA_SUPER_MAGIC: true,
}
