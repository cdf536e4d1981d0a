package journal

import (
	"fmt"
	"io/fs"
	"math"
	"time"

	"go.uber.org/zap"

	"mmjournal/segment"
)

// Durability says when Append returns.
type Durability int

const (
	// Synced: Append returns when the record is durable, so that it survives a power cut. Appends that
	// wait at the same time share a sync.
	Synced Durability = iota
	// Published: Append returns when readers can see the record. The record survives the process,
	// even kill -9. Sync and WaitDurable make it survive a power cut.
	Published
	// Interval is Published with a sync in the background every SyncInterval.
	Interval
)

func (d Durability) String() string {
	switch d {
	case Synced:
		return "synced"
	case Published:
		return "published"
	case Interval:
		return "interval"
	}
	return fmt.Sprintf("Durability(%d)", int(d))
}

// Limits of Options.
const (
	MinSegmentSize     = 64 << 10
	MaxSegmentSize     = segment.MaxSize
	DefaultSegmentSize = segment.DefaultSize

	DefaultSyncInterval = 100 * time.Millisecond
)

// Options for Open. The zero value has the safe defaults. Open copies it. An option that is set but
// does not apply is refused with ErrOptions.
type Options struct {
	// SegmentSize is the size in bytes of new segments: 64 KiB to 16 GiB (1 GiB on 32-bit systems),
	// rounded up to a multiple of 4096. 0 means the size that the journal was last written with, or 64
	// MiB for a new journal. Existing segments keep their size. SegmentSize limits the size of a
	// record: see MaxRecord.
	//
	// Some segments are smaller. After an end without Close, and after TruncateBack or Reset, the next
	// segment has 64 KiB. Each later one is as large as all segments since then together, up to
	// SegmentSize. So a series of crashes takes little space. If the disk has no space for a segment
	// of that size, a smaller one is created, down to what the record needs.
	//
	// While the journal is open, it keeps one prepared segment in addition to those that hold records.
	// With Published and Interval it keeps two if segments fill fast and have at most 128 MiB. With
	// these levels, the prepared segments and the active one are entirely in the page cache, as
	// modified pages, if they have at most 256 MiB each.
	SegmentSize int64

	// Durability says when Append returns; the default is Synced. At any level, full segments are
	// synced in the background when 16 of them wait for a sync.
	Durability Durability

	// SyncInterval is the time between background syncs with Durability Interval. 0 means 100 ms.
	SyncInterval time.Duration

	// Spares is the number of files of dropped segments that are kept while the journal is open, 0
	// (the default: none) to 1000. New segments are written over these files. That makes appends that
	// wait for a sync faster and halves what the disk writes: without it, a new segment is first
	// filled with zeros, or each sync also writes the file system's log. The kept files take disk
	// space. 2 are enough if segments are dropped one by one.
	//
	// Spares needs Durability Synced and Linux. A file that a reader still uses, or that has a second
	// name, is not written over. No file is, if the file system cannot reserve space.
	//
	// On a copy-on-write file system (btrfs, ZFS, XFS with reflinks of the file), each write over
	// existing data takes new space. On a full disk, such a write makes the journal fail (ErrFailed).
	// A segment that is written for the first time has its space already.
	Spares int

	// VerifyOnOpen makes Open read and check every byte of the journal. Otherwise Open checks what is
	// not known to be durable, and each record is checked when it is read.
	VerifyOnOpen bool

	// MustExist makes Open fail with ErrNotExist if there is no journal, instead of creating one.
	MustExist bool

	// ReadDamaged makes OpenReadOnly open a corrupt journal, to read the records before the damage.
	// Records then ends with the *CorruptError. If a segment is missing, or damaged where it begins,
	// no record may be readable: Salvage finds more. Open refuses a corrupt journal in any case.
	ReadDamaged bool

	// FileMode is the mode of the files of a new journal; 0 means 0600. Only the bits for reading and
	// writing count; the owner needs both. If the process is root, these files get the directory's
	// owner and group. New files of an existing journal get the mode, owner and group of its file
	// JOURNAL.
	FileMode fs.FileMode

	// Unlocked makes Open and OpenReadOnly work without locks, for file systems on which flock(2)
	// fails. (Without this option, Open and OpenReadOnly fail there.) The price: a second writer is
	// not detected, and two writers destroy the journal. Spares is refused, because the writer could
	// not detect readers. The caller must make sure that there is only one writer.
	Unlocked bool

	// NoDirSync accepts file systems that cannot sync a directory; without this option, Open fails
	// there. The price: a power cut may remove file names, and with them whole segments of records
	// that were acknowledged as durable. The next Open reports a missing segment if it can detect
	// that.
	NoDirSync bool

	sized bool // SegmentSize was given

	// Logger gets messages about opening and about work in the background. nil: nothing is logged.
	// Levels: Debug for each new segment; Info for what Open changes; Warn for what Open finds, and
	// for background work that failed while the journal goes on; Error when the journal fails.
	// Another goroutine calls the Logger, message by message in order, so the Logger may use the
	// journal. The last messages may come after Close has returned.
	Logger *zap.Logger
}

// maxSpares bounds Options.Spares.
const maxSpares = 1000

