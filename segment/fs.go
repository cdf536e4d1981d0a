package segment

import "io/fs"

// FS is every operation on the files of a journal's directory, so that tests can run the real code
// on a simulated disk, or on a failing one. OpenDir returns the real implementation; NewMemFS keeps
// everything in memory. Errors match fs.ErrNotExist and the like with errors.Is. Implementations
// are safe for concurrent use.
//
// A path is that of the directory, joined with a name. The real implementation holds the directory
// open and resolves only the name: whatever happens to the path, it reaches no other directory.
type FS interface {
	// Check returns an error that matches ErrReplaced if the directory has been removed, or if its
	// path now leads to another one: what is written to the directory is lost then. The result holds
	// for the past only, so call Check after a write or a sync, and before acknowledging it.
	Check() error
	// ReadDir lists the directory, sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Open opens a file. With [Create] the file must not exist yet. If another process has locked a
	// segment's file exclusively (see [File.Sole]), Open returns ErrFileLocked or, if the file has
	// lost that name in the meantime, an error that matches fs.ErrNotExist.
	Open(path string, mode OpenMode) (File, error)
	// Rename atomically gives a file a new name, and replaces a file that has that name. It is durable
	// after SyncDir.
	Rename(oldPath, newPath string) error
	// Remove removes a name. It is durable after SyncDir.
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

// File is an open file of an FS. Its methods, except Close, may be called concurrently.
type File interface {
	// Size returns the file's current size in bytes.
	Size() (int64, error)
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is io.WriterAt.
	WriteAt(p []byte, off int64) (int, error)
	// Touch moves the file's time of modification, which stores through a mapping do not always do.
	// It writes p, the bytes that are at off already. If there is no space to write them, it sets the
	// time. With durable it also makes the time durable, but not necessarily any other byte.
	Touch(p []byte, off int64, durable bool) error
	// Zero fills the bytes from:to with zeros by a system call or two, and reports whether it did. If
	// not, any part of them may be zero now, and the caller must write the zeros. It must not run
	// concurrently with Size.
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
	// DatasyncRange is Datasync for the bytes from:to. m is the file's mapping. Other modified bytes
	// need not become durable.
	DatasyncRange(m *Mapping, from, to Offset) error
	// NextData returns the first range at or after off that may contain bytes other than zero, or a
	// range after the file's end if there is none. It reads no data. If the file system cannot tell,
	// or is not reliable, NextData returns everything from off on.
	NextData(off int64) (from, to int64)
	// Sole reports whether the file is open and mapped only here, in any process, and has one name.
	// If so, FS.Open refuses it as long as this File is open. Sole may wrongly return false.
	Sole() bool
	// Uncache drops the file's pages from the page cache, if the system can do that and they are on
	// the disk. The next writes then bring in new pages, in folios of the size of the write.
	Uncache()
	// Links returns the number of names that the file has, in any directory. 0: it was removed, or its
	// own name leads to another file.
	Links() (int, error)
	// SetPath sets the path that errors name, after a rename.
	SetPath(path string)
	// Map maps the first size bytes, shared with the file. It outlives Close.
	Map(size int64, mode OpenMode) (*Mapping, error)
	// Close releases the descriptor; it makes nothing durable.
	Close() error
}
