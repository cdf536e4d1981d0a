package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"go.uber.org/zap"

	"mmjournal/segment"
)

// TruncateFront drops the records before first, so that First returns first. first may be Last()+1,
// which empties the journal. Segments without live records are removed. If the journal is emptied
// on a full disk, this includes the active segment, provided that it is nearly full or an append
// has failed for lack of space. When TruncateFront returns, the truncation is durable, and so is
// every record that was published before it.
//
// TruncateFront may run concurrently with appends and reads. It also works on a full disk, if the
// file system can write over existing data in place. Errors: ErrNotFound if first is not in First()
// to Last()+1; ErrNoSpace on a full disk where the file system cannot do that (nothing has
// changed); ErrClosed, ErrReadOnly, ErrFailed.
func (j *Journal) TruncateFront(first Seq) error {
	return j.TruncateFrontContext(context.Background(), first)
}

// TruncateFrontContext is TruncateFront with a context. If ctx ends before the truncation has
// begun, nothing has changed, and the error matches that of ctx. If ctx ends later, the error also
// matches ErrPending: the truncation goes on in the background, and the next truncation, Reset or
// Close waits for it. To learn the outcome, call the method again with the same seq.
func (j *Journal) TruncateFrontContext(ctx context.Context, first Seq) error {
	return j.change(ctx, "truncate front", func() error {
		b := j.bounds()
		if err := b.check(first, b.first, b.last+1); err != nil {
			return err
		}
		if err := j.syncAll(); err != nil {
			return err
		}
		if first > b.first {
			if err := j.dropFront(first); err != nil {
				return err
			}
		}
		if first <= b.last {
			return nil
		}
		return j.freeLast()
	})
}

// dropFront is TruncateFront for a seq above First.
func (j *Journal) dropFront(first Seq) error {
	if err := j.noteFirstLive(first); err != nil {
		return err
	}
	if err := j.claimChange(); err != nil {
		return err
	}
	return j.retireFront(first)
}

// TruncateBack drops the records after last, so that the next record gets the seq last+1. last may
// be First()-1, which empties the journal. When TruncateBack returns, the truncation is durable,
// and so are the remaining records.
//
// A concurrent append comes either before the truncation, which may drop its record, or after it.
// Errors: ErrNotFound if last is not in First()-1 to Last(); otherwise those of TruncateFront.
func (j *Journal) TruncateBack(last Seq) error {
	return j.TruncateBackContext(context.Background(), last)
}

// TruncateBackContext is TruncateBack with a context: see [Journal.TruncateFrontContext]. A call
// that is repeated after ErrPending also drops the records appended since the first one.
func (j *Journal) TruncateBackContext(ctx context.Context, last Seq) error {
	return j.change(ctx, "truncate back", func() error {
		b := j.bounds()
		if err := b.check(last, b.first-1, b.last); err != nil {
			return err
		}
		if err := j.syncAll(); err != nil || last == j.Last() {
			return err
		}
		return j.cutAt(last)
	})
}

// Reset drops all records and gives the next record the seq next, 1 to 2⁵⁵. When Reset returns,
// that is durable. Errors: ErrOptions if next is not in that range; otherwise those of
// TruncateFront.
func (j *Journal) Reset(next Seq) error { return j.ResetContext(context.Background(), next) }

// ResetContext is Reset with a context: see [Journal.TruncateFrontContext]. A call that is repeated
// after ErrPending also drops the records appended since the first one.
func (j *Journal) ResetContext(ctx context.Context, next Seq) error {
	return j.change(ctx, "reset", func() error {
		if next == 0 || next > segment.MaxSeq/2+1 { // half of them are left for records
			return fmt.Errorf("%w: next seq %d is not in 1 to %d",
				ErrOptions, next, Seq(segment.MaxSeq/2+1))
		}
		return j.cut(next, next, nil, segment.Link{Reason: segment.ReasonReset})
	})
}

// change runs a structural change with the syncer's turn, so that it is the only one and no sync is
// under way. If ctx ends while it waits for the turn, nothing changes; if later, the change goes on
// in the background, with the turn.
func (j *Journal) change(ctx context.Context, op string, f func() error) error {
	err := ctx.Err()
	if err == nil {
		err = j.usable()
	}
	if err == nil {
		err = j.syncer.enterContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	run := func() error {
		defer j.syncer.leave()
		err := j.usable()
		if err == nil {
			err = j.checkFiles()
		}
		if err == nil {
			err = f()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	}
	if ctx.Done() == nil {
		return run()
	}
	ended, err := apart(ctx, run)
	if !ended {
		return pending(ctx, op)
	}
	return err
}

// claimChange makes a change durable that has just been written as a link or a mark, and then the
// claim that it is. If the change got lost without that claim, nobody would miss it.
func (j *Journal) claimChange() error {
	if j.isQuiet() {
		return nil // JOURNAL has it, and what it claims
	}
	if err := j.syncChange(); err != nil {
		return err
	}
	claim := j.syncer.pos
	if err := j.writeMark(); errors.Is(err, ErrNoSpace) {
		j.log.Warn("no room for the mark of a change; JOURNAL says it alone", zap.Error(err))
	} else if err != nil {
		return err
	}
	if err := j.syncChange(); err != nil {
		return err
	}
	return j.claimOutside(claim)
}

// syncChange is syncAll for a change that cannot be taken back, and for Close: the caller cannot
// repeat the sync, so ErrNoSpace would say something else.
func (j *Journal) syncChange() error {
	err := j.syncAll()
	if errors.Is(err, segment.ErrTime) {
		return j.fail(err)
	}
	return err
}

func (j *Journal) writeMark() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.markLocked(j.mark())
}

// isQuiet reports whether no segment is appended to.
func (j *Journal) isQuiet() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.writer == nil
}

