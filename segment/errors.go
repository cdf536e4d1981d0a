package segment

import (
	"errors"
	"fmt"
)

// Errors that say why bytes are not what they should be. They come wrapped in a [CorruptError], but
// for ErrVersion, which is no damage.
var (
	ErrShort    = errors.New("file is too short or has the wrong size")
	ErrMagic    = errors.New("bad magic: not a file of a journal")
	ErrChecksum = errors.New("bad checksum")
	ErrIdentity = errors.New("impossible identity")
	ErrFrame    = errors.New("impossible frame")
	ErrSeq      = errors.New("seq out of order")
	ErrHole     = errors.New("unwritten bytes where a frame must be")
	ErrIndex    = errors.New("bad sparse index")
	ErrMissing  = errors.New("segment is missing")
	ErrForeign  = errors.New("segment belongs to another journal or another place in this one")

	// ErrNotRegular: a name that is a file's leads to a symbolic link, a directory or the like.
	ErrNotRegular = errors.New("not a regular file")

	// ErrVersion: the file was made by newer software. Nothing was changed; use that software.
	ErrVersion = errors.New("format is newer than this software knows")
	// ErrCorrupt matches every [CorruptError].
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrNoSpace: a segment could not be prepared for lack of disk space. Nothing is lost; the
	// operation can be repeated when there is space.
	ErrNoSpace = errors.New("no space for a new segment")
	// ErrReplaced: the journal's directory was removed, or another one has taken its place, or
	// another writer its lock, while it was open. What is written from now on would be lost.
	ErrReplaced = errors.New("the journal's directory was removed or replaced")
	// ErrLocked: another writer has the directory.
	ErrLocked = errors.New("journal is in use")
	// ErrFileLocked: somebody who is no part of this project has an exclusive lock, flock(2), on a
	// segment's file. Nothing is wrong with it.
	ErrFileLocked = errors.New("somebody else has locked the file with flock(2), such as a backup: " +
		"try again when they have unlocked it")
	// ErrFault: access to mapped memory failed: the file was cut short underneath, the disk could
	// not be read, or there was no space for a page.
	ErrFault = errors.New("fault in mapped memory")
)

// CorruptError says where promised data is damaged.
type CorruptError struct {
	Path    string // of the segment's file
	Segment uint64 // its ordinal; 0 if it is the file JOURNAL
	Offset  Offset // of the first damaged frame in it
	Seq     Seq    // of the first record that may be affected; 0 if not known
	Err     error  // what is wrong there
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("%s: corrupt at offset %d", e.Path, e.Offset)
	if e.Seq > 0 {
		s += fmt.Sprintf(" (from seq %d on)", e.Seq)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// FaultError says which mapped access failed.
type FaultError struct {
	Op     string
	Path   string
	Offset Offset
	Err    error // what the runtime said
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("%s %s at offset %d: %v "+
		"(the file was cut short, the disk cannot be read, or it is full)",
		e.Op, e.Path, e.Offset, ErrFault)
}

// Unwrap returns the runtime's error.
func (e *FaultError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrFault) true.
func (e *FaultError) Is(target error) bool { return target == ErrFault }
