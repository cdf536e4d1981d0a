package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"mmjournal/segment"
)

// State is what a scan of a directory found. It holds the segments open until Close.
type State struct {
	Label  Label
	Action Action
	Err    error // why the action is Refuse; otherwise nil
	Report *Report

	ID        segment.ID
	Journal   *segment.JournalFile  // nil if missing or bad
	Faults    segment.JournalFaults // of a file JOURNAL that is good nevertheless
	Next      segment.Seq           // of the next record
	FirstLive segment.Seq
	End       segment.Position // where the newest segment's frames end; zero without one
	Claim     segment.Position // everything below is known to be durable
	Highest   uint64           // the highest ordinal of a segment file

	// ReadOnly, if not nil, names a file because of which the journal can be read, but only newer
	// software may write to it. It matches segment.ErrVersion.
	ReadOnly error

	// Foreign, if not nil, names a file because of which the journal can be read, but not written to:
	// it does not belong to the journal, but its name could be meant for it. It matches
	// ErrNotJournal.
	Foreign error

	// Chain holds the segments that make up the journal, oldest first, ready to be read. If Err is
	// not nil, it holds the readable part before the damage.
	Chain []*segment.Segment
	// NewestScan is the scan of the chain's last segment; nil if the chain is empty, or Err is not
	// nil.
	NewestScan *segment.Scan

	dir *directory
	s   *search
}

// Options say how Scan reads a directory.
type Options struct {
	// Full reads and checks every byte of the chain. Otherwise Scan trusts segments that a claim
	// covers as a whole.
	Full bool
	// Live allows for a concurrent writer: damage of any kind counts only if a second scan finds the
	// same at the same position.
	Live bool
}

// Scan reads the directory and decides what its state means. It changes nothing. Damage and files
// of newer software are reported in the state, not as an error. Errors: those of the file system,
// ErrNotExist, ErrNotJournal, and with Live ErrMoving.
func Scan(fsys segment.FS, path string, o Options) (*State, error) {
	st, err := scanOnce(fsys, path, o.Full)
	if !o.Live {
		return st, err
	}
	return scanAgain(fsys, path, o.Full, st, err)
}

