package segment

import "golang.org/x/sys/unix"

// populate makes the pages of the bytes from:to ready for stores, as if each had been stored to,
// without changing them. The stores will meet what fails here; kernels before 5.14 cannot do it.
func (m *Mapping) populate(from, to Offset) {
	if from &^= Offset(unix.Getpagesize()) - 1; m.shared && from < to {
		_ = unix.Madvise(m.b[from:to], unix.MADV_POPULATE_WRITE)
	}
}

// leastLeft is how many whole pages it takes for leave to be worth its system call.
const leastLeft = 8

// leave takes the pages of the bytes from:to, but for the last one, out of the page tables, before
// a sync writes them. The sync would otherwise take away the permission to write to each page by
// itself, with an interrupt to every processor that runs this process: about 15 microseconds a page
// where another one is busy, against less than two. The bytes stay where they are, in the page
// cache, modified; the next access maps them again (madvise(2), MADV_DONTNEED on a shared mapping
// of a file).
func (m *Mapping) leave(from, to Offset) {
	page := Offset(unix.Getpagesize())
	from, to = from&^(page-1), to&^(page-1)
	if m.shared && to-from >= leastLeft*page {
		_ = unix.Madvise(m.b[from:to], unix.MADV_DONTNEED) // if it fails, the sync takes longer
	}
}
