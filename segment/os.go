package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// OS is the operating system's file system. Files are created with mode 0600, directories with
// 0700.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errNotDir}
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := (osFS{}).MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osFS{}.SyncDir(parent)
}

var (
	errNotDir     = errors.New("not a directory")
	errNotRegular = errors.New("not a regular file")
	errRecycled   = fmt.Errorf("%w any more: it is being recycled", fs.ErrNotExist)
)

func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

func (osFS) Open(path string, mode OpenMode) (File, error) {
	flag := os.O_RDONLY
	switch mode {
	case ReadWrite:
		flag = os.O_RDWR
	case Create:
		flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, 0o600) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err == nil && isSegmentPath(path) {
		err = shareOpened(f, fi, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{f}, nil
}

// shareOpened takes the shared lock on a file that was opened by a name. If somebody has the file
// to himself, it is the writer, who takes it away from its name before that, and gives it a new one
// when the lock is gone; or it is somebody else, who has locked it where it is.
func shareOpened(f *os.File, fi fs.FileInfo, path string) error {
	ok, err := share(f)
	if err == nil && !ok {
		err = errRecycled
		if now, statErr := os.Stat(path); statErr == nil && os.SameFile(fi, now) {
			err = ErrFileLocked
		}
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// isSegmentPath reports whether the name is a segment's, or one that a segment's file may have for
// a time.
func isSegmentPath(path string) bool {
	_, ok := ParseFileName(strings.TrimSuffix(filepath.Base(path), TempSuffix))
	return ok
}

func (osFS) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

// osFile is an *os.File with the calls that package os does not have.
type osFile struct{ *os.File }

// Size asks for the end of the file, which nothing here reads or writes at. A stat would make the
// next store through a mapping change the file's times, which costs the next sync a write.
func (f *osFile) Size() (int64, error) { return f.Seek(0, io.SeekEnd) }

func (f *osFile) Allocate(size int64) error { return allocate(f.File, size) }
func (f *osFile) Datasync() error           { return datasync(f.File) }
func (f *osFile) DatasyncRange(m *Mapping, from, to Offset) error {
	return datasyncRange(f.File, m, from, to)
}

func (f *osFile) Zero(from, to int64) (done bool) { return zeroRange(f.File, from, to) }

func (f *osFile) Sole() bool  { return sole(f.File) }
func (f *osFile) Sync() error { return fullsync(f.File) }
func (f *osFile) Uncache()    { uncache(f.File) }

func (f *osFile) NextData(off int64) (from, to int64) { return nextData(f.File, off) }

func (f *osFile) Map(size int64, mode OpenMode) (*Mapping, error) {
	return mapFile(f.File, size, mode)
}

func errUnsupported(op string) error {
	return &os.SyscallError{Syscall: op, Err: errors.ErrUnsupported}
}

func pathError(op string, f *os.File, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}
