package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// links is statx(2), and asks for nothing but the number of links: who asks for the times makes the
// next store change them, which costs the next sync a write (Linux 6.13, multigrain timestamps).
func links(f *os.File) (int, error) {
	var st unix.Statx_t
	for {
		err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC,
			unix.STATX_NLINK, &st)
		switch {
		case err == nil:
			return int(st.Nlink), nil
		case !errors.Is(err, unix.EINTR):
			return 0, pathError("statx", f, err)
		}
	}
}

// lookup opens a directory for nothing but to look a name up in it: that asks for no permission to
// read it.
const lookup = unix.O_PATH
