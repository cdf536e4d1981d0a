package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"mmjournal/segment"
)

// Append appends a record and returns its seq. With Durability Synced the record is durable when
// Append returns; otherwise it is published. Append copies the payload, which must not change
// during the call and may be empty.
//
// Errors: ErrTooLarge, ErrClosed and ErrReadOnly. ErrNoSpace, or another error of the file system,
// if no new segment could be prepared: nothing was appended, and the call can be repeated.
// ErrFailed: it is not known whether the record will exist after the next Open. With Synced,
// ErrNotFound: a concurrent TruncateBack or Reset has dropped the record. If its seq has been
// reused by then, Append waits for the new record and returns no error. Nor does it if the journal
// now continues at a higher seq.
func (j *Journal) Append(payload []byte) (Seq, error) {
	size := segment.FrameSize(int64(len(payload)))
	if err := j.checkSize(size, len(payload)); err != nil {
		return 0, err
	}
	crc := segment.Checksum(payload)
	seq, err := j.append(payload, crc, size)
	if err != nil {
		return 0, err
	}
	return j.acknowledge(seq, seq)
}

func (j *Journal) append(payload []byte, crc uint32, size int64) (Seq, error) {
	if j.closed.Load() { // no wait for mu, which a stalled disk may hold
		return 0, ErrClosed
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.hasRoomLocked(size) {
		if err := j.roomLocked(size); err != nil {
			return 0, err
		}
	}
	return j.publishLocked(j.mu.writer.Append(payload, crc))
}

// hasRoomLocked reports whether roomLocked has nothing to do, as a rule without a call.
func (j *Journal) hasRoomLocked(size int64) bool {
	w := j.mu.writer
	return w != nil && w.Fits(size, true) && !j.mu.unclaimed && !j.closed.Load() &&
		j.failure.Load() == nil && !j.isSharedLocked()
}

// AppendFunc appends a record of n bytes. fn writes them to dst, memory of the journal that is
// zeroed, and valid until fn returns. No lock is held while fn runs: fn may use the journal, and
// other appends do not wait for it. If fn fails, AppendFunc appends nothing and returns fn's error.
// It also appends nothing if fn panics or ends its goroutine. Otherwise AppendFunc is like Append.
func (j *Journal) AppendFunc(n int, fn func(dst []byte) error) (Seq, error) {
	b, err := j.encode(n, fn)
	if err != nil {
		return 0, err
	}
	seq, err := j.append(b.payload, segment.Checksum(b.payload), segment.FrameSize(int64(n)))
	b.free()
	if err != nil {
		return 0, err
	}
	return j.acknowledge(seq, seq)
}

// encode returns the payload that fn writes, in a buffer that the caller frees.
func (j *Journal) encode(n int, fn func(dst []byte) error) (*buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("append: %w: a record of %d bytes", ErrOptions, n)
	}
	if err := j.checkSize(segment.FrameSize(int64(n)), n); err != nil {
		return nil, err
	}
	if err := j.usable(); err != nil {
		return nil, err
	}
	b := newBuffer(n)
	if err := fn(b.payload); err != nil {
		b.free()
		return nil, err
	}
	return b, nil
}

// buffer is where the function of an AppendFunc writes a payload.
type buffer struct{ payload []byte }

var buffers sync.Pool // of *buffer

// keptBuffer is how large a buffer may be and stay for the next payload.
const keptBuffer = 1 << 20

// newBuffer returns a buffer for a payload of n bytes, which are zero.
func newBuffer(n int) *buffer {
	b, _ := buffers.Get().(*buffer)
	if b == nil {
		b = new(buffer)
	}
	if cap(b.payload) < n {
		b.payload = make([]byte, n)
		return b
	}
	b.payload = b.payload[:n]
	clear(b.payload)
	return b
}

// free gives the buffer back. It must not be used any more.
func (b *buffer) free() {
	if cap(b.payload) <= keptBuffer {
		buffers.Put(b)
	}
}

// AppendBatch appends several records atomically: after a crash, all of them exist or none, and
// readers see them all at once. It returns the seq of the first record; the others follow. Their
// frames must fit in one segment: see MaxBatch. An empty batch appends nothing and returns 0.
// Otherwise AppendBatch is like Append.
func (j *Journal) AppendBatch(payloads [][]byte) (first Seq, err error) {
	if len(payloads) == 0 {
		return 0, j.usable()
	}
	var few [32]uint32
	crcs, size, err := j.checkBatch(payloads, few[:0])
	if err != nil {
		return 0, err
	}
	last, err := j.appendBatch(payloads, crcs, size)
	if err != nil {
		return 0, err
	}
	return j.acknowledge(last-Seq(len(payloads))+1, last)
}

