package journal

import (
	"fmt"

	"mmjournal/segment"
)

// view is what readers see. It is replaced as a whole, under mu, and never changed: a reader that
// loads it once sees the first and the last record of one moment, and the segments that hold them.
type view struct {
	first Seq                // of the oldest record; if there is none, of the next one
	chain []*segment.Segment // oldest first
	empty Seq                // the next seq, while the chain has no segment
	cuts  uint64             // how often records were dropped at the back, or by a reset
}

// last returns the seq of the newest published record, or first-1 if there is none.
func (v *view) last() Seq {
	if len(v.chain) == 0 {
		return v.empty - 1
	}
	return v.chain[len(v.chain)-1].Next() - 1
}

func (v *view) bounds() bounds { return bounds{v.first, v.last()} }

// bounds returns the first and the last seq of one moment.
func (j *Journal) bounds() bounds { return j.view.Load().bounds() }

// bounds are the seqs of the first and the last record; last is first-1 if there is none.
type bounds struct{ first, last Seq }

// check returns ErrNotFound unless seq is in low to high, which the caller takes from b. The error
// has the values that were compared: a second reading of them could contradict the first.
func (b bounds) check(seq, low, high Seq) error {
	switch {
	case low <= seq && seq <= high:
		return nil
	case b.last < b.first:
		return fmt.Errorf("seq %d: %w: there is none, the next one is %d",
			seq, ErrNotFound, b.first)
	}
	return fmt.Errorf("seq %d: %w: there are %d to %d", seq, ErrNotFound, b.first, b.last)
}
