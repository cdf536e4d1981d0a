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

	// ErrNotRegular: the name of a file leads to a symbolic link, a directory or the like.
	ErrNotRegular = errors.New("not a regular file")

	// ErrVersion: newer software made the file. Nothing was changed; use that software.
	ErrVersion = errors.New("format is newer than this software knows")
	// ErrCorrupt matches every [CorruptError].
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrNoSpace: there was no disk space for a segment. Nothing is lost; the operation can be
	// repeated when there is space.
	ErrNoSpace = errors.New("no space for a new segment")
	// ErrReplaced: while the journal was open, its directory was removed, another directory took its
	// name, or another writer took its lock. What is written from now on would be lost.
	ErrReplaced = errors.New("the journal's directory was removed or replaced")
	// ErrLocked: another writer has locked the directory.
	ErrLocked = errors.New("journal is in use")
	// ErrFileLocked: another program holds an exclusive flock(2) lock on a segment file. The file is
	// not damaged.
	ErrFileLocked = errors.New("another program, such as a backup, has locked the file with " +
		"flock(2): try again when it has unlocked the file")
	// ErrFault: access to mapped memory failed. The file was cut short, the disk could not be read, or
	// there was no space for a page.
	ErrFault = errors.New("fault in mapped memory")
)

// CorruptError says where data that was acknowledged as durable is damaged.
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
