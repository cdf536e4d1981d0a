package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// uncache is posix_fadvise(2); pages that are modified or mapped stay.
func uncache(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a hint
}

// writeBack is sync_file_range(2), which reports no error of writing, and takes none away from a
// later sync, as long as it does not wait.
func writeBack(f *os.File, from, to Offset) {
	_ = unix.SyncFileRange(int(f.Fd()), int64(from), int64(to-from), unix.SYNC_FILE_RANGE_WRITE)
}
