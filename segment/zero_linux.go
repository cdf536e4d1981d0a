package segment

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// zeroRange is sendfile(2) from /dev/zero. Written piece by piece, the zeros of a segment are
// hundreds of system calls that take a while each; and as long as such calls follow each other, the
// monitor of the Go runtime wakes every 20 µs or so (sysmon and retake in runtime/proc.go), on the
// processor of whoever appends as like as not. (Older kernels refuse it.)
func zeroRange(f *os.File, from, to int64) (done bool) {
	zeros, err := devZero()
	if err != nil {
		return false
	}
	defer zeros.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return false
	}
	for from < to {
		n := min(to-from, 1<<30)
		if odd := from % zeroFolio; odd > 0 { // the others are aligned
			n = min(n, zeroFolio-odd)
		}
		sent := 0
		err := retryEINTR("sendfile", f, func() (err error) {
			sent, err = unix.Sendfile(int(f.Fd()), int(zeros.Fd()), nil, int(n))
			return err
		})
		if err != nil || sent == 0 {
			return false
		}
		from += int64(sent)
	}
	return true
}

// zeroFolio is in what pieces sendfile writes, as a rule: the pipe within it has 16 pages.
const zeroFolio = 64 << 10

// devZero opens /dev/zero, if it is that: device 1, 5 (admin-guide/devices.txt of the kernel).
func devZero() (*os.File, error) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	rdev := uint64(st.Rdev) //nolint:unconvert // on mips
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFCHR || rdev != unix.Mkdev(1, 5)) {
		err = unix.ENODEV
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
