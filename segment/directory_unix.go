//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Directory is an open directory of the operating system, as an [FS]. Every operation goes through
// its descriptor, and follows no symbolic link.
type Directory struct {
	path string // as it was given; what errors name
	f    *os.File
	opts DirOptions
	own  attributes // of new files where there is no JOURNAL

	adorned atomic.Bool // it was said that new files do not get them

	// Where the directory was when it was opened: its path without links, "" if that is not known,
	// and its parent.
	resolved string
	id       inode
	parent   inode

	lock writerLock
	seen seenTime
}

// seenTime lets most calls of Check do with one stat. Names that are made or removed in a directory
// change its status time (POSIX.1-2024, open, rename, unlink), and so does its own renaming on
// Linux; what they leave as it is, such as a mount over LOCK, waits for fullCheckEvery.
type seenTime struct {
	mu    sync.Mutex
	ctime unix.Timespec
	since time.Time // when the directory was first seen with that time
	full  time.Time // when the latest full check began, if it has found the same time
}

const (
	// timeStep is more than what the clocks of file systems advance by: where a time of status has
	// been the same for so long, the next change has another one. ext4 with small inodes: 1 s.
	timeStep = 2 * time.Second
	// fullCheckEvery is how long a full check stands for the next ones.
	fullCheckEvery = time.Second
)

// inode identifies a file of the system.
type inode struct {
	dev, ino uint64
}

// attributes are what a new file gets.
type attributes struct {
	mode     uint32
	uid, gid int // -1: those of the process
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // the types differ by system
}

// OpenDir opens the directory at path.
func OpenDir(path string, o DirOptions) (*Directory, error) {
	fd, err := openRetry(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open directory", Path: path, Err: err}
	}
	d := &Directory{path: filepath.Clean(path), f: os.NewFile(uintptr(fd), path), opts: o}
	if err := d.locate(); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open directory", Path: path, Err: err}, d.f.Close())
	}
	d.own = d.defaults()
	d.own = d.attributes()
	return d, nil
}

// locate notes which directory this is, and where. If its path cannot be found out, or leads to
// another directory already, Check does not ask where it leads.
func (d *Directory) locate() error {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(d.fd(), &st) }); err != nil {
		return err
	}
	d.id = inodeOf(&st)
	path, err := filepath.Abs(d.path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil
	}
	// The working directory may have changed since the directory was opened.
	id, err := inodeAt(unix.AT_FDCWD, path)
	if err != nil || id != d.id {
		return nil
	}
	if d.parent, err = inodeAt(unix.AT_FDCWD, filepath.Dir(path)); err == nil {
		d.resolved = path
	}
	return nil
}

// inodeAt returns which file a path leads to.
func inodeAt(dir int, path string) (inode, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(dir, path, &st, 0) }); err != nil {
		return inode{}, err
	}
	return inodeOf(&st), nil
}

// defaults returns what new files get where there is no JOURNAL: the mode of the options, and for
// root the directory's owner.
func (d *Directory) defaults() attributes {
	a := attributes{mode: 0o600, uid: -1, gid: -1}
	if d.opts.Mode != 0 {
		a.mode = uint32(d.opts.Mode.Perm()) & 0o666
	}
	var dir unix.Stat_t
	err := retry(func() error { return unix.Fstat(d.fd(), &dir) })
	if err == nil && unix.Geteuid() == 0 {
		a.uid, a.gid = int(dir.Uid), int(dir.Gid)
	}
	return a
}