func scanOnce(fsys segment.FS, path string, full bool) (st *State, err error) {
	d, err := read(fsys, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	empty := len(d.files) == 0 && d.journal == nil && d.newer == nil
	switch {
	case empty && len(d.foreign)+len(d.suspect) > 0:
		return nil, fmt.Errorf("%s: %w: %q, and no journal", path, ErrNotJournal,
			append(d.foreign, d.suspect...)[0])
	case empty && errors.Is(d.badFile, segment.ErrMissing):
		return nil, fmt.Errorf("%s: %w", path, ErrNotExist)
	}
	s := &search{d: d, full: full}
	if err := errors.Join(s.run(), d.release()); err != nil {
		return nil, err
	}
	st = newState(d, s)
	st.Report, err = newReport(st)
	return st, err
}

func newState(d *directory, s *search) *State {
	st := &State{
		Err: s.err, Journal: d.journal, Faults: d.faults, ReadOnly: d.readOnly, Claim: s.claim,
		Highest: d.highest(), Next: 1, FirstLive: 1, dir: d, s: s,
	}
	st.Label, st.Action = decide(&s.facts)
	st.ID = d.id()
	st.Foreign = d.forbids()
	for _, f := range slices.Backward(s.chain) {
		if f.scan != nil {
			f.seg.Adopt(f.scan)
		}
		st.Chain = append(st.Chain, f.seg)
	}
	if len(s.chain) > 0 {
		f := s.chain[0]
		st.NewestScan = f.scan
		st.Next = f.seg.Next()
		st.End = segment.Position{Ordinal: f.ordinal, Offset: f.seg.End()}
		live := s.firstLive
		if s.newest != nil {
			live = f.scan.FirstLive
		}
		st.FirstLive = min(max(live, st.Chain[0].Link.Base), st.Next)
	}
	return st
}

// Close closes the segments, unless TakeChain has handed them over.
func (st *State) Close() {
	st.dir.close()
	st.Chain = nil
}

// TakeChain hands the chain's segments over to the caller, who must drop them.
func (st *State) TakeChain() []*segment.Segment {
	for _, f := range st.s.chain {
		f.seg = nil
	}
	chain := st.Chain
	st.Chain = nil
	return chain
}

// Settle makes everything that the state shows durable. The page cache may hold bytes that an
// earlier, failed write did not bring to the disk, and that no sync would write again. So Settle
// first marks every page above the last claim as modified. Then it syncs the segments, oldest
// first, and reads again what it has synced: a page may have left the page cache in between and
// come back from the disk. held says that all bytes are still as the scan has read them. Otherwise
// the caller must scan again and use only the new result.
func (st *State) Settle() (held bool, err error) {
	for f, from := range st.unclaimed() {
		if err := st.settle(f, from); err != nil {
			return false, err
		}
	}
	if err := st.dir.fsys.SyncDir(st.dir.path); err != nil {
		return false, err
	}
	for f, from := range st.unclaimed() {
		held, err := f.seg.Holds(f.scan, from)
		if !held || err != nil {
			return false, err
		}
	}
	return true, nil
}

// unclaimed yields the segments of the chain that no claim covers wholly, oldest first, and from
// where on none does.
func (st *State) unclaimed() iter.Seq2[*file, segment.Offset] {
	return func(yield func(*file, segment.Offset) bool) {
		for _, f := range slices.Backward(st.s.chain) {
			from := segment.FirstFrame
			if st.Claim.Ordinal == f.ordinal {
				from = st.Claim.Offset
			}
			if st.Claim.Ordinal <= f.ordinal && !f.standIn && !yield(f, from) {
				return
			}
		}
	}
}

// settle makes a segment durable from an offset on. An index that a crash has torn is written
// again, before a claim speaks for it.
func (st *State) settle(f *file, from segment.Offset) error {
	w, err := segment.Open(st.dir.fsys, f.seg.Path(), segment.ReadWrite)
	if err != nil {
		return err
	}
	to := f.seg.End()
	if f.scan != nil && f.scan.Seal != nil {
		to = f.scan.Seal.IndexEnd()
		err = w.RestoreIndex(f.scan)
	}
	if err == nil {
		err = w.Dirty(from, to)
	}
	if err == nil {
		err = w.SyncRange(from, to)
	}
	if err == nil {
		err = w.SyncTime(f.seg.End())
	}
	return errors.Join(err, w.Drop())
}

// StandIn reports whether the newest segment is the link in the file JOURNAL.
func (st *State) StandIn() bool { return st.s.facts.standIn }

// Prepared returns the ordinals of the segments above the newest one, in descending order: the
// order in which they may be removed, each durably before the next, without leaving a gap.
func (st *State) Prepared() (ordinals []uint64) {
	for _, f := range slices.Backward(st.dir.files) {
		if f.ordinal > st.End.Ordinal && f.bad == nil && !f.standIn {
			ordinals = append(ordinals, f.ordinal)
		}
	}
	return ordinals
}

// Spare returns, in the same order, those of Prepared that were never written to and have no
// segment above them that was written to.
func (st *State) Spare() (ordinals []uint64) {
	for _, f := range slices.Backward(st.dir.files) {
		if f.ordinal <= st.End.Ordinal || f.seg == nil || f.scan == nil || !f.scan.Unused() ||
			st.s.newest != nil && st.s.newest.scan.Seal != nil &&
				f.ordinal == st.s.newest.scan.Seal.Succ {
			break
		}
		ordinals = append(ordinals, f.ordinal)
	}
	return ordinals
}

// Dead returns the ordinals of the segments below the newest one that are not on the chain.
func (st *State) Dead() (ordinals []uint64) {
	for _, f := range st.dir.files {
		if f.ordinal < st.End.Ordinal && f.bad == nil && !f.standIn && !slices.Contains(st.s.chain, f) {
			ordinals = append(ordinals, f.ordinal)
		}
	}
	return ordinals
}

// Temps returns the names of files that were under preparation.
func (st *State) Temps() []string { return st.dir.temps }

// Remove removes files by name. It is not an error if one does not exist.
func Remove(fsys segment.FS, dir string, names ...string) error {
	var errs error
	for _, name := range names {
		err := fsys.Remove(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}
