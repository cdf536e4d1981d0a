package journal

import (
	"errors"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// Each error stands for one decision that a caller can take. Match them with errors.Is.
var (
	// ErrClosed: the journal has been closed.
	ErrClosed = errors.New("journal is closed")
	// ErrReadOnly: the journal was opened with OpenReadOnly.
	ErrReadOnly = errors.New("journal is open for reading only")
	// ErrLocked: another process, or another Open in this one, has the journal open for writing.
	// The error's text names its pid.
	ErrLocked = segment.ErrLocked
	// ErrReplaced: the journal's directory, or the file that it appends to, was removed or replaced
	// while the journal was open, or another writer has taken its lock. The journal has failed: it
	// acknowledges nothing more and touches no file of another journal. Acknowledged records are in
	// the directory that Open opened.
	ErrReplaced = segment.ErrReplaced
	// ErrFileLocked: another program holds an exclusive flock(2) lock on a segment file (Linux). The
	// file is not damaged. Open the journal when the lock is released.
	ErrFileLocked = segment.ErrFileLocked
	// ErrPending: the context ended, but the operation goes on in the background. The error also
	// matches that of the context.
	ErrPending = errors.New("goes on in the background")
	// ErrNotFound: no record has that seq. It was dropped, or has not been appended yet.
	ErrNotFound = errors.New("no such record")
	// ErrTooLarge: the record or batch does not fit in one segment; use larger segments, or split it.
	// Or the journal has 20,000 segments; truncate it.
	ErrTooLarge = errors.New("too large for a segment")
	// ErrOptions: an option has an invalid value or does not apply, the seq for Reset is out of
	// range, or the size for AppendFunc is negative.
	ErrOptions = errors.New("bad option")
	// ErrFailed: a sync or a store failed earlier. The journal acknowledges nothing more. Close it and
	// open it again: every record that Open then finds is durable. The error wraps the first failure.
	ErrFailed = errors.New("journal has failed")

	// ErrNotExist: the directory does not exist, or contains no journal.
	ErrNotExist = recovery.ErrNotExist
	// ErrMoving: a writer changed the journal during every scan attempt. No damage is known; try
	// again.
	ErrMoving = recovery.ErrMoving
	// ErrNotJournal: the directory contains files that do not belong to a journal. Nothing was
	// changed.
	ErrNotJournal = recovery.ErrNotJournal
	// ErrCorrupt matches every *CorruptError.
	ErrCorrupt = segment.ErrCorrupt
	// ErrVersion: newer software wrote the journal. Nothing was changed. Open also returns this error
	// for a journal that this software can read but must not write to; OpenReadOnly opens that one.
	ErrVersion = segment.ErrVersion
	// ErrNoSpace: there is no disk space for a new segment. Nothing is lost: existing records can be
	// synced and read, and the append can be repeated when there is space.
	ErrNoSpace = segment.ErrNoSpace
	// ErrFault: access to mapped memory failed. Another process cut the file short, or the disk could
	// not be read or had no space. In the write path, this makes the journal fail.
	ErrFault = segment.ErrFault
)

// CorruptError says where data that was acknowledged as durable is damaged: the file, the segment,
// the offset, and the first seq that may be affected, 0 if that is not known. See
// [segment.CorruptError] for its fields.
type CorruptError = segment.CorruptError
