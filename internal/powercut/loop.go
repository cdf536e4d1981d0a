//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errHung: the kernel has not come back in time.
var errHung = errors.New("hung")

// attach puts a loop device on a file. The device lives as long as it is open, or mounted.
func attach(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for end := time.Now().Add(patience); ; {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("LOOP_CTL_GET_FREE: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err == nil {
			config := unix.LoopConfig{Fd: uint32(file.Fd())}
			config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
			if err = unix.IoctlLoopConfigure(int(dev.Fd()), &config); err == nil {
				return dev, nil
			}
			dev.Close()
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return nil, fmt.Errorf("loop device %d: %w", n, err)
		}
		time.Sleep(time.Millisecond) // somebody else has taken it
	}
}

// mountImage mounts a file with a file system on a directory.
func mountImage(path, dir string, k *Kind) error {
	dev, err := attach(path)
	if err != nil {
		return err
	}
	return inTime("mount", func() error {
		defer dev.Close()
		return unix.Mount(dev.Name(), dir, k.Name, unix.MS_NOATIME, k.options)
	})
}

// unmount unmounts, lazily if there is no other way.
func unmount(dir string) error {
	err := inTime("umount", func() error {
		var err error
		for range 200 {
			if err = unix.Unmount(dir, 0); !errors.Is(err, unix.EBUSY) {
				return err
			}
			time.Sleep(5 * time.Millisecond)
		}
		return err
	})
	if err != nil {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
	return err
}

// inTime runs what the kernel may hang in.
func inTime(what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: %w", what, errHung)
	}
}