// mostSegmentSize is what the address space allows.
const mostSegmentSize = min(int64(MaxSegmentSize), math.MaxInt/2+1)

// minSegmentSize is lowered by tests that need tiny journals.
var minSegmentSize int64 = MinSegmentSize

// opener is a function that opens journals: which options apply depends on it.
type opener int

const (
	forWriting opener = iota // Open
	forReading               // OpenReadOnly
	inMemory                 // OpenMemory
)

// forOpen is withDefaults for the journal in dir, which its errors name. It also refuses options
// that are set and do not apply.
func (o *Options) forOpen(dir string, by opener) (Options, error) {
	if dir == "" {
		return Options{}, fmt.Errorf("%w: the path of the directory is empty", ErrOptions)
	}
	if name, why := o.useless(by); name != "" {
		return Options{}, fmt.Errorf("%s: %w: %s %s", dir, ErrOptions, name, why)
	}
	c, err := o.withDefaults()
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	}
	return c, err
}

// useless returns an option that is set and does not apply, and why; "" if there is none.
func (o *Options) useless(by opener) (name, why string) {
	if o == nil {
		return "", ""
	}
	const (
		reading = "is for OpenReadOnly only"
		writing = "does not apply to OpenReadOnly"
		files   = "does not apply to OpenMemory, which has no files"
	)
	for _, c := range []struct {
		set       bool
		name, why string
	}{
		{by != forReading && o.ReadDamaged, "ReadDamaged", reading},
		{by == forReading && o.SegmentSize != 0, "SegmentSize", writing},
		{by == forReading && o.Durability != Synced, "Durability", writing},
		{by == forReading && o.SyncInterval != 0, "SyncInterval", writing},
		{by == forReading && o.Spares != 0, "Spares", writing},
		{by == forReading && o.MustExist, "MustExist", writing},
		{by == forReading && o.FileMode != 0, "FileMode", writing},
		{by == forReading && o.Unlocked, "Unlocked", writing},
		{by == forReading && o.NoDirSync, "NoDirSync", writing},
		{by == inMemory && o.MustExist, "MustExist", files},
		{by == inMemory && o.FileMode != 0, "FileMode", files},
		{by == inMemory && o.Unlocked, "Unlocked", files},
		{by == inMemory && o.NoDirSync, "NoDirSync", files},
		{by == inMemory && o.VerifyOnOpen, "VerifyOnOpen", files},
		{o.Durability != Synced && o.Spares > 0, "Spares", "needs Durability Synced"},
		{o.Durability != Interval && o.SyncInterval > 0, "SyncInterval", "needs Durability Interval"},
		{o.Unlocked && o.Spares > 0, "Spares", "needs locks, to detect readers, and Unlocked is set"},
	} {
		if c.set {
			return c.name, c.why
		}
	}
	return "", ""
}

// withDefaults returns a checked copy of o, which may be nil.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.sized = c.SegmentSize != 0
	if !c.sized {
		c.SegmentSize = DefaultSegmentSize
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = DefaultSyncInterval
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	c.Logger = logApart(c.Logger)
	if c.SegmentSize < minSegmentSize || c.SegmentSize > mostSegmentSize {
		return c, fmt.Errorf("%w: SegmentSize %d is not in %d to %d",
			ErrOptions, c.SegmentSize, minSegmentSize, mostSegmentSize)
	}
	c.SegmentSize = roundUp(c.SegmentSize)
	if c.Durability < Synced || c.Durability > Interval {
		return c, fmt.Errorf("%w: Durability %d", ErrOptions, int(c.Durability))
	}
	if c.Spares < 0 || c.Spares > maxSpares {
		return c, fmt.Errorf("%w: Spares %d is not in 0 to %d", ErrOptions, c.Spares, maxSpares)
	}
	if c.FileMode&^fs.ModePerm != 0 {
		return c, fmt.Errorf("%w: FileMode %v is more than permissions", ErrOptions, c.FileMode)
	}
	if c.FileMode != 0 && c.FileMode&0o600 != 0o600 {
		return c, fmt.Errorf("%w: FileMode %v: the owner must be able to read and to write",
			ErrOptions, c.FileMode)
	}
	if c.SyncInterval < 0 {
		return c, fmt.Errorf("%w: SyncInterval %v", ErrOptions, c.SyncInterval)
	}
	return c, nil
}

// MaxRecord returns the size in bytes of the largest record that a segment of segmentSize bytes
// holds.
func MaxRecord(segmentSize int64) int64 { return segment.MaxRecord(roundUp(segmentSize)) }

// MaxBatch returns the number of bytes that a batch may take in a segment of segmentSize bytes: the
// sum of FrameSize over its payloads.
func MaxBatch(segmentSize int64) int64 { return segment.MaxBatch(roundUp(segmentSize)) }

// roundUp returns the size that a segment really gets.
func roundUp(size int64) int64 {
	return (size + segment.SizeUnit - 1) / segment.SizeUnit * segment.SizeUnit
}

// FrameSize returns the number of bytes that a payload of n bytes takes in a segment: n + 16,
// rounded up to a multiple of 8.
func FrameSize(n int) int64 { return segment.FrameSize(int64(n)) }
