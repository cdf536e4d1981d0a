//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mmjournal/internal/testutil/nobody"
)

// TestOpenFollowsNothing: a name that is a symbolic link is an error, whatever it leads to, and
// what it leads to stays as it is.
func TestOpenFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, FileName(1)), filepath.Join(dir, FileName(2))
	if err := os.WriteFile(target, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ := openDirectory(t, dir, DirOptions{})
	for _, to := range []string{target, FileName(1), "none", dir, FileName(2)} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []OpenMode{ReadOnly, ReadWrite, Create} {
			if f, err := d.Open(link, mode); err == nil {
				t.Errorf("a link to %s is opened: %v", to, f.Close())
			}
		}
		if err := d.Remove(link); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "content" {
		t.Errorf("the file that the links led to: %q, %v", b, err)
	}
}

// TestDirectoryNames: only names in the directory are taken, whatever the path is made of.
func TestDirectoryNames(t *testing.T) {
	dir := t.TempDir()
	d, _ := openDirectory(t, dir+"/./", DirOptions{})
	for _, path := range []string{
		"", ".", "f", dir, dir + "/..", dir + "/a/b", dir + "/../f", filepath.Dir(dir) + "/f", "/f",
	} {
		_, openErr := d.Open(path, Create)
		for _, err := range []error{
			openErr, d.Remove(path), d.Rename(path, dir+"/f"), d.Rename(dir+"/f", path),
		} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%q: %v", path, err)
			}
		}
	}
	if _, err := d.ReadDir(filepath.Dir(dir)); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("list of another directory: %v", err)
	}
	if err := d.SyncDir(filepath.Dir(dir)); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("sync of another directory: %v", err)
	}
}

// TestLocate: a directory that is not found under its path when it is looked for, because the
// working directory has changed since, is not taken for one that was replaced.
func TestLocate(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.MkdirAll("a/wal", 0o700), os.MkdirAll("b/wal", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir("a"); err != nil {
		t.Fatal(err)
	}
	d, _ := openDirectory(t, "wal", DirOptions{})
	for _, dir := range []string{"../b", ".."} {
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		d.resolved, d.parent = "", inode{}
		if err := errors.Join(d.locate(), d.Check()); err != nil {
			t.Errorf("in %s: %v", dir, err)
		}
	}
	if err := os.RemoveAll("a"); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); !errors.Is(err, ErrReplaced) {
		t.Errorf("removed: %v", err)
	}
}

// TestCheckOnce: a full check stands for the next ones as long as the directory's time of status is
// the same, and for no longer than fullCheckEvery; not while its clock may have stood still.
func TestCheckOnce(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name        string
		sameTime    bool
		since, full time.Duration // before now: a busy machine changes nothing
		notices     bool
	}{
		{"another time", false, time.Hour, -time.Hour, true},
		{"the same time, a recent full check", true, time.Hour, -time.Hour, false},
		{"the same time, not for long", true, -time.Hour, -time.Hour, true},
		{"the same time, no recent full check", true, time.Hour, fullCheckEvery, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			d, _ := lockedDirectory(t, dir)
			lock := filepath.Join(dir, LockName)
			var st unix.Stat_t
			if err := errors.Join(os.Remove(lock), unix.Stat(dir, &st)); err != nil {
				t.Fatal(err)
			}
			if !c.sameTime {
				st.Ctim.Nsec ^= 1
			}
			d.seen.ctime, d.seen.since, d.seen.full = st.Ctim, now.Add(-c.since), now.Add(-c.full)
			if err := d.Check(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(lock); (err == nil) != c.notices {
				t.Errorf("was it noticed that LOCK is missing? %v", err == nil)
			}
		})
	}
}

// TestReplaced: a path that leads to another directory means something only if it leads there from
// the same parent.
func TestReplaced(t *testing.T) {
	for _, c := range []struct {
		name     string
		replaced bool
		change   func(dir string) error // of dir/a/b
	}{
		{"renamed", false, func(dir string) error { return os.Rename(dir+"/a/b", dir+"/c") }},
		{"renamed, and a link left", false, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Symlink("../c", dir+"/a/b"))
		}},
		{"parent renamed", false, func(dir string) error { return os.Rename(dir+"/a", dir+"/c") }},
		{"another parent", false, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a", dir+"/c"), os.MkdirAll(dir+"/a/b", 0o700))
		}},
		{"parent a link", false, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a", dir+"/c"), os.MkdirAll(dir+"/d/b", 0o700),
				os.Symlink("d", dir+"/a"))
		}},
		{"recreated", true, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Mkdir(dir+"/a/b", 0o700))
		}},
		{"a file", true, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.WriteFile(dir+"/a/b", nil, 0o600))
		}},
		{"a link to another", true, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Symlink(dir, dir+"/a/b"))
		}},
		{"a link to nothing", false, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Symlink("none", dir+"/a/b"))
		}},
		{"removed", true, func(dir string) error { return os.Remove(dir + "/a/b") }},
		{"parent removed", true, func(dir string) error { return os.RemoveAll(dir + "/a") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(dir+"/a/b", 0o700); err != nil {
				t.Fatal(err)
			}
			d, _ := openDirectory(t, dir+"/a/b", DirOptions{})
			if err := d.Check(); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			before := openDescriptors(t)
			if err := d.Check(); errors.Is(err, ErrReplaced) != c.replaced || err != nil != c.replaced {
				t.Errorf("Check: %v", err)
			}
			if n := openDescriptors(t); n != before {
				t.Errorf("%d descriptors, %d before", n, before)
			}
		})
	}
}