// attributes returns what new files get: what JOURNAL has now, since an operator may change that
// while the journal is open; or, if it is missing, what it had at Open. A user who may write to
// the directory, but does not own it, may have given a file of another owner the name JOURNAL: one
// that has other names, too, counts only if its owner is the directory's, or if it is what such a
// file must be: a snapshot by hard links gives it another name, too.
func (d *Directory) attributes() attributes {
	var dir, st unix.Stat_t
	err := retry(func() error { return unix.Fstat(d.fd(), &dir) })
	if err == nil {
		err = retry(func() error {
			return unix.Fstatat(d.fd(), JournalName, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
	}
	if err != nil || !isRegular(&st) || st.Nlink > 1 && st.Uid != dir.Uid && !d.hasJournal(&st) {
		return d.own
	}
	//nolint:unconvert // the types differ by system
	return attributes{mode: uint32(st.Mode) & 0o666, uid: int(st.Uid), gid: int(st.Gid)}
}

// hasJournal reports whether the file JOURNAL is the one that st describes, and can be decoded.
func (d *Directory) hasJournal(st *unix.Stat_t) bool {
	fd, err := openRetry(d.fd(), JournalName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), JournalName)
	defer f.Close()
	var now unix.Stat_t
	err = retry(func() error { return unix.Fstat(fd, &now) })
	if err != nil || inodeOf(&now) != inodeOf(st) {
		return false
	}
	b := make([]byte, journalSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	_, _, err = DecodeJournalFile(b[:n])
	return err == nil
}

func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// fd returns the descriptor, in no way that changes its state.
func (d *Directory) fd() int { return int(d.f.Fd()) }

// Path returns the path that the directory was opened by.
func (d *Directory) Path() string { return d.path }

// Close releases the lock and the descriptor.
func (d *Directory) Close() error { return errors.Join(d.unlock(), d.f.Close()) }

// Check implements FS. The directory counts as replaced if its parent has another directory under
// its name, or if something is mounted over it. It does not count as replaced if it was moved, or
// if its path can no longer be followed. Check also verifies the lock: see [Directory.Lock].
func (d *Directory) Check() error {
	now := time.Now()
	leads, unchanged := d.look(now)
	if unchanged {
		return nil
	}
	var err error
	if !leads {
		err = d.checkPlace()
	}
	if err == nil {
		err = d.checkLock()
	}
	if err == nil {
		d.seen.mu.Lock()
		d.seen.full = now
		d.seen.mu.Unlock()
	}
	return err
}

// look reports whether the path leads to the directory, and whether that is as a full check has
// found it, so that no other one is needed.
func (d *Directory) look(now time.Time) (leads, unchanged bool) {
	if d.resolved == "" {
		return false, false
	}
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(unix.AT_FDCWD, d.resolved, &st, 0) })
	if err != nil || inodeOf(&st) != d.id {
		return false, false
	}
	d.seen.mu.Lock()
	defer d.seen.mu.Unlock()
	if st.Ctim != d.seen.ctime {
		d.seen.ctime, d.seen.since, d.seen.full = st.Ctim, now, time.Time{}
	}
	return true, now.Sub(d.seen.since) >= timeStep && now.Sub(d.seen.full) < fullCheckEvery
}

// checkPlace returns ErrReplaced if the directory was removed or replaced. Its path does not lead
// to it.
func (d *Directory) checkPlace() error {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(d.fd(), &st) })
	switch {
	case err == nil && st.Nlink == 0, errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s: %w: it was removed", d.path, ErrReplaced)
	case err != nil:
		return &fs.PathError{Op: "stat", Path: d.path, Err: err}
	case d.replaced():
		return fmt.Errorf("%s: %w: its path leads to another directory now", d.path, ErrReplaced)
	}
	return nil
}

// replaced reports whether the directory's parent has another one under its name. A path that leads
// elsewhere is not enough: it may lead through another parent by now.
func (d *Directory) replaced() bool {
	if d.resolved == "" {
		return false
	}
	if _, err := inodeAt(unix.AT_FDCWD, d.resolved); err != nil {
		return false
	}
	parent, err := openRetry(unix.AT_FDCWD, filepath.Dir(d.resolved), lookup|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(parent)
	if id, err := inodeAt(parent, "."); err != nil || id != d.parent {
		return false
	}
	id, err := inodeAt(parent, filepath.Base(d.resolved))
	return err == nil && id != d.id
}

// name returns the name in this directory that a path stands for.
func (d *Directory) name(op, path string) (string, error) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	if dir != d.path || name == "." || name == ".." || name == string(filepath.Separator) {
		return "", &fs.PathError{Op: op, Path: path, Err: fs.ErrInvalid}
	}
	return name, nil
}

