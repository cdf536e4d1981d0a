//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// setTime makes a file's time of modification that of now.
func setTime(f *os.File) error {
	now := unix.NsecToTimeval(time.Now().UnixNano())
	return pathError("futimes", f, retry(func() error {
		return unix.Futimes(int(f.Fd()), []unix.Timeval{now, now})
	}))
}
