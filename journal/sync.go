package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"time"

	"go.uber.org/zap"

	"mmjournal/segment"
)

// gather lets others run who are likely to append: those whom the turn before has released, as long
// as they have not come back. Without it, the first of them would sync its own record, and all
// others would wait for the next sync.
// Where there is much to sync already, it does not wait: the disk should not.
func (j *Journal) gather() {
	for range maxYields {
		j.syncer.mu.Lock()
		all := j.syncer.mu.waiting >= j.syncer.mu.released
		j.syncer.mu.Unlock()
		if all || j.muchWaits() {
			return
		}
		runtime.Gosched()
	}
}

// maxYields bounds gather: more gain nothing (bench/README.md).
const maxYields = 3

// Sync makes every record durable that was appended before the call. When ctx ends, Sync returns
// the error of ctx at once, even if the disk does not respond. A sync that has begun goes on in the
// background; if it fails, the journal fails. If every record is durable already, Sync returns nil,
// even if ctx has ended.
//
// Errors: ErrFailed if a sync has failed, now or earlier; ErrClosed; ErrReadOnly; those of ctx.
func (j *Journal) Sync(ctx context.Context) error {
	if err := j.usable(); err != nil {
		return err
	}
	err := j.WaitDurable(ctx, j.appended())
	if errors.Is(err, ErrNotFound) {
		return nil // truncated since; and a truncation syncs what it leaves
	}
	return err
}

// WaitDurable waits until a power cut can no longer take any record up to seq: each of them is
// durable or permanently dropped. It syncs if no other goroutine does. A seq below First() is not
// an error, whether or not such a record ever existed.
//
// ErrNotFound: no record with that seq has been appended, or TruncateBack, or Reset to a lower seq,
// has dropped it. A seq that [Journal.AppendContext] returned together with an error counts as
// appended, although the record may not be published yet. Otherwise WaitDurable returns the errors
// of Sync.
func (j *Journal) WaitDurable(ctx context.Context, seq Seq) error {
	switch {
	case j.failed() == nil && j.Durable() >= seq:
		return nil
	case j.readOnly:
		return ErrReadOnly
	case j.failed() == nil && seq > j.appended():
		return notFound(seq)
	}
	return j.waitDurable(ctx, seq)
}

func notFound(seq Seq) error { return fmt.Errorf("wait for seq %d: %w", seq, ErrNotFound) }

// appended returns the seq of the newest record that was appended, published or not. Readers see
// one that is staged only when a sync has moved it.
func (j *Journal) appended() Seq {
	published := j.Published()
	if j.stage == nil {
		return published
	}
	return max(published, Seq(j.staged.Load()))
}