// noteFirstLive writes a mark, or a link, with a new first live seq.
func (j *Journal) noteFirstLive(first Seq) error {
	for {
		done, err := j.tryFirstLive(first)
		if done || err != nil {
			return err
		}
		// There is no space for a segment that is needed for it, and something was appended since
		// the last sync.
		if err := j.syncAll(); err != nil {
			return err
		}
	}
}

func (j *Journal) tryFirstLive(first Seq) (done bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	old, oldStart := j.mu.firstLive, j.mu.start.FirstLive
	j.mu.firstLive, j.mu.start.FirstLive = first, first
	w := j.mu.writer
	if w == nil {
		err = j.startLocked(0)
	} else {
		err = j.markLocked(j.mark())
	}
	done = true
	if errors.Is(err, ErrNoSpace) && j.failed() == nil {
		l := j.mu.start
		if w != nil {
			l = j.endLocked(segment.ReasonNoSpace)
		}
		if done = w == nil || j.syncer.pos == w.Position(); done {
			err = j.standInLocked(l, *j.view.Load())
		} else {
			err = nil
		}
	}
	if err != nil || !done {
		j.mu.firstLive, j.mu.start.FirstLive = old, oldStart
	}
	return done, err
}

// retireFront takes the segments that hold no live record off the chain.
func (j *Journal) retireFront(first Seq) error {
	j.mu.Lock()
	v := *j.view.Load()
	chain := v.chain
	n := 0
	for n+1 < len(chain) && chain[n+1].Link.Base <= first {
		n++
	}
	v.first, v.chain = first, slices.Clone(chain[n:]) // nothing holds on to the others
	j.view.Store(&v)
	j.mu.Unlock()
	return j.retire(chain[:n])
}

// freeLast removes the segment that is appended to, if it holds no live record, has no room for
// what is appended, and takes the space that the next one needs. Without that, a journal with one
// segment on a full disk could not get rid of it.
func (j *Journal) freeLast() error {
	dropped, err := j.leaveLast()
	if err == nil && len(dropped) > 0 {
		err = j.claimChange()
	}
	if err != nil {
		return err
	}
	return j.retire(dropped)
}

// leaveLast is freeLast's part under the lock. It returns the segments that are not on the chain
// any more. The truncation is durable already, so lack of space is no error.
func (j *Journal) leaveLast() ([]*segment.Segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := j.mu.writer
	if w == nil || w.Next() != j.mu.firstLive || j.syncer.pos != w.Position() {
		return nil, nil
	}
	size := w.Segment().Size
	if w.Fits(size/leastRoom, true) && !j.mu.lacking {
		return nil, nil
	}
	if _, err := j.factory.peek(segment.MaxBatch(size)); !errors.Is(err, ErrNoSpace) {
		return nil, j.failed() // if there is another error, the next append meets it, too
	}
	v := *j.view.Load()
	old := v.chain
	v.chain = nil
	err := j.standInLocked(j.endLocked(segment.ReasonNoSpace), v)
	if errors.Is(err, ErrNoSpace) && j.failed() == nil {
		j.log.Warn("space is not freed", zap.Error(err))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return old, nil
}

// leastRoom says how much room a segment must have left to be kept by freeLast, as a part of its
// size: what it has is worth more than the same space on a full disk, which others take.
const leastRoom = 4

// retire removes segments that are durably not on the chain any more. Readers that still use one
// keep it mapped.
func (j *Journal) retire(segs []*segment.Segment) error {
	for _, seg := range segs {
		j.names.garbage = append(j.names.garbage, seg.Ordinal)
		j.drop(seg)
	}
	return j.collect(j.syncer.pos.Ordinal)
}

// cutAt makes last the last record.
func (j *Journal) cutAt(last Seq) error {
	chain := j.view.Load().chain
	l := segment.Link{Reason: segment.ReasonTruncateBack, Claim: j.syncer.pos}
	i := sort.Search(len(chain), func(i int) bool { return chain[i].Link.Base > last })
	if i > 0 {
		pred := chain[i-1]
		end, err := pred.After(last)
		if err == nil {
			err = j.syncTime(pred, end)
		}
		if err != nil {
			return err
		}
		l.Pred, l.PredSalt, l.PredEnd = pred.Ordinal, pred.Salt, end
	}
	return j.cut(j.First(), last+1, chain[:i], l)
}

// cut makes keep the chain, with a fresh segment behind it whose first record is next. It removes
// the other segments when that is durable.
func (j *Journal) cut(firstLive, next Seq, keep []*segment.Segment, l segment.Link) error {
	l.FirstLive, l.Base = firstLive, next
	dropped, err := j.cutChain(keep, l)
	if err != nil {
		return err
	}
	if err := j.claimChange(); err != nil {
		for _, seg := range dropped { // the files stay: nobody knows what is on the disk
			err = errors.Join(err, seg.Drop())
		}
		return err
	}
	return j.retire(dropped)
}

// cutChain is cut's part under the lock. It returns the segments that are not on the chain any
// more.
func (j *Journal) cutChain(keep []*segment.Segment, l segment.Link) ([]*segment.Segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, durable := *j.view.Load(), j.durable.Load()
	old := v.chain
	v.first, v.chain, v.cuts = l.FirstLive, slices.Clip(keep), v.cuts+1
	j.durable.Store(min(durable, uint64(l.Base-1))) // never above published
	err := j.cutLocked(l, v, 0)
	if errors.Is(err, ErrNoSpace) && j.failed() == nil {
		err = j.standInLocked(l, v)
	}
	if err != nil {
		j.durable.Store(durable)
		return nil, err
	}
	j.staged.Store(uint64(l.Base - 1))
	j.mu.firstLive = l.FirstLive
	return old[len(keep):], nil
}
