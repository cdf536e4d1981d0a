//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// failFlock makes calls of flock(2) fail as fail says.
func failFlock(t *testing.T, fail func(fd, how int) error) {
	t.Helper()
	t.Cleanup(func() { flockCall = unix.Flock })
	flockCall = func(fd, how int) error {
		if err := fail(fd, how); err != nil {
			return err
		}
		return unix.Flock(fd, how)
	}
}

// openDirectory opens a directory until the end of the test. It keeps what it warns of in warnings.
func openDirectory(t *testing.T, dir string, o DirOptions) (d *Directory, warnings *[]string) {
	t.Helper()
	warnings = new([]string)
	o.Warn = func(text string) { *warnings = append(*warnings, text) }
	d, err := OpenDir(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, warnings
}

// lockedDirectory is openDirectory with the writer's lock.
func lockedDirectory(t *testing.T, dir string) (d *Directory, warnings *[]string) {
	t.Helper()
	d, warnings = openDirectory(t, dir, DirOptions{})
	if err := d.Lock(); err != nil {
		t.Fatal(err)
	}
	return d, warnings
}

// lockFile locks a file, or a directory, as another program does.
func lockFile(t *testing.T, path string, how int) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	return f
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

// TestLockUnsupported: where files cannot be locked, the error says what failed on which file, and
// what to do; with Unlocked everything works.
func TestLockUnsupported(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.ENOLCK, unix.EIO, unix.EOPNOTSUPP} {
		for _, first := range []int{0, 1} { // the call that fails, and all after it
			dir := t.TempDir()
			calls := 0
			failFlock(t, func(int, int) error {
				if calls++; calls > first {
					return errno
				}
				return nil
			})
			before := openDescriptors(t)
			d, err := OpenDir(dir, DirOptions{})
			if err != nil {
				t.Fatal(err)
			}
			path := dir
			if first == 1 {
				path = filepath.Join(dir, LockName)
			}
			err = d.Lock()
			for _, text := range []string{"flock", path + ":", "Options.Unlocked"} {
				if !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
					t.Errorf("%v at call %d: %v: no %q in it", errno, first, err, text)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if n := openDescriptors(t); n != before {
				t.Errorf("%v at call %d: %d descriptors, %d before", errno, first, n, before)
			}
			u, _ := openDirectory(t, dir, DirOptions{Unlocked: true})
			if err := errors.Join(u.Lock(), u.Check()); err != nil {
				t.Errorf("%v: unlocked: %v", errno, err)
			}
			f, err := u.Open(filepath.Join(dir, FileName(1)), Create)
			if err != nil {
				t.Fatalf("%v: unlocked: a segment's file: %v", errno, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestShareUnsupported: a file system whose locks fail keeps a reader out, too, who is told what
// failed on which file, and what to do.
func TestShareUnsupported(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux do readers lock files")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, FileName(1))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, errno := range []unix.Errno{unix.ENOLCK, unix.EIO} {
		failFlock(t, func(int, int) error { return errno })
		d, _ := openDirectory(t, dir, DirOptions{})
		before := openDescriptors(t)
		_, err := d.Open(path, ReadOnly)
		for _, text := range []string{"flock", path + ":", "Options.Unlocked"} {
			if !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
				t.Errorf("%v: %v: no %q in it", errno, err, text)
			}
		}
		if n := openDescriptors(t); n != before {
			t.Errorf("%v: %d descriptors, %d before", errno, n, before)
		}
		u, _ := openDirectory(t, dir, DirOptions{Unlocked: true})
		f, err := u.Open(path, ReadOnly)
		if err != nil {
			t.Fatalf("%v: unlocked: %v", errno, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLockInterrupted: a signal in between is no error.
func TestLockInterrupted(t *testing.T) {
	left := 3
	failFlock(t, func(int, int) error {
		if left--; left >= 0 {
			return unix.EINTR
		}
		return nil
	})
	lockedDirectory(t, t.TempDir())
}

// TestLockBusyDirectory: a program that locks the directory for a moment does not matter; one that
// keeps the lock gets an error of its own.
func TestLockBusyDirectory(t *testing.T) {
	dir := t.TempDir()
	left := 3
	failFlock(t, func(int, int) error {
		if left--; left >= 0 {
			return unix.EWOULDBLOCK
		}
		return nil
	})
	d, _ := lockedDirectory(t, dir)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	lockFile(t, dir, unix.LOCK_SH)
	d, _ = openDirectory(t, dir, DirOptions{})
	err := d.Lock()
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "the directory itself") {
		t.Errorf("with the directory locked: %v", err)
	}
}

// TestLockProbed: another process that looks whether LOCK is held does not get in the way, neither
// of who takes the lock nor of who takes it anew, and is not taken for a writer.
func TestLockProbed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, LockName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	probe := func() { // as Directory.probe does, and for one refused call
		f := lockFile(t, path, unix.LOCK_SH)
		refused := 0
		failFlock(t, func(int, int) error {
			if refused++; refused == 3 {
				return f.Close()
			}
			return nil
		})
	}
	probe()
	d, _ := lockedDirectory(t, dir)
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	probe()
	if err := d.Check(); err != nil {
		t.Errorf("with LOCK replaced, and probed: %v", err)
	}
	other, _ := openDirectory(t, dir, DirOptions{})
	if who, held := other.probe(); !held || !strings.HasPrefix(who, "process ") {
		t.Errorf("LOCK is held: %v, by %q", held, who)
	}
}

// TestLockFileReplaced: whatever becomes of LOCK, no second writer comes in, and the first one
// makes it again or locks what is there, and says so once.
func TestLockFileReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, LockName)
	d, warnings := lockedDirectory(t, dir)
	for i, replace := range []func() error{
		func() error { return os.Remove(path) },
		func() error {
			return errors.Join(os.WriteFile(path+".other", nil, 0o600), os.Rename(path+".other", path))
		},
		func() error { return os.Rename(path, path+".old") },
	} {
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		second, _ := openDirectory(t, dir, DirOptions{})
		if err := second.Lock(); !errors.Is(err, ErrLocked) {
			t.Fatalf("%d: a second writer: %v", i, err)
		}
		for range 2 {
			if err := d.Check(); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if len(*warnings) != i+1 || !strings.Contains((*warnings)[i], path) {
			t.Errorf("%d: warnings %q", i, *warnings)
		}
		err := second.Lock()
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "by process ") {
			t.Errorf("%d: a second writer: %v", i, err)
		}
	}
}

// TestLockTaken: another writer has LOCK. The directory's own lock has not kept it out, so this one
// must stop.
func TestLockTaken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, LockName)
	d, _ := lockedDirectory(t, dir)
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("77\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	lockFile(t, path, unix.LOCK_EX)
	for range 2 {
		if err := d.Check(); !errors.Is(err, ErrReplaced) || !strings.Contains(err.Error(), LockName) {
			t.Errorf("another writer has LOCK: %v", err)
		}
	}
}

// TestLockNotAFile: LOCK is nothing that can be locked. Nothing is opened through a link.
func TestLockNotAFile(t *testing.T) {
	for name, replace := range map[string]func(path, journal string) error{
		"link":      func(path, journal string) error { return os.Symlink(journal, path) },
		"directory": func(path, _ string) error { return os.Mkdir(path, 0o700) },
		"FIFO":      func(path, _ string) error { return unix.Mkfifo(path, 0o600) },
	} {
		dir := t.TempDir()
		path, file := filepath.Join(dir, LockName), filepath.Join(dir, JournalName)
		err := errors.Join(os.WriteFile(file, []byte("content"), 0o600), replace(path, file))
		if err != nil {
			t.Fatal(err)
		}
		d, _ := openDirectory(t, dir, DirOptions{})
		before := openDescriptors(t)
		if err := d.Lock(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if n := openDescriptors(t); n != before {
			t.Errorf("%s: %d descriptors, %d before", name, n, before)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := d.Lock(); err != nil {
			t.Errorf("%s, removed: %v", name, err)
		}
		if err := errors.Join(os.Remove(path), replace(path, file)); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Errorf("%s, while the directory is locked: %v", name, err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != "content" {
			t.Errorf("%s: JOURNAL is %q, %v", name, b, err)
		}
	}
}

// TestLockShared: LOCK has a second name, in a copy by hard links. Each directory gets a LOCK of
// its own, whoever comes first, and whether or not the other one is open.
func TestLockShared(t *testing.T) {
	for _, open := range []bool{true, false} {
		dir, copied := t.TempDir(), t.TempDir()
		d, warnings := lockedDirectory(t, dir)
		err := os.Link(filepath.Join(dir, LockName), filepath.Join(copied, LockName))
		if err != nil {
			t.Fatal(err)
		}
		if !open {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d, warnings = lockedDirectory(t, dir) // the original first
		}
		// What a process that was killed here has left.
		left := filepath.Join(copied, LockName+TempSuffix)
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c, _ := lockedDirectory(t, copied)
		if err := errors.Join(d.Check(), c.Check()); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(left); open && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("LOCK.tmp: %v", err)
		}
		for _, dir := range []string{dir, copied} {
			second, _ := openDirectory(t, dir, DirOptions{})
			if err := second.Lock(); !errors.Is(err, ErrLocked) {
				t.Errorf("a second writer: %v", err)
			}
		}
		if len(*warnings) != 0 {
			t.Errorf("warnings %q", *warnings)
		}
	}
}
