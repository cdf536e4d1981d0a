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
	// Synced: Append returns when the record is durable: it survives a power cut. Appends that wait
	// at the same time share a sync.
	Synced Durability = iota
	// Published: Append returns when readers can see the record: it survives the process, even kill
	// -9. Sync and WaitDurable make it survive a power cut.
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

// Options for Open. The zero value has the safe defaults. Open copies it. An option that is set and
// does not apply is refused, with ErrOptions.
type Options struct {
	// SegmentSize is the size in bytes of full-grown segments that are created from now on, 64 KiB
	// to 16 GiB (on 32-bit systems 1 GiB); it is rounded up to a multiple of 4096. 0 means the size
	// that the journal was written with before, or 64 MiB for a new one; another size replaces
	// that. Existing segments keep their size. It limits the size of a record: see MaxRecord.
	//
	// After an end without a Close, and after TruncateBack or Reset, a journal goes on with a segment
	// of 64 KiB, and each further one is as large as those since then together, up to SegmentSize: so
	// many such ends in a row take little space. Where the disk has no space for that, a segment is
	// smaller, down to what the record needs.
	//
	// While the journal is open, one segment is prepared beyond those that hold records; with
	// Published and Interval two, where segments of up to 128 MiB fill fast, and these and the
	// active one are in the page cache as a whole, modified, if they have up to 256 MiB.
	SegmentSize int64

	// Durability says when Append returns; the default is Synced. At any level, full segments are
	// synced in the background when 16 of them wait for it.
	Durability Durability

	// SyncInterval is the time between background syncs with Durability Interval. 0 means 100 ms.
	SyncInterval time.Duration

	// Spares is how many files of dropped segments are kept while the journal is open, so that new
	// segments are written over them; it takes disk space, up to so many segments. Appends that
	// wait for a sync are faster then, and the disk writes half as much: a new segment is written
	// full of zeros first, or each sync writes the file system's log, too. Only with Durability
	// Synced, on Linux. A file that somebody still reads, or that has a second name, is not
	// written over, and none is where the file system cannot reserve space. 0 to 1000; 2 do where
	// segments are dropped one by one. The default is 0: none.
	//
	// On a copy-on-write file system (btrfs, ZFS, XFS with reflinks of the file), each write over
	// what was written before takes new space: a full disk makes the journal fail then (ErrFailed),
	// where a segment that is written for the first time has its space.
	Spares int

	// VerifyOnOpen reads and checks every byte of the journal when it is opened. Otherwise Open
	// checks what is not known to be durable, and every record is checked when it is read.
	VerifyOnOpen bool

	// MustExist makes Open fail with ErrNotExist where there is no journal, instead of creating
	// one.
	MustExist bool

	// ReadDamaged makes OpenReadOnly open a corrupt journal, for what precedes the damage. Records
	// then ends with the *CorruptError. Other functions refuse to open a corrupt journal in any
	// case.
	ReadDamaged bool

	// FileMode is the mode of the files of a new journal, of which only the bits for reading and
	// writing count; 0 means 0600. New files of an existing journal get the mode, owner and group
	// of its file JOURNAL; those of a new one, where the process is root, the directory's owner and
	// group.
	FileMode fs.FileMode

	// Unlocked makes Open and OpenReadOnly do without locks, for file systems that have none: flock(2)
	// fails there, and without this option so do they. The price: nothing notices a second writer, and
	// two of them destroy the journal; and no writer may set Spares, because it would not notice
	// readers. Whoever sets it must keep others away by other means.
	Unlocked bool

	// NoDirSync accepts file systems that cannot sync a directory; without this option Open fails
	// there. The price: a power cut may take away names, and with them whole segments of records
	// that were acknowledged as durable. The next Open reports what it misses, if it can know.
	NoDirSync bool

	sized bool // SegmentSize was given

	// Logger gets what happens in the background and at open. nil: nothing is logged. Another
	// goroutine hands it the messages, in their order, so it may use the journal; the last ones may
	// come after Close has returned.
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
	if c.SyncInterval < 0 {
		return c, fmt.Errorf("%w: SyncInterval %v", ErrOptions, c.SyncInterval)
	}
	return c, nil
}

// MaxRecord returns the size in bytes of the largest record that a segment of segmentSize bytes
// holds.
func MaxRecord(segmentSize int64) int64 { return segment.MaxRecord(roundUp(segmentSize)) }

// MaxBatch returns how many bytes a batch may take in a segment of segmentSize bytes: the sum of
// FrameSize over its payloads.
func MaxBatch(segmentSize int64) int64 { return segment.MaxBatch(roundUp(segmentSize)) }

// roundUp returns the size that a segment really gets.
func roundUp(size int64) int64 {
	return (size + segment.SizeUnit - 1) / segment.SizeUnit * segment.SizeUnit
}

// FrameSize returns how many bytes of a segment a payload of n bytes takes: n + 16, rounded up to a
// multiple of 8.
func FrameSize(n int) int64 { return segment.FrameSize(int64(n)) }
