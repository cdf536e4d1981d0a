//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Two locks exclude a second writer, flock(2) both. The one on the directory itself cannot be
// removed or replaced: as long as it is held, no other process of this machine writes here. The one
// on the file LOCK also holds between machines, where the file system passes locks on, and it says
// who has it. If LOCK is removed, the writer makes another one and goes on.

// busyWait is how long a directory may be locked while LOCK is not: programs that clean up old
// files lock each directory that they look into for a moment (systemd-tmpfiles).
const (
	busyWait = 200 * time.Millisecond
	busyStep = 10 * time.Millisecond
)

// writerLock is the lock of the one writer: see [Directory.Lock].
type writerLock struct {
	mu     sync.Mutex
	held   bool
	f      *os.File // LOCK; nil if there was no space for it
	id     inode    // of f
	warned bool     // that LOCK is not as it should be
}

// Lock takes the writer's lock, or fails with ErrLocked. The lock ends with Close, or with the
// process, however the process ends. A child process that has inherited the descriptors keeps the
// lock.
func (d *Directory) Lock() error {
	if d.opts.Unlocked {
		return nil
	}
	for end := time.Now().Add(busyWait); ; time.Sleep(busyStep) {
		err := flock(d.f, unix.LOCK_EX)
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
	if err := d.lockFileLocked(); err != nil {
		return errors.Join(err, flock(d.f, unix.LOCK_UN))
	}
	d.lock.held = true
	return nil
}

// unlock gives up LOCK; the directory's lock ends with its descriptor.
func (d *Directory) unlock() error {
	d.lock.mu.Lock()
	defer d.lock.mu.Unlock()
	d.lock.held = false
	return d.dropLocked()
}

// dropLocked closes LOCK.
func (d *Directory) dropLocked() error {
	f := d.lock.f
	d.lock.f = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// probe reports whether a writer has LOCK, and who it is. It asks for a shared lock, which excludes
// nobody else who probes.
func (d *Directory) probe() (who string, held bool) {
	f, err := d.open(LockName, d.lockPath(), ReadWrite)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_SH); errors.Is(err, unix.EWOULDBLOCK) {
		return holder(f), true
	}
	return "", false
}

func (d *Directory) lockPath() string { return filepath.Join(d.path, LockName) }

// lockTries is how often LOCK may be replaced while it is being locked.
const lockTries = 10

// lockFileLocked opens or makes LOCK, and locks it. The directory is locked. A disk without room
// for LOCK is no reason not to open the journal.
func (d *Directory) lockFileLocked() (err error) {
	for range lockTries {
		var f *os.File
		f, err = d.openLock()
		switch {
		case isFull(err) && !lockIsLocal(d.f):
			d.warnLocked("no space for the file", err)
			return nil
		case errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist): // now, not before
			continue
		case err != nil:
			return fmt.Errorf("lock %s: %w", d.path, err)
		}
		if err = d.takeLocked(f); err == nil {
			return nil
		}
		_ = f.Close()
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return fmt.Errorf("lock %s: %s is replaced again and again: %w", d.path, LockName, err)
}

// openLock opens LOCK, or makes it. Where it is the file of another journal, too, which this one
// was copied from by hard links, or the other way round, it makes another one: a writer of each
// journal locks its own.
func (d *Directory) openLock() (*os.File, error) {
	f, err := d.open(LockName, d.lockPath(), ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return d.open(LockName, d.lockPath(), Create)
	}
	if err != nil {
		return nil, err
	}
	n, _, err := links(f)
	if err != nil || n <= 1 {
		return f, nil // on some file systems the number says nothing
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	const tmp = LockName + TempSuffix
	_ = unix.Unlinkat(d.fd(), tmp, 0) // what an earlier process has left
	f, err = d.open(tmp, filepath.Join(d.path, tmp), Create)
	if err != nil {
		return nil, err
	}
	if err := unix.Renameat(d.fd(), tmp, d.fd(), LockName); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "rename", Path: f.Name(), Err: err}, f.Close(),
			unix.Unlinkat(d.fd(), tmp, 0))
	}
	return f, nil
}

var errMoved = errors.New("it has another name now")

// takeLocked locks f and notes that it is LOCK, with the process id in it. The error is errMoved if
// it is not LOCK any more.
func (d *Directory) takeLocked(f *os.File) error {
	err := flockSoon(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w by %s", d.path, ErrLocked, holder(f))
	}
	if err != nil {
		return lockError(d.lockPath(), err)
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	switch id, err := d.lockInode(); {
	case err != nil:
		return fmt.Errorf("lock %s: %w", d.path, err)
	case id != inodeOf(&st):
		return errMoved
	}
	if err := writePid(f); err != nil {
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	_ = d.dropLocked() // nothing was written to it
	d.lock.f, d.lock.id, d.lock.warned = f, inodeOf(&st), false
	return nil
}

// lockInode returns which file LOCK is; the zero value if there is none.
func (d *Directory) lockInode() (inode, error) {
	var st unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(d.fd(), LockName, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return inode{}, nil
	case err != nil:
		return inode{}, &fs.PathError{Op: "stat", Path: d.lockPath(), Err: err}
	}
	return inodeOf(&st), nil
}

// warnLocked says once that LOCK is not as it should be.
func (d *Directory) warnLocked(what string, err error) {
	if !d.lock.warned {
		d.warn(fmt.Sprintf("%s: %s (%v); the directory's own lock is held alone",
			d.lockPath(), what, err))
	}
	d.lock.warned = true
}

// checkLock sees to it that LOCK is the file that this writer has locked. If it was removed or
// replaced, and no writer has locked what is there now, it is locked again. Where other machines do
// not see the directory's lock, another writer may have come in between. If LOCK cannot be checked,
// because permission is missing for a while, nothing is known to be wrong.
func (d *Directory) checkLock() error {
	d.lock.mu.Lock()
	defer d.lock.mu.Unlock()
	if !d.lock.held {
		return nil
	}
	if d.lock.f != nil {
		if id, err := d.lockInode(); err != nil || id == d.lock.id {
			return nil
		}
	}
	if d.lock.f != nil && lockIsLocal(d.f) {
		return fmt.Errorf("%s: %w: %s was removed or replaced, and here another machine does not see "+
			"the directory's own lock", d.path, ErrReplaced, LockName)
	}
	if d.lock.f != nil && !d.lock.warned {
		d.warn(d.lockPath() + ": it was removed or replaced while the journal is open; it must " +
			"stay where it is. The directory's own lock has kept other writers out")
	}
	err := d.lockFileLocked()
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("%s: %w: another writer has %s", d.path, ErrReplaced, LockName)
	}
	if err != nil {
		d.warnLocked("it is not locked", err)
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

// flockSoon takes the exclusive lock; whoever probes has a shared one for a moment.
func flockSoon(f *os.File) error {
	for end := time.Now().Add(busyWait); ; time.Sleep(busyStep) {
		err := flock(f, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// flock is flock(2) without waiting.
func flock(f *os.File, how int) error {
	return retry(func() error { return flockCall(int(f.Fd()), how|unix.LOCK_NB) })
}

// flockCall is flock(2); tests make it fail.
var flockCall = unix.Flock