// waitDurable is WaitDurable for a record that has been appended, published or not.
func (j *Journal) waitDurable(ctx context.Context, seq Seq) error {
	for {
		if err := j.failed(); err != nil {
			return err
		}
		if j.Durable() >= seq {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		wait := j.syncer.tryEnter()
		if ctx.Done() == nil {
			if wait == nil {
				return j.syncTurn(seq)
			}
			if err := j.moveAhead(); err != nil {
				return err
			}
			<-wait
			continue
		}
		if wait == nil {
			_, err := apart(ctx, func() error { return j.syncTurn(seq) })
			return err
		}
		j.moveAheadApart()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// moveAhead moves what is staged, if it is much, while a sync is under way: the next one has less
// to do then.
func (j *Journal) moveAhead() error {
	if j.stage == nil || !j.stage.Large() {
		return nil
	}
	return j.moveStaged()
}

// moveAheadApart is moveAhead in another goroutine, for a caller that the disk must not hold. If it
// fails, the journal fails.
func (j *Journal) moveAheadApart() {
	if j.stage == nil || !j.stage.Large() || !j.moving.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer j.moving.Store(false)
		_ = j.moveStaged()
	}()
}

// moveStaged moves what is staged, unless somebody is moving something.
func (j *Journal) moveStaged() error {
	group, err := j.tryTake()
	if err != nil {
		return err
	}
	if err := group.Move(); err != nil {
		return j.fail(err)
	}
	return nil
}

func (j *Journal) tryTake() (segment.Group, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.failed(); err != nil {
		return segment.Group{}, err
	}
	return j.mu.writer.TryTake(), nil
}

// muchWaits reports whether so many staged bytes are not durable that they would be moved ahead, or
// have been. The caller has the syncer's turn.
func (j *Journal) muchWaits() bool {
	chain := j.view.Load().chain
	if j.stage == nil || len(chain) == 0 {
		return false
	}
	seg, from := chain[len(chain)-1], segment.FirstFrame
	if pos := j.syncer.pos; pos.Ordinal == seg.Ordinal {
		from = pos.Offset
	}
	return int64(seg.End()-from)+j.stage.Staged() >= int64(j.stage.Ahead)
}

// syncTurn syncs with the turn that the caller has taken, unless somebody has just done it. A
// record that is not durable then was dropped.
func (j *Journal) syncTurn(seq Seq) (err error) {
	goesOn := false
	defer func() {
		if !goesOn {
			j.syncer.leave()
		}
	}()
	switch {
	case j.Durable() >= seq:
		return j.failed()
	case j.released:
		return ErrClosed
	}
	j.gather()
	if err := j.syncAll(); err != nil {
		return err
	}
	if j.Durable() < seq {
		err = notFound(seq)
	}
	if goesOn = j.muchWaits() && j.syncer.goOn(); goesOn {
		go j.syncOn()
	}
	return err
}

// syncOn syncs again, with the turn of somebody who has something else to do, as long as there is
// much to sync: the disk should not wait until one of those who wait runs.
func (j *Journal) syncOn() {
	defer j.syncer.leave()
	for j.syncAll() == nil && j.muchWaits() && j.syncer.goOn() {
	}
}

// syncAll publishes what is staged, and makes everything that is published then durable. The caller
// has the turn.
//
// Segments are synced oldest first, and one that was active at the last sync again: its seal came
// after. A failed sync is never repeated: the kernel reports lost pages once, so the next sync
// would lie. The journal fails instead.
func (j *Journal) syncAll() error {
	pos, last, chain, group, err := j.target()
	if err != nil {
		return err
	}
	j.syncer.cover()
	if err := group.Move(); err != nil {
		return j.fail(err)
	}
	if !j.syncer.pos.Less(pos) {
		return nil
	}
	return j.syncTo(pos, last, chain)
}

// unsynced returns the segments of a chain that the latest sync has not covered wholly. The caller
// has the turn.
func (j *Journal) unsynced(chain []*segment.Segment) []*segment.Segment {
	return chain[sort.Search(len(chain), func(i int) bool {
		return chain[i].Ordinal >= j.syncer.pos.Ordinal
	}):]
}

// syncTo makes what is published up to pos durable: the segments there of chain. The caller has the
// turn.
func (j *Journal) syncTo(pos segment.Position, last Seq, chain []*segment.Segment) error {
	start := time.Now()
	chain = j.unsynced(chain)
	for _, seg := range chain {
		end := segment.Position{Ordinal: seg.Ordinal, Offset: seg.End()}
		if !j.syncer.pos.Less(end) || seg.Ordinal > pos.Ordinal {
			continue
		}
		err := j.syncSegment(seg)
		if errors.Is(err, segment.ErrTime) { // before the sync: it can be repeated
			return err
		}
		if err != nil {
			return j.fail(err)
		}
		if err := j.checkSegment(seg); err != nil {
			return err
		}
	}
	for _, seg := range chain { // those that are not full, but that nothing is appended to any more
		if seg.Ordinal < pos.Ordinal {
			if err := j.syncTime(seg, seg.End()); err != nil {
				return err
			}
		}
	}
	if err := j.checkDirectory(); err != nil {
		return err
	}
	return j.finishSync(pos, last, chain, time.Since(start))
}

// syncSealed makes the full segments durable. It leaves the active one alone: the next append to a
// page of it would fault. The next append returns its error.
func (j *Journal) syncSealed() {
	j.syncer.enter()
	defer j.syncer.leave()
	if j.released {
		return
	}
	pos, last, chain, err := j.sealed()
	if err == nil && j.syncer.pos.Less(pos) {
		_ = j.syncTo(pos, last, chain)
	}
}

// sealed returns where the segments before the active one end.
func (j *Journal) sealed() (
	pos segment.Position, last Seq, chain []*segment.Segment, err error,
) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.failed(); err != nil || j.mu.writer == nil {
		return pos, 0, nil, err
	}
	l := j.mu.writer.Segment().Link
	return segment.Position{Ordinal: l.Pred, Offset: l.PredEnd}, l.Base - 1, j.view.Load().chain, nil
}

// syncSegment syncs a segment in the way of those who write to it.
func (j *Journal) syncSegment(seg *segment.Segment) error {
	if j.stage == nil {
		return seg.SyncFrames()
	}
	return seg.Sync()
}

// syncTime makes the time of a segment's file durable, if it is not, for the records before end.
// Open does that for the segments that no claim covers; so it must be done before a claim covers
// one that is not full. The caller has the turn.
func (j *Journal) syncTime(seg *segment.Segment, end segment.Offset) error {
	if !seg.NewTime() {
		return nil
	}
	n, err := seg.Links()
	if err != nil {
		return j.fail(err)
	}
	if n > 1 { // what shares a file with a snapshot stays as it is
		seg.KeepTime()
		return nil
	}
	err = seg.SyncTime(end)
	if errors.Is(err, segment.ErrTime) {
		j.log.Warn("a backup may miss what has changed, after a power cut", zap.Error(err))
		return nil
	}
	if err != nil {
		return j.fail(err)
	}
	return nil
}

// target returns how far the journal is appended to: position, last seq, and the chain; and what is
// staged, which is the caller's to move. It looks for a failure under the lock: an append that has
// just failed there is not to be synced.
func (j *Journal) target() (
	pos segment.Position, last Seq, chain []*segment.Segment, group segment.Group, err error,
) {
	j.stage.Wait() // not under the lock: appends go on meanwhile
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.failed(); err != nil || j.mu.writer == nil {
		return pos, 0, nil, group, err
	}
	if err := j.endGroupLocked(); err != nil {
		return pos, 0, nil, group, err
	}
	w := j.mu.writer
	return w.Position(), w.Next() - 1, j.view.Load().chain, w.Take(), nil
}

// finishSync moves the durable watermark. The next mark notes the claim, so it costs no sync of its
// own.
func (j *Journal) finishSync(
	pos segment.Position, last Seq, chain []*segment.Segment, took time.Duration,
) error {
	for _, seg := range chain {
		if seg.Ordinal < pos.Ordinal {
			if err := seg.Release(); err != nil { // full and durable
				j.log.Warn("close " + seg.Path() + ": " + err.Error())
			}
		}
	}
	if pos.Ordinal == j.syncer.pos.Ordinal && last > j.Durable() { // else it was a mark
		j.factory.noteGroup(int64(pos.Offset - j.syncer.pos.Offset))
	}
	j.syncer.pos = pos
	j.mu.Lock()
	j.mu.claim, j.mu.unclaimed = pos, true
	j.mu.unsynced, j.mu.past = 0, 0
	j.names.garbage = append(j.names.garbage, j.mu.skipped...)
	j.mu.skipped = nil
	j.durable.Store(uint64(last))
	j.mu.Unlock()

	j.syncer.stats.Lock()
	j.syncer.stats.syncs++
	j.syncer.stats.syncTime += took
	j.syncer.stats.Unlock()
	return j.collect(pos.Ordinal)
}

// collect removes segments that are not needed any more; the factory gets some of their files. A
// failed sync of the directory makes the journal fail: it may have been about the name of a segment
// that is.
func (j *Journal) collect(durable uint64) error {
	kept, err := j.names.collect(durable, j.factory.room(), j.log)
	if err != nil {
		return j.fail(err)
	}
	j.factory.keep(kept...)
	return nil
}

// startTicker starts the background syncs of Durability Interval.
func (j *Journal) startTicker() {
	if j.opts.Durability != Interval {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	j.ticker.stop, j.ticker.done = cancel, make(chan struct{})
	go func() {
		defer close(j.ticker.done)
		t := time.NewTicker(j.opts.SyncInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if j.Durable() < j.Published() {
					_ = j.Sync(ctx) // a failure is sticky: the next append returns it
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (j *Journal) stopTicker() {
	if j.ticker.stop != nil {
		j.ticker.stop()
		<-j.ticker.done
	}
}
