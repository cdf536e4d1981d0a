package journal

import (
	"context"

	"mmjournal/segment"
)

// OpenFS is Open on any file system, without a lock, and without a goroutine that prepares
// segments.
func OpenFS(fsys segment.FS, dir string, o *Options) (*Journal, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return open(fsys, dir, opts, simFolio(opts), false)
}

// simFolio primes what Open would prime, with one write.
func simFolio(o Options) folio {
	return func(_, size int64) segment.Zeros {
		if o.Durability == Synced {
			return segment.Zeros{}
		}
		return segment.Zeros{Chunk: int(size), Primed: true}
	}
}

// OpenReadOnlyFS is OpenReadOnly on any file system.
func OpenReadOnlyFS(fsys segment.FS, dir string, o *Options) (*Journal, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return openReadOnly(fsys, dir, opts)
}

// SetMinSegmentSize allows segments smaller than the public limit.
func SetMinSegmentSize(n int64) (restore func()) {
	old := minSegmentSize
	minSegmentSize = n
	return func() { minSegmentSize = old }
}

// SetLeastAhead sets from which size on what is staged is moved while a sync is under way. To be
// called before the first append.
func SetLeastAhead(j *Journal, n int) {
	if j.stage != nil {
		j.stage.Ahead = n
	}
}

// Unbuffer makes appends store to mapped memory, as on a system where a mapping does not show at
// once what is written to its file. To be called before the first one.
func Unbuffer(j *Journal) { j.stage = nil }

// OpenFSBackground is OpenFS with the goroutine that prepares segments.
func OpenFSBackground(fsys segment.FS, dir string, o *Options) (*Journal, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return open(fsys, dir, opts, simFolio(opts), true)
}

// Stage appends a record, and does not wait for its sync.
func Stage(j *Journal, payload []byte) error {
	_, err := j.append(payload, segment.Checksum(payload), FrameSize(len(payload)))
	return err
}

// WaitAppended waits until a record is durable, as its Append does.
func WaitAppended(j *Journal, seq Seq) error { return j.waitDurable(context.Background(), seq) }

// The folios of Durability Synced, and of the others.
var SyncedFolio, StoredFolio = syncedFolio, storedFolio

// SyncParents is Open's part that makes the names of directories durable, with any sync.
var SyncParents = syncParents

// Quiet reports whether nothing was written since the journal was opened.
func Quiet(j *Journal) bool { return j.atClosingMark() }

// Prepare makes n segments ready, as the goroutine does that prepares them. That goroutine has
// nothing to do then.
func Prepare(j *Journal, n int) error {
	f := j.factory
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.mu.busy {
		f.idle.Wait()
	}
	for len(f.mu.ready) < n && !f.mu.stopped && f.mu.broken == nil {
		if err := f.prepareLocked(segment.MaxBatch(min(f.size, leastSegment))); err != nil {
			return err
		}
	}
	return nil
}

// Applicable returns o without the options that do not apply with its Durability.
func Applicable(o Options) *Options {
	if o.Durability != Synced {
		o.Spares = 0
	}
	if o.Durability != Interval {
		o.SyncInterval = 0
	}
	return &o
}

// ChainOf returns a function that returns the ordinals of the chain that readers see now, as the
// same view shows them later.
func ChainOf(j *Journal) func() []uint64 {
	v := j.view.Load()
	return func() (ordinals []uint64) {
		for _, seg := range v.chain {
			ordinals = append(ordinals, seg.Ordinal)
		}
		return ordinals
	}
}