func (j *Journal) appendBatch(payloads [][]byte, crcs []uint32, size int64) (Seq, error) {
	if j.closed.Load() {
		return 0, ErrClosed
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.roomLocked(size); err != nil {
		return 0, err
	}
	return j.publishLocked(j.mu.writer.AppendBatch(payloads, crcs))
}

// checkBatch returns the payloads' checksums, appended to crcs, and the size of their frames.
func (j *Journal) checkBatch(payloads [][]byte, crcs []uint32) (_ []uint32, size int64, _ error) {
	for _, p := range payloads {
		size += segment.FrameSize(int64(len(p)))
		if err := j.checkSize(size, len(p)); err != nil {
			return nil, 0, err
		}
		crcs = append(crcs, segment.Checksum(p))
	}
	return crcs, size, nil
}

// checkSize refuses what does not fit in a segment of the size that the options give.
func (j *Journal) checkSize(frames int64, payload int) error {
	if frames <= segment.MaxBatch(j.opts.SegmentSize) &&
		int64(payload) <= segment.MaxRecord(j.opts.SegmentSize) {
		return nil
	}
	return fmt.Errorf("append: %w: %d bytes with framing, a segment of %d bytes holds %d",
		ErrTooLarge, frames, j.opts.SegmentSize, segment.MaxBatch(j.opts.SegmentSize))
}

// acknowledge waits for what the durability level promises, and returns first.
func (j *Journal) acknowledge(first, last Seq) (Seq, error) {
	if j.opts.Durability == Synced {
		if err := j.waitAppended(context.Background(), last); err != nil {
			return 0, err
		}
	}
	return first, nil
}

// waitAppended is waitDurable for the append itself. An ErrNoSpace would say that nothing was
// appended.
func (j *Journal) waitAppended(ctx context.Context, seq Seq) error {
	err := j.waitDurable(ctx, seq)
	if errors.Is(err, segment.ErrTime) {
		err = j.fail(err)
	}
	return err
}

// usable returns why nothing can be appended, or nil.
func (j *Journal) usable() error {
	switch {
	case j.closed.Load():
		return ErrClosed
	case j.readOnly:
		return ErrReadOnly
	}
	return j.failed()
}

// roomLocked makes room for frames of records that take size bytes: it starts this life's first
// segment, or rolls to the next one, if need be. A claim that waits to be written goes first.
//
// Behind staged records, two marks have room: the one that ends the group, and that of a truncation
// or of a clean end, which must not need a new segment when the disk is full. (Records that fill a
// segment by themselves leave room for one.)
func (j *Journal) roomLocked(size int64) error {
	if err := j.usable(); err != nil {
		return err
	}
	if j.needsSegmentLocked(size) {
		err := j.nextLocked(size)
		j.mu.lacking = errors.Is(err, ErrNoSpace)
		return err
	}
	if j.stage == nil && j.mu.unclaimed && j.mu.writer.Fits(size, true) {
		return j.markLocked(j.mark())
	}
	return nil
}

// needsSegmentLocked reports whether records that take size bytes need another segment, for which
// the disk has to work.
func (j *Journal) needsSegmentLocked(size int64) bool {
	w := j.mu.writer
	return w == nil || j.isSharedLocked() || !w.Fits(size, j.stage != nil && !w.Empty())
}

// maxSegments keeps the mappings of a journal, two memory areas each, well below Linux's usual
// limit of 65,530 for a process (vm.max_map_count): above it nothing could open the journal any
// more.
const maxSegments = 20_000

// nextLocked puts an empty segment in place, in which frames of need bytes fit: the first one of
// this life, or the one after a full one.
func (j *Journal) nextLocked(need int64) error {
	if n := len(j.view.Load().chain); n >= maxSegments {
		return fmt.Errorf("append: %w: it has %d segments; truncate the front, "+
			"and use larger segments from now on", ErrTooLarge, n)
	}
	if j.mu.writer == nil {
		return j.startLocked(need)
	}
	return j.rollLocked(need)
}

// publishLocked ends an append: the writer has made it visible, unless err says that it failed. It
// returns the last seq.
func (j *Journal) publishLocked(err error) (Seq, error) {
	if err != nil {
		return 0, j.fail(err)
	}
	w := j.mu.writer
	last := w.Next() - 1
	if j.stage != nil {
		j.staged.Store(uint64(last))
	}
	j.mu.atMark, j.mu.unmarked = false, true
	if at := w.Position().Offset; at >= j.mu.nextAt {
		j.aheadLocked(at)
	}
	return last, nil
}

// startLocked begins this life in a fresh segment that is linked to where recovery has found the
// end.
func (j *Journal) startLocked(need int64) error {
	return j.cutLocked(j.mu.start, *j.view.Load(), need)
}

// cutLocked links a fresh segment after the chain that v keeps, in which frames of need bytes fit,
// and goes on there. If it fails before the link is written, nothing has changed.
func (j *Journal) cutLocked(l segment.Link, v view, need int64) error {
	if err := j.failed(); err != nil {
		return err
	}
	j.mu.past = 0
	if l.Reason == segment.ReasonTruncateBack || l.Reason == segment.ReasonReset {
		j.factory.restart()
	}
	ordinal, err := j.factory.peek(need)
	if err == nil {
		err = j.names.setNewest(ordinal)
	}
	if err != nil {
		return j.unprepared("prepare a segment", err)
	}
	seg, err := j.takeLocked(need, false)
	if err != nil {
		return j.unprepared("prepare a segment", err)
	}
	return j.linkLocked(seg, l, v)
}

// standInLocked does what cutLocked does where the disk has no space for a segment: the file
// JOURNAL has room for the link. Everything up to the link's end must be durable, and the caller
// has the syncer's turn. Appends begin the segment that follows it, when there is space.
func (j *Journal) standInLocked(l segment.Link, v view) error {
	ordinal, skipped, giveBack := j.factory.skipOrdinal()
	if giveBack == nil {
		return j.cutLocked(l, v, 0)
	}
	l.Time = time.Now()
	if kept := withoutStandIn(v.chain); len(kept) > 0 {
		if err := j.syncTime(kept[len(kept)-1], l.PredEnd); err != nil {
			return err
		}
	}
	if err := j.names.setStandIn(ordinal, l); err != nil {
		giveBack()
		return j.unprepared("note the change in JOURNAL", err)
	}
	for _, s := range skipped {
		j.names.garbage = append(j.names.garbage, s.Ordinal)
		j.drop(s)
	}
	j.stage.Discard()
	seg := segment.NewStandIn(filepath.Join(j.dir, segment.JournalName),
		j.names.file.Journal, ordinal, l)
	v.chain = append(withoutStandIn(v.chain), seg)
	j.view.Store(&v)
	j.mu.writer, j.mu.start, j.mu.claim = nil, l, l.Claim
	j.mu.unclaimed, j.mu.unmarked, j.mu.atMark = false, false, false
	j.syncer.pos = segment.Position{Ordinal: ordinal, Offset: seg.End()}
	j.durable.Store(uint64(l.Base - 1))
	j.log.Warn("no space for a segment: JOURNAL notes the change alone",
		zap.Stringer("reason", l.Reason), zap.Uint64("next seq", uint64(l.Base)))
	return nil
}

// endLocked returns the link of a segment that follows the active one where that ends now, and
// where everything is durable.
func (j *Journal) endLocked(why segment.Reason) segment.Link {
	w := j.mu.writer
	seg := w.Segment()
	return segment.Link{
		Base: w.Next(), Pred: seg.Ordinal, PredSalt: seg.Salt, PredEnd: w.Position().Offset,
		FirstLive: j.mu.firstLive, Claim: j.syncer.pos, Reason: why,
	}
}

// withoutStandIn returns the chain without a stand-in at its end. An append to it changes no other
// slice: chain is the longest one of its array.
func withoutStandIn(chain []*segment.Segment) []*segment.Segment {
	if n := len(chain); n > 0 && chain[n-1].IsStandIn() {
		return chain[: n-1 : n-1]
	}
	return chain
}

// unprepared sorts errors of preparing files: all can be retried, unless it is not known which
// names the directory has, or it is not the journal's any more.
func (j *Journal) unprepared(op string, err error) error {
	if fatal(err) {
		return j.fail(err)
	}
	if err := j.checkDirectory(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", op, err)
}

// maxUnsynced is how many sealed segments wait for a sync before one is made in the background,
// whatever the durability level: each keeps a descriptor and dirty pages until then.
const maxUnsynced = 16

// takeLocked takes the next segment in which frames of need bytes fit. Those that it passes over
// are removed after the sync that makes the next one durable.
func (j *Journal) takeLocked(need int64, full bool) (*segment.Segment, error) {
	seg, skipped, err := j.factory.take(need, full)
	for _, s := range skipped {
		j.mu.skipped = append(j.mu.skipped, s.Ordinal)
		j.drop(s)
	}
	return seg, err
}

// drop gives up a segment.
func (j *Journal) drop(seg *segment.Segment) {
	if err := seg.Drop(); err != nil {
		j.log.Warn("unmap " + seg.Path() + ": " + err.Error())
	}
}

// rollLocked seals the full segment and goes on in the next one, in which frames of need bytes fit.
// Usually one is ready. A segment whose file has a second name is not sealed: nothing is written to
// it but the records that have their place there already.
func (j *Journal) rollLocked(need int64) error {
	seg, err := j.takeLocked(need, true)
	if err != nil {
		return j.unprepared("prepare a segment", err)
	}
	err = j.checkDirectory()
	if err == nil {
		err = j.checkSegment(j.mu.writer.Segment())
	}
	if err == nil {
		err = j.endGroupLocked()
	}
	if err != nil {
		return errors.Join(err, seg.Drop())
	}
	w := j.mu.writer
	if err := w.Take().Move(); err != nil {
		return errors.Join(j.fail(err), seg.Drop())
	}
	why := segment.ReasonRoll
	if j.isSharedLocked() {
		why = segment.ReasonShared
	} else if err := w.Seal(&seg.Identity); err != nil {
		return errors.Join(j.fail(err), seg.Drop())
	}
	j.rolls.Add(1)
	if j.mu.unsynced++; j.mu.unsynced >= maxUnsynced && j.factory.background {
		j.mu.unsynced = 0
		go j.syncSealed()
	}
	j.mu.past = j.unsyncedLocked(w.Position())
	old := w.Segment()
	return j.linkLocked(seg, segment.Link{
		Base: w.Next(), Pred: old.Ordinal, PredSalt: old.Salt, PredEnd: old.End(),
		FirstLive: j.mu.firstLive, Claim: j.mu.claim, Reason: why,
	}, *j.view.Load())
}

// linkLocked writes a fresh segment's link and makes it the one that is appended to. Readers see v
// from then on, with that segment.
func (j *Journal) linkLocked(seg *segment.Segment, l segment.Link, v view) error {
	l.Time = time.Now()
	w, err := segment.NewWriter(seg, l, j.stage)
	if err != nil {
		return errors.Join(j.fail(err), seg.Drop())
	}
	v.chain = append(withoutStandIn(v.chain), seg)
	j.view.Store(&v)
	j.mu.writer = w
	j.mu.unclaimed, j.mu.unmarked = false, false
	j.mu.atMark = false
	j.beginAheadLocked(seg, l.Reason == segment.ReasonRoll)
	j.log.Debug("segment begun", zap.String("file", seg.Path()), zap.Stringer("reason", l.Reason))
	return nil
}

// mark returns the mark that says what is known now.
func (j *Journal) mark() segment.Mark {
	return segment.Mark{Claim: j.mu.claim, FirstLive: j.mu.firstLive, Time: time.Now()}
}

// markLocked writes a mark; where there is no room for it, or the segment must not be written to,
// the next segment's link says the same.
func (j *Journal) markLocked(m segment.Mark) error {
	if err := j.failed(); err != nil {
		return err
	}
	if j.isSharedLocked() {
		return j.rollLocked(0)
	}
	ok, err := j.mu.writer.Mark(m)
	switch {
	case err != nil:
		return j.fail(err)
	case !ok:
		return j.rollLocked(0)
	}
	j.mu.unclaimed, j.mu.unmarked = false, false
	j.mu.atMark = m.Clean
	return nil
}

// endGroupLocked ends what is staged with a mark. It says what was durable before, so it costs no
// sync of its own; and it shows that there was a group, if the beginning of that gets lost: in a
// recycled segment, where bytes behind the end mean nothing, nothing else would. In another one it
// is left out where only a closing mark has room behind it.
func (j *Journal) endGroupLocked() error {
	if j.stage == nil || !j.mu.unmarked || j.isSharedLocked() {
		return nil
	}
	if w := j.mu.writer; !w.Segment().Recycled && !w.Fits(0, true) {
		return nil
	}
	return j.markLocked(j.mark())
}

// atClosingMark reports whether nothing was written in this life, or nothing since the closing
// mark.
func (j *Journal) atClosingMark() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.writer == nil || j.mu.atMark
}

// closingMark writes the mark of a clean end, which claims everything before it. The caller has the
// syncer's turn, and all of that is durable. It returns false if it found no room, and rolled.
func (j *Journal) closingMark() (marked bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.mark()
	m.Clean = true
	err = j.markLocked(m)
	if w := j.mu.writer; errors.Is(err, ErrNoSpace) && j.syncer.pos == w.Position() {
		return true, j.standInLocked(j.endLocked(segment.ReasonNoSpace), *j.view.Load())
	}
	return j.mu.atMark, err
}
