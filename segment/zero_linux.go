package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// zeroRange is sendfile(2) from /dev/zero. Written piece by piece, the zeros of a segment are hundreds of
// system calls that take a while each, and as long as such calls follow each other, the monitor of
// the Go runtime wakes every 20 µs or so (sysmon and retake in runtime/proc.go), on the processor of
// whoever appends as like as not.
func zeroRange(f *os.File, from, to int64) error {
	zeros, err := devZero()
	if err != nil {
		return errUnsupported("sendfile")
	}
	defer unix.Close(zeros)
	if _, err := unix.Seek(int(f.Fd()), from, unix.SEEK_SET); err != nil {
		return pathError("seek", f, err)
	}
	for from < to {
		n := min(to-from, 1<<30)
		if odd := from % ZeroFolio; odd > 0 { // the others are aligned
			n = min(n, ZeroFolio-odd)
		}
		sent := 0
		err := retryEINTR("sendfile", f, func() (err error) {
			sent, err = unix.Sendfile(int(f.Fd()), zeros, nil, int(n))
			return err
		})
		switch {
		case errors.Is(err, unix.EINVAL), err == nil && sent == 0:
			return errUnsupported("sendfile")
		case err != nil:
			return err
		}
		from += int64(sent)
	}
	return nil
}

// devZero opens /dev/zero, if it is that.
func devZero() (fd int, err error) {
	fd, err = unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFCHR || uint64(st.Rdev) != unix.Mkdev(1, 5)) {
		err = unix.ENODEV // devices.txt of the kernel: 1, 5
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}
