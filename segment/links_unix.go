//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

func links(f *os.File) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, pathError("fstat", f, err)
	}
	return int(st.Nlink), nil
}

// lookup opens a directory to look a name up in it.
const lookup = unix.O_RDONLY
