package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// uncache is posix_fadvise(2); pages that are modified or mapped stay.
func uncache(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a hint
}
