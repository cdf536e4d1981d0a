package segment

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// ErrUnnamed: a directory could not be synced, so it is not known which names survive a power cut.
// The sync must not be repeated: the next one would report success without having written anything.
var ErrUnnamed = errors.New("directory could not be synced")

// NewIdentity returns an identity with a new random salt.
func NewIdentity(journal ID, ordinal uint64, size int64, now time.Time) Identity {
	id := Identity{Journal: journal, Ordinal: ordinal, Size: size, Created: now}
	var b [8]byte
	for id.Salt == 0 {
		rand.Read(b[:]) // never fails
		id.Salt = le.Uint64(b[:])
	}
	return id
}

// NewID returns a random journal id.
func NewID() (id ID) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // RFC 9562 variant
	return id
}

// Zeros says how Prepare makes a new file ready to be written to. The file reads as zeros in any
// case.
type Zeros struct {
	// Chunk is the size in bytes of the writes that fill the file with zeros. It determines the size
	// of the folios in the page cache, and so how much a later sync of one page writes. 0 leaves the
	// file as the file system reserved it. If File.Zero fills the file, it chooses the size.
	Chunk int
	// Primed: the zeros are in the page cache only, and the mapping is populated, so that stores do
	// not fault. The disk then writes the stored bytes instead of the zeros, unless the kernel writes
	// the zeros back first. Without Primed the zeros are on the disk.
	Primed bool
}

// Prepare creates the segment file of an identity in dir and maps it. When Prepare returns, the
// file has its size, reserved space, zeros and its identity, and is durable under its name. If
// Prepare fails, it tries to remove the file, but not durably. It may be repeated, except after
// ErrUnnamed. Lack of space matches ErrNoSpace.
//
// If the file system cannot reserve space, Prepare writes the zeros to the disk, whatever the
// parameter zeros says.
func Prepare(fsys FS, dir string, id Identity, zeros Zeros) (*Segment, error) {
	path := filepath.Join(dir, FileName(id.Ordinal))
	tmp := path + TempSuffix
	f, err := createFresh(fsys, tmp)
	if err != nil {
		return nil, noSpace(err)
	}
	fail := func(name string, err error) (*Segment, error) {
		if name == tmp && isFull(err) {
			_ = f.Truncate(0) // a reservation that failed may keep what it got
		}
		err = fmt.Errorf("prepare %s: %w", path, errors.Join(err, f.Close(), fsys.Remove(name)))
		if errors.Is(err, ErrUnnamed) {
			return nil, err
		}
		return nil, noSpace(err)
	}
	primed, err := fill(f, &id, zeros)
	if err != nil {
		return fail(tmp, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fail(tmp, err)
	}
	f.SetPath(path)
	if err := fsys.SyncDir(dir); err != nil {
		return fail(path, Unnamed(err))
	}
	s, err := newSegment(f, path, id, ReadWrite)
	if err != nil {
		return fail(path, err)
	}
	if s.Primed = primed; primed {
		s.Populate(FirstFrame, Offset(id.Size))
	}
	return s, nil
}

// Unnamed makes the error of a directory sync match ErrUnnamed, unless the sync did not begin
// because the process had no descriptor left.
func Unnamed(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnnamed, err)
}

// TempSuffix ends the names of files under preparation.
const TempSuffix = ".tmp"

// createFresh creates a file, in place of one that an earlier life may have left under the same
// name.
func createFresh(fsys FS, path string) (File, error) {
	f, err := fsys.Open(path, Create)
	if errors.Is(err, fs.ErrExist) {
		if err := fsys.Remove(path); err != nil {
			return nil, err
		}
		f, err = fsys.Open(path, Create)
	}
	return f, err
}

func fill(f File, id *Identity, zeros Zeros) (primed bool, err error) {
	if err := f.Truncate(id.Size); err != nil {
		return false, err
	}
	err = f.Allocate(id.Size)
	if errors.Is(err, errors.ErrUnsupported) { // writing is the only way to reserve
		zeros, err = Zeros{Chunk: max(zeros.Chunk, 64<<10)}, nil
	}
	if err == nil && !zeros.Primed {
		err = writeZeros(f, id.Size, zeros.Chunk)
	}
	if err == nil {
		_, err = f.WriteAt(id.Encode(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && zeros.Primed && !f.Zero(identitySize, id.Size) {
		err = writeZeros(f, id.Size, zeros.Chunk)
	}
	return zeros.Primed, err
}

// writeZeros fills a file with zeros behind its identity, if chunk is not 0.
func writeZeros(f File, size int64, chunk int) error {
	zeros := make([]byte, chunk)
	for off := int64(identitySize); chunk > 0 && off < size; {
		n := min(int64(chunk)-off%int64(chunk), size-off) // the others are aligned
		if _, err := f.WriteAt(zeros[:n], off); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// noSpace makes an error that means a full disk match ErrNoSpace.
func noSpace(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// CreateJournalFile durably creates the file JOURNAL in dir, in place of an existing one, and
// returns it open. If it fails, dir has either the old file or the new one. For ErrUnnamed and
// ErrNoSpace see Prepare.
func CreateJournalFile(fsys FS, dir string, j *JournalFile) (File, error) {
	path := filepath.Join(dir, JournalName)
	tmp := path + TempSuffix
	f, err := createFresh(fsys, tmp)
	if err != nil {
		return nil, noSpace(err)
	}
	b := j.Encode()
	if _, err = f.WriteAt(append(b, b...), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		err = errors.Join(err, f.Close(), fsys.Remove(tmp))
		return nil, noSpace(fmt.Errorf("write %s: %w", path, err))
	}
	f.SetPath(path)
	if err := fsys.SyncDir(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, Unnamed(err)), f.Close())
	}
	return f, nil
}

// UpdateJournalFile durably writes over both copies in a file JOURNAL, one after the other,
// beginning with the one that j.Generation chooses: see NextGeneration. So a crash damages at most
// one copy, and the other one has the old content or the new one. The update needs no disk space,
// except on file systems that cannot write in place. If it fails, done says how far it has come.
func UpdateJournalFile(f File, j *JournalFile) (done JournalUpdate, err error) {
	b := j.Encode()
	for _, at := range [2]int64{firstCopy(j.Generation), firstCopy(j.Generation + 1)} {
		n, err := f.WriteAt(b, at)
		if n > 0 {
			done = max(done, JournalUnknown)
		}
		if err == nil {
			err = f.Datasync()
		}
		if err != nil {
			return done, noSpace(fmt.Errorf("write %s: %w", JournalName, err))
		}
		done = JournalWritten
	}
	return done, nil
}

// SyncJournalTime makes the time of modification of an updated file JOURNAL durable. Lack of space
// for that is not an error.
func SyncJournalTime(f File) error {
	b := make([]byte, 8)
	_, err := f.ReadAt(b, journalSize-int64(len(b)))
	if err == nil {
		err = f.Touch(b, journalSize-int64(len(b)), true)
	}
	if err != nil && !isFull(err) {
		return fmt.Errorf("sync the time of %s: %w", JournalName, err)
	}
	return nil
}

// JournalUpdate says how far an update of a file JOURNAL has come.
type JournalUpdate int

const (
	JournalUnchanged JournalUpdate = iota // nothing was written
	JournalUnknown                        // the first copy may have the old content or the new one
	JournalWritten                        // the first copy is written durably
)

// firstCopy returns the offset of the copy that an update of that generation writes first.
func firstCopy(generation uint64) int64 { return int64(generation%2) * copySize }

// Names of the files in a journal's directory that are no segments.
const (
	JournalName = "JOURNAL"
	LockName    = "LOCK"
)
