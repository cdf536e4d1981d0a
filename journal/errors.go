package journal

import (
	"errors"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// Each error stands for one decision that a caller can take. All are matched with errors.Is.
var (
	// ErrClosed: the journal has been closed.
	ErrClosed = errors.New("journal is closed")
	// ErrReadOnly: the journal was opened with OpenReadOnly.
	ErrReadOnly = errors.New("journal is open for reading only")
	// ErrLocked: another process, or another Open in this one, has the journal open for writing.
	// The error's text names its pid.
	ErrLocked = segment.ErrLocked
	// ErrReplaced: the journal's directory was removed or replaced while it was open, or another
	// writer has taken its lock. The journal has failed: nothing more is acknowledged, and no file
	// of another journal is touched. What was acknowledged is in the directory that it was in.
	ErrReplaced = segment.ErrReplaced
	// ErrFileLocked: somebody who is no part of this project has an exclusive lock, flock(2), on a
	// segment's file, on Linux. Nothing is wrong with it; open the journal when they are done.
	ErrFileLocked = segment.ErrFileLocked
	// ErrPending: the context ended, and what was asked for goes on in the background. The error
	// matches that of the context, too.
	ErrPending = errors.New("goes on in the background")
	// ErrNotFound: there is no record with that seq (any more, or yet).
	ErrNotFound = errors.New("no such record")
	// ErrTooLarge: the record or batch does not fit in one segment: use larger segments, or split it.
	// Or the journal has 20,000 segments: truncate it.
	ErrTooLarge = errors.New("too large for a segment")
	// ErrOptions: an option has a value that does not fit.
	ErrOptions = errors.New("bad option")
	// ErrFailed: a sync or a store failed earlier. Nothing more is acknowledged; Close the journal
	// and Open it again: what is there then is durable. The error wraps the first failure.
	ErrFailed = errors.New("journal has failed")

	// ErrNotExist: the directory does not exist, or there is no journal in it.
	ErrNotExist = recovery.ErrNotExist
	// ErrMoving: a writer changes the journal so fast that no look at it holds. Nothing is wrong as
	// far as is known; try again.
	ErrMoving = recovery.ErrMoving
	// ErrNotJournal: the directory holds files that are not a journal's. Nothing was changed.
	ErrNotJournal = recovery.ErrNotJournal
	// ErrCorrupt matches every *CorruptError.
	ErrCorrupt = segment.ErrCorrupt
	// ErrVersion: the journal was written by newer software. Nothing was changed. Open returns it,
	// too, for a journal that this software can read but must not write to; OpenReadOnly reads it.
	ErrVersion = segment.ErrVersion
	// ErrNoSpace: there is no disk space for a new segment. Nothing is lost: what is there can be
	// synced and read, and the append can be repeated when there is space.
	ErrNoSpace = segment.ErrNoSpace
	// ErrFault: access to mapped memory failed: the file was cut short by someone else, or the disk
	// could not be read or had no space. In the write path it makes the journal fail.
	ErrFault = segment.ErrFault
)

// CorruptError says which promised bytes are damaged: file, segment, offset, and the first seq
// affected.
type CorruptError = segment.CorruptError