// TestAttributes: new files have mode, owner and group of JOURNAL, and never those of a file that
// somebody has only given that name.
func TestAttributes(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, c := range []struct {
		name     string
		root     bool
		o        DirOptions
		dirOwner int                     // -1: the process
		journal  func(path string) error // makes JOURNAL
		want     string
	}{
		{"new", false, DirOptions{}, -1, nil, "0600 own"},
		{"new, with a mode", false, DirOptions{Mode: 0o660}, -1, nil, "0660 own"},
		{"new, nothing is run", false, DirOptions{Mode: 0o777}, -1, nil, "0666 own"},
		{"new, in nobody's directory", true, DirOptions{Mode: 0o640}, nobody.ID, nil, "0640 nobody"},
		{"nobody's", true, DirOptions{Mode: 0o600}, -1, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o2750),
				os.Chown(path, nobody.ID, nobody.ID))
		}, "0640 nobody"},
		{"with a second name", false, DirOptions{}, -1, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o644),
				os.Link(path, path+".link"))
		}, "0644 own"},
		{"with a second name, of another owner", true, DirOptions{}, -1, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666),
				os.Chown(path, nobody.ID, nobody.ID), os.Link(path, path+".link"))
		}, "0600 own"},
		{"a journal's, with a second name, of another owner", true, DirOptions{}, -1,
			func(path string) error {
				j := JournalFile{Journal: testJournal, Generation: 1, Created: testTime}
				return errors.Join(os.WriteFile(path, twice(j), 0o600), os.Chmod(path, 0o640),
					os.Chown(path, nobody.ID, nobody.ID), os.Link(path, path+".link"))
			}, "0640 nobody"},
		{"a link", true, DirOptions{}, -1, func(path string) error {
			return errors.Join(os.WriteFile(path+".x", nil, 0o600), os.Chmod(path+".x", 0o666),
				os.Chown(path+".x", nobody.ID, nobody.ID), os.Symlink(path+".x", path))
		}, "0600 own"},
	} {
		if c.root && os.Geteuid() != 0 {
			t.Logf("%s: needs root", c.name)
			continue
		}
		dir := t.TempDir()
		if c.dirOwner >= 0 {
			if err := os.Chown(dir, c.dirOwner, c.dirOwner); err != nil {
				t.Fatal(err)
			}
		}
		if c.journal != nil {
			if err := c.journal(filepath.Join(dir, JournalName)); err != nil {
				t.Fatal(err)
			}
		}
		d, warnings := openDirectory(t, dir, c.o)
		if err := d.Lock(); err != nil {
			t.Fatal(err)
		}
		f, err := d.Open(filepath.Join(dir, "new"), Create)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"new", LockName} {
			fi, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			owner, st := "own", fi.Sys().(*syscall.Stat_t)
			if st.Uid == nobody.ID && st.Gid == nobody.ID {
				owner = "nobody"
			}
			if got := fmt.Sprintf("%04o %s", fi.Mode().Perm(), owner); got != c.want {
				t.Errorf("%s: %s has %s, want %s", c.name, name, got, c.want)
			}
		}
		if len(*warnings) > 0 {
			t.Errorf("%s: warnings %q", c.name, *warnings)
		}
	}
}

// TestAdornRefused: a process that may not give files away keeps them, does not open them to
// another group, and warns of that once.
func TestAdornRefused(t *testing.T) {
	if nobody.Demote(t) { // root may give files away
		return
	}
	dir := t.TempDir()
	d, warnings := openDirectory(t, dir, DirOptions{})
	d.own = attributes{mode: 0o664, uid: 1, gid: 1}
	for _, name := range []string{"a", "b"} {
		f, err := d.Open(filepath.Join(dir, name), Create)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != 0o604 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
	if len(*warnings) != 1 {
		t.Errorf("warnings %q", *warnings)
	}
}

// TestNoDirSync: what cannot be synced is an error that says what to do, and with the option none.
// Real failures are errors in any case.
func TestNoDirSync(t *testing.T) {
	r, w, err := os.Pipe() // what fsync(2) gives EINVAL for
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	d := &Directory{path: "d", f: r}
	err = d.SyncDir("d")
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "Options.NoDirSync") {
		t.Errorf("no option: %v", err)
	}
	d.opts.NoDirSync = true
	if err := d.SyncDir("d"); err != nil {
		t.Errorf("with the option: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.SyncDir("d"); err == nil {
		t.Error("with the option, any failure is none")
	}
}

// TestReadDirWhileChanging: a writer makes a file, and then removes the one before it, while the
// directory is listed: before the names are read, or after that. One of the files is always there,
// so the list has one.
func TestReadDirWhileChanging(t *testing.T) {
	defer func(read func(*os.File) ([]string, error)) { readNames = read }(readNames)
	for _, changes := range []int{1, 2, 5, 1000} {
		dir := t.TempDir()
		d, _ := openDirectory(t, dir, DirOptions{})
		name := func(n int) string { return filepath.Join(dir, FileName(uint64(n))) }
		n, read := 1, readNames
		if err := os.WriteFile(name(n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		readNames = func(f *os.File) ([]string, error) {
			names, err := read(f)
			if n <= changes {
				n++
				err = errors.Join(err, os.WriteFile(name(n), nil, 0o600), os.Remove(name(n-1)))
			}
			return names, err
		}
		list, err := d.ReadDir(dir)
		readNames = read
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 && changes < listTries {
			t.Errorf("%d changes: %d files", changes, len(list))
		}
	}
}