// listTries is how often a directory may change while it is listed.
const listTries = 20

// ReadDir implements [FS]. The system reads a directory piece by piece: while a writer makes one
// file and removes another, a list may have neither. So a list counts if the names are the same
// before and after, unless they never are.
func (d *Directory) ReadDir(dir string) (list []fs.DirEntry, err error) {
	if filepath.Clean(dir) != d.path {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrInvalid}
	}
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	for range listTries {
		if list, err = d.entries(names); err != nil {
			return nil, err
		}
		now, err := d.names()
		if err != nil {
			return nil, err
		}
		if len(list) == len(names) && slices.Equal(now, names) {
			break
		}
		names = now
	}
	return list, nil
}

// names returns the names in the directory, sorted.
func (d *Directory) names() ([]string, error) {
	fd, err := openRetry(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: d.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.path)
	names, err := readNames(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// readNames reads the names of a directory; tests change the directory meanwhile.
var readNames = func(f *os.File) ([]string, error) { return f.Readdirnames(-1) }

// entries returns what kind of file each name has, if it is there still.
func (d *Directory) entries(names []string) ([]fs.DirEntry, error) {
	list := make([]fs.DirEntry, 0, len(names))
	for _, name := range names {
		var st unix.Stat_t
		err := retry(func() error {
			return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
		if errors.Is(err, unix.ENOENT) {
			continue // removed since
		}
		if err != nil {
			return nil, &fs.PathError{Op: "stat", Path: filepath.Join(d.path, name), Err: err}
		}
		list = append(list, dirEntry{name, fileType(uint32(st.Mode))}) //nolint:unconvert // differs
	}
	return list, nil
}

// dirEntry is a name and what kind of file it has. What else there is to know is not asked for.
type dirEntry struct {
	name string
	kind fs.FileMode
}

func (e dirEntry) Name() string               { return e.name }
func (e dirEntry) IsDir() bool                { return e.kind.IsDir() }
func (e dirEntry) Type() fs.FileMode          { return e.kind }
func (e dirEntry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func fileType(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	}
	return fs.ModeIrregular
}

// Open implements [FS].
func (d *Directory) Open(path string, mode OpenMode) (File, error) {
	name, err := d.name("open", path)
	if err != nil {
		return nil, err
	}
	f, err := d.open(name, path, mode)
	if err != nil {
		return nil, err
	}
	return newFile(f, d, path), nil
}

func (d *Directory) open(name, path string, mode OpenMode) (*os.File, error) {
	flags := unix.O_RDONLY
	switch mode {
	case ReadWrite:
		flags = unix.O_RDWR
	case Create:
		flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	}
	fd, err := openRetry(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		if !errors.Is(err, fs.ErrExist) && d.irregular(name) { // a link is ELOOP, on FreeBSD EMLINK
			err = ErrNotRegular
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	err = retry(func() error { return unix.Fstat(fd, &st) })
	if err == nil && !isRegular(&st) { // O_NONBLOCK: a FIFO must not block
		err = ErrNotRegular
	}
	if err == nil && mode == Create {
		d.adorn(f, &st)
	}
	if err == nil && isSegmentPath(name) {
		err = d.share(f, name, inodeOf(&st))
	}
	if err == nil {
		return f, nil
	}
	err = errors.Join(&fs.PathError{Op: "open", Path: path, Err: err}, f.Close())
	if mode == Create {
		err = errors.Join(err, unix.Unlinkat(d.fd(), name, 0))
	}
	return nil, err
}

// links returns how many names a file has that should have one in this directory: 0 if that is gone
// or leads to another file. known is false if the name cannot be looked up, as without permission.
func (d *Directory) links(name string, ino uint64) (n int, known bool) {
	n, now, err := linksAt(d.fd(), name)
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && now != ino:
		return 0, true
	}
	return n, err == nil
}

// links returns how many names an open file has, and the number of its inode.
func links(f *os.File) (n int, ino uint64, err error) {
	n, ino, err = linksAt(int(f.Fd()), "")
	return n, ino, pathError("stat", f, err)
}

// irregular reports whether a name leads to something else than a regular file.
func (d *Directory) irregular(name string) bool {
	var st unix.Stat_t
	return retry(func() error {
		return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}) == nil && !isRegular(&st)
}

// adorn gives a new file its owner, then its mode: in this order nobody sees more than they may.
// Where that is not allowed, or the file system has no owners or modes, the file keeps what it has.
func (d *Directory) adorn(f *os.File, st *unix.Stat_t) {
	fd, own, warning := int(f.Fd()), d.attributes(), ""
	if own.uid >= 0 && (int(st.Uid) != own.uid || int(st.Gid) != own.gid) {
		err := retry(func() error { return unix.Fchown(fd, own.uid, own.gid) })
		if err != nil {
			warning = "owner that JOURNAL has: " + err.Error()
			err = retry(func() error { return unix.Fchown(fd, -1, own.gid) })
		}
		if err != nil {
			own.mode &^= 0o060 // it would be another group's
		}
	}
	if err := retry(func() error { return unix.Fchmod(fd, own.mode) }); err != nil {
		warning = "mode that JOURNAL has: " + err.Error()
	}
	if warning != "" && !d.adorned.Swap(true) {
		d.warn(f.Name() + ": new files do not get the " + warning)
	}
}

// share takes the shared lock on a segment's file that was opened by a name. If somebody has the
// file to himself, it is the writer, who takes it away from its name before that, and gives it a
// new one when the lock is gone; or it is somebody else, who has locked it where it is. When the
// lock is held, the name may lead to another file: this one has been recycled since.
func (d *Directory) share(f *os.File, name string, id inode) error {
	ok, err := share(f)
	if err != nil && !d.opts.Unlocked {
		return fmt.Errorf("%w (without a lock on it the writer may write over the file while it is "+
			"read; use another file system, or set Options.Unlocked and leave Options.Spares 0)", err)
	}
	ok = ok || err != nil
	var st unix.Stat_t
	err = retry(func() error {
		return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	here := err == nil && inodeOf(&st) == id
	switch {
	case !here:
		return errRecycled
	case !ok:
		return ErrFileLocked
	}
	return nil
}

// Rename implements [FS].
func (d *Directory) Rename(oldPath, newPath string) error {
	from, err := d.name("rename", oldPath)
	if err != nil {
		return err
	}
	to, err := d.name("rename", newPath)
	if err != nil {
		return err
	}
	if err := unix.Renameat(d.fd(), from, d.fd(), to); err != nil {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: err}
	}
	return nil
}

// Remove implements [FS].
func (d *Directory) Remove(path string) error {
	name, err := d.name("remove", path)
	if err != nil {
		return err
	}
	if err := unix.Unlinkat(d.fd(), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// SyncDir implements [FS].
func (d *Directory) SyncDir(dir string) error {
	if filepath.Clean(dir) != d.path {
		return &fs.PathError{Op: "sync", Path: dir, Err: fs.ErrInvalid}
	}
	err := syncDir(d.f)
	if cannotSync(err) && d.opts.NoDirSync {
		return nil
	}
	if cannotSync(err) {
		return fmt.Errorf("%w (this file system cannot sync directories, so a power cut may take "+
			"segments away; Options.NoDirSync accepts that)", err)
	}
	return err
}

func (d *Directory) warn(text string) {
	if d.opts.Warn != nil {
		d.opts.Warn(text)
	}
}

// openRetry is openat(2) with close-on-exec.
func openRetry(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal has interrupted, as file systems that wait for somebody
// let it.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
