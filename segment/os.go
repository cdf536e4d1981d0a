package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// DirOptions say how [OpenDir] treats a directory. The zero value is right for every local file
// system.
type DirOptions struct {
	// Mode is the mode of new files if the directory has no file JOURNAL yet; 0 means 0600.
	// If it has one, new files get the mode, owner and group of JOURNAL.
	Mode fs.FileMode
	// Unlocked makes Lock do nothing, for file systems without flock(2). A second writer is then not
	// detected, and destroys the journal.
	Unlocked bool
	// NoDirSync makes SyncDir report success if the file system cannot sync directories. A power cut
	// may then remove names, and with them whole segments.
	NoDirSync bool
	// Warn, if not nil, gets warnings for the operator, which are not errors.
	Warn func(text string)
}

// CreateDir creates a directory with mode 0700, and its missing parents, and makes the new names
// durable.
func CreateDir(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errNotDir}
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := CreateDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := SyncPath(parent); !cannotSync(err) {
		return err
	}
	return nil // as at every directory above; OpenDir's says whether that is accepted
}

// cannotSync reports whether an error means that a file system does not sync directories.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// SyncPath makes the names in the directory dir durable.
func SyncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

var (
	errNotDir   = errors.New("not a directory")
	errRecycled = fmt.Errorf("%w any more: it is being recycled", fs.ErrNotExist)
)

// isSegmentPath reports whether the name is a segment's, or one that a segment's file may have for
// a time.
func isSegmentPath(path string) bool {
	_, ok := ParseFileName(strings.TrimSuffix(filepath.Base(path), TempSuffix))
	return ok
}

// osFile is an *os.File with the calls that package os does not have.
type osFile struct {
	*os.File
	dir  *Directory
	path atomic.Pointer[string] // what errors call it
	ino  atomic.Uint64          // the number of its inode; 0: not asked for yet
}

func newFile(f *os.File, dir *Directory, path string) *osFile {
	file := &osFile{File: f, dir: dir}
	file.path.Store(&path)
	return file
}

// SetPath implements File.
func (f *osFile) SetPath(path string) { f.path.Store(&path) }

// named puts the name that the file has into an error that names the one it was opened by.
func (f *osFile) named(err error) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		p.Path = *f.path.Load()
	}
	return err
}

// Size asks for the end of the file, which nothing here reads or writes at. A stat would make the
// next store through a mapping change the file's times, which costs the next sync a write.
func (f *osFile) Size() (int64, error) {
	n, err := f.Seek(0, io.SeekEnd)
	return n, f.named(err)
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	return n, f.named(err)
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, f.named(err)
}

// Touch writes: to set the time would cost each sync of ext4 twice as much.
func (f *osFile) Touch(p []byte, off int64, durable bool) error {
	if durable {
		if done, err := writeSync(f.File, p, off); done {
			return f.named(err)
		}
	}
	_, err := f.WriteAt(p, off)
	if isFull(err) { // a copy-on-write file system takes new space for the same bytes
		if timeErr := setTime(f.File); timeErr != nil {
			return errors.Join(err, f.named(timeErr))
		}
		err = nil
	}
	if err == nil && durable {
		err = f.Sync()
	}
	return err
}

func (f *osFile) Truncate(size int64) error { return f.named(f.File.Truncate(size)) }
func (f *osFile) Allocate(size int64) error { return f.named(allocate(f.File, size)) }
func (f *osFile) Datasync() error           { return f.named(datasync(f.File)) }
func (f *osFile) DatasyncRange(m *Mapping, from, to Offset) error {
	return f.named(datasyncRange(f.File, m, from, to))
}

func (f *osFile) Zero(from, to int64) (done bool) { return zeroRange(f.File, from, to) }

// Links asks under the file's name first: the file may have others, and have lost that one.
func (f *osFile) Links() (int, error) {
	if f.ino.Load() == 0 {
		_, ino, err := links(f.File)
		if err != nil {
			return 0, f.named(err)
		}
		f.ino.Store(ino)
	}
	if n, known := f.dir.links(filepath.Base(*f.path.Load()), f.ino.Load()); known {
		return n, nil
	}
	n, _, err := links(f.File)
	return n, f.named(err)
}

func (f *osFile) Sole() bool  { return sole(f.File) }
func (f *osFile) Sync() error { return f.named(fullsync(f.File)) }
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

// isFull reports whether an error means that a disk, or a quota, is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
