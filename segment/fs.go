package segment

import "io/fs"

// FS is every operation on the files of a journal's directory, so that tests can put a simulated
// disk, or a failing one, under the real code. [OpenDir] returns the real one, [NewMemFS] keeps
// everything in memory. Errors match [fs.ErrNotExist] and the like with errors.Is. Implementations
// are safe for concurrent use.
//
// Paths are the directory's, joined with a name. The real implementation holds the directory open
// and resolves no more than the name: whatever happens to the path, it reaches no other directory.
type FS interface {
	// Check returns an error that matches ErrReplaced if the directory has been removed, or if its
	// path leads to another one by now: what is written to it is lost. It says nothing about the
	// time after it, so it comes after a write or a sync, and before what that is acknowledged by.
	Check() error
	// ReadDir lists the directory, sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Open opens a file. With [Create] the file must not exist yet. A segment's file that
	// somebody has to himself (see [File.Sole]) gives ErrFileLocked, or, if it has lost that name
	// meanwhile, does not exist.
	Open(path string, mode OpenMode) (File, error)
	// Rename atomically gives a file a new name, replacing what has it. Durable after SyncDir.
	Rename(oldPath, newPath string) error
	// Remove removes a name. Durable after SyncDir.
	Remove(path string) error
	// SyncDir makes the directory's names durable.
	SyncDir(dir string) error
}

// OpenMode says how [FS.Open] opens a file.
type OpenMode int

const (
	ReadOnly  OpenMode = iota // for reading and read-only mappings
	ReadWrite                 // for reading, writing and shared writable mappings
	Create                    // a new file, otherwise as ReadWrite; fails with fs.ErrExist
)

// File is an open file of an [FS]. Its methods may be called concurrently, but for Close.
type File interface {
	// Size returns the file's current size in bytes.
	Size() (int64, error)
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is io.WriterAt.
	WriteAt(p []byte, off int64) (int, error)
	// Touch moves the file's time of modification, which stores through a mapping do not always do:
	// it writes p, which are the bytes at off. Where there is no space to write them it sets the
	// time. With durable it makes the time durable, too; it need not make any other byte so.
	Touch(p []byte, off int64, durable bool) error
	// Zero fills the bytes from:to with zeros by a system call or two, and reports whether it did:
	// if not, any part of them may be zero now, and writes have to do it. Not to be called beside
	// Size.
	Zero(from, to int64) (done bool)
	// Truncate sets the file's size; new bytes are zero.
	Truncate(size int64) error
	// Allocate reserves disk space for the first size bytes without changing them. It returns an
	// error that matches errors.ErrUnsupported where the file system cannot.
	Allocate(size int64) error
	// Sync makes the file's content and metadata durable (fsync).
	Sync() error
	// Datasync makes the file's content durable, mapped stores included, and the metadata that is
	// needed to read it (fdatasync).
	Datasync() error
	// DatasyncRange is Datasync for the bytes from:to, of which m is the mapping. What else is
	// modified may stay so.
	DatasyncRange(m *Mapping, from, to Offset) error
	// NextData returns the first stretch at or behind off that may hold bytes other than zero; one
	// behind the file's end if there is none. It says what the file system knows without reading:
	// one that knows nothing, or is not to be relied on, returns all that is behind off.
	NextData(off int64) (from, to int64)
	// Sole reports whether nobody else has the file open or mapped, in any process, and it has one
	// name. Then nobody can open it as long as this File is open. It may say no though it is so.
	Sole() bool
	// Uncache drops the file's pages from the page cache, where the system can do that: the next
	// writes bring in new ones, in folios of their own size. Only pages that are on the disk.
	Uncache()
	// Links returns how many names the file has, in any directory. 0: it was removed, or its own name
	// leads to another file.
	Links() (int, error)
	// SetPath tells the file by which path errors name it from now on, after a rename.
	SetPath(path string)
	// Map maps the first size bytes, shared with the file. It outlives Close.
	Map(size int64, mode OpenMode) (*Mapping, error)
	// Close releases the descriptor; it makes nothing durable.
	Close() error
}
