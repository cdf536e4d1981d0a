package segment

import "golang.org/x/sys/unix"

// linksAt is statx(2) of a name in a directory, or, without a name, of an open file. It asks for
// nothing but the number of links and of the inode: who asks for the times makes the next store
// change them, which costs the next sync a write (Linux 6.13, multigrain timestamps).
func linksAt(dir int, name string) (n int, ino uint64, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_DONT_SYNC
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	err = retry(func() error {
		return unix.Statx(dir, name, flags, unix.STATX_NLINK|unix.STATX_INO, &st)
	})
	return int(st.Nlink), st.Ino, err
}

// lookup opens a directory for nothing but to look a name up in it: that asks for no permission to
// read it.
const lookup = unix.O_PATH
