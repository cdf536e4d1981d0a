//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Two locks exclude a second writer, flock(2) both. The one on the directory itself cannot be
// removed or replaced: as long as it is held, no other process of this machine writes here. The one
// on the file LOCK also holds between machines, where the file system passes locks on, and it says
// who has it. If LOCK is removed, the writer makes another one and goes on.

// busyWait is how long a directory may be locked while LOCK is not: programs that clean up old files
// lock each directory that they look into for a moment (systemd-tmpfiles).
const (
	busyWait = 200 * time.Millisecond
	busyStep = 10 * time.Millisecond
)

// Lock takes the writer's lock, or fails with ErrLocked. The lock ends with Close, or with the
// process, however it ends; a child process that has inherited the descriptors keeps it.
func (d *Directory) Lock() error {
	if d.opts.Unlocked {
		return nil
	}
	for end := time.Now().Add(busyWait); ; time.Sleep(busyStep) {
		err := d.lockDirectory()
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return lockError(d.path, err)
		}
		if who, held := d.probe(); held {
			return fmt.Errorf("%s: %w by %s", d.path, ErrLocked, who)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w: another program has locked the directory itself, flock(2); "+
				"no writer has its file %s", d.path, ErrLocked, LockName)
		}
	}
	d.lock.mu.Lock()
	defer d.lock.mu.Unlock()
	d.lock.held = true
	if err := d.lockFileLocked(); err != nil {
		d.lock.held = false
		return errors.Join(err, flock(d.f, unix.LOCK_UN))
	}
	return nil
}

func (d *Directory) lockDirectory() error { return flock(d.f, unix.LOCK_EX) }

// unlock gives up LOCK; the directory's lock ends with its descriptor.
func (d *Directory) unlock() error {
	d.lock.mu.Lock()
	defer d.lock.mu.Unlock()
	d.lock.held = false
	if d.lock.f == nil {
		return nil
	}
	f := d.lock.f
	d.lock.f = nil
	return f.Close()
}

// probe reports whether a writer has LOCK, and who it is.
func (d *Directory) probe() (who string, held bool) {
	f, err := d.open(LockName, d.lockPath(), ReadWrite)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_EX); errors.Is(err, unix.EWOULDBLOCK) {
		return holder(f), true
	}
	return "", false
}

func (d *Directory) lockPath() string { return filepath.Join(d.path, LockName) }

// lockFileLocked opens or makes LOCK, and locks it. The directory is locked.
func (d *Directory) lockFileLocked() error {
	f, err := d.open(LockName, d.lockPath(), ReadWrite)
	if errors.Is(err, unix.ENOENT) {
		return d.newLockLocked(LockName)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	err = flock(f, unix.LOCK_EX)
	n, linkErr := links(f)
	switch {
	case linkErr == nil && n > 1:
		// The file is that of another journal, too, which this one was copied from by hard links.
		// Its own writer locks the same file.
		f.Close()
		return d.newLockLocked(LockName + TempSuffix)
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("%s: %w by %s", d.path, ErrLocked, holder(f))
	case err != nil:
		err = lockError(d.lockPath(), err)
	default:
		return d.tookLocked(f)
	}
	f.Close()
	return err
}

// newLockLocked makes a LOCK of the directory's own, by way of another name if there is one. A disk
// without room for it is no reason not to open the journal: the directory is locked.
func (d *Directory) newLockLocked(name string) error {
	path := filepath.Join(d.path, name)
	if name != LockName {
		_ = unix.Unlinkat(d.fd(), name, 0) // what an earlier process has left
	}
	f, err := d.open(name, path, Create)
	if isFull(err) {
		d.lock.f, d.lock.warned = nil, true
		d.warn(path + ": no space for the file; the directory's own lock is held alone")
		return nil
	}
	if err == nil {
		if err = flock(f, unix.LOCK_EX); err != nil {
			err = lockError(path, err)
		}
	}
	if err == nil && name != LockName {
		err = unix.Renameat(d.fd(), name, d.fd(), LockName)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	return d.tookLocked(f)
}

// tookLocked notes which file was locked, and leaves the process id in it.
func (d *Directory) tookLocked(f *os.File) error {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	if err == nil {
		err = writePid(f)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", d.path, err), f.Close())
	}
	if d.lock.f != nil {
		d.lock.f.Close()
	}
	d.lock.f, d.lock.id, d.lock.warned = f, inodeOf(&st), false
	return nil
}

// checkLock sees to it that LOCK is the file that this writer has locked. If it was removed or
// replaced, and nobody has locked what is there now, it is locked again.
func (d *Directory) checkLock() error {
	d.lock.mu.Lock()
	defer d.lock.mu.Unlock()
	if !d.lock.held {
		return nil
	}
	var st unix.Stat_t
	err := unix.Fstatat(d.fd(), LockName, &st, unix.AT_SYMLINK_NOFOLLOW)
	if d.lock.f != nil && err == nil && inodeOf(&st) == d.lock.id || d.lock.warned {
		return nil
	}
	if d.lock.f != nil {
		d.warn(d.lockPath() + ": it was removed or replaced while the journal is open; it must " +
			"stay where it is. The directory's own lock has kept other writers out")
	}
	err = d.lockFileLocked()
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("%w: another writer has %s", ErrReplaced, LockName)
	}
	if err != nil {
		d.lock.warned = true
		d.warn(err.Error() + "; the directory's own lock is held alone")
	}
	return nil
}

// lockError says what can be done where files cannot be locked.
func lockError(path string, err error) error {
	return fmt.Errorf("flock %s: %w (without locks two writers would destroy the journal; "+
		"use another file system, or set Options.Unlocked and keep other writers away yourself)",
		path, err)
}

// writePid leaves the process id for whoever finds the journal locked. A full disk is no reason
// not to open the journal.
func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	if isFull(err) {
		return nil
	}
	return err
}

func holder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return "process " + pid
	}
	return "another process"
}

// flock is flock(2) without waiting.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
