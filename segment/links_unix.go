//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import "golang.org/x/sys/unix"

// linksAt is fstatat(2) of a name in a directory, or, without a name, fstat(2) of an open file.
func linksAt(dir int, name string) (n int, ino uint64, err error) {
	var st unix.Stat_t
	err = retry(func() error {
		if name == "" {
			return unix.Fstat(dir, &st)
		}
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return int(st.Nlink), inodeOf(&st).ino, err
}

// lookup opens a directory to look a name up in it.
const lookup = unix.O_RDONLY
