package journal

import (
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"mmjournal/segment"
)

// factory prepares segments ahead, one at a time and in the order of their ordinals, so that a roll
// finds one waiting, or most where they are needed fast. It primes or zeroes them as folio
// says, if there is time for that. A preparation that fails is tried again by whoever needs the
// segment.
//
// The segments of a new journal have the full size. After an end without a Close, and after a cut,
// a segment is as large as everything together that was handed out since then, but for a first
// small one: an end costs little however often it happens, and a journal that goes on soon has
// segments of the full size again. (A new journal that grew in this way had its durable appends of
// 128 B, from 64 goroutines, take 1.7 times as long in its first 8 MiB, for the rolls.) Where the
// disk has no space for a segment, it is smaller.
type factory struct {
	fsys       segment.FS
	dir        string
	size       int64 // of segments at most
	folio      folio
	background bool // false: only take prepares, in the caller's goroutine
	spares     int  // how many files are kept to be written over
	most       int  // segments that are ready where they are needed fast
	log        *zap.Logger

	mu struct {
		sync.Mutex
		id      segment.ID
		next    uint64             // ordinal of the next file
		filled  int64              // bytes of the segments that decide the size of the next one
		ready   []*segment.Segment // the next one first
		busy    bool               // a preparation is under way, without the lock
		stopped bool
		failed  bool     // the last preparation: its file may be there
		broken  error    // a directory sync failed: not to be repeated
		spares  []string // files of dropped segments, to be written over
		group   int64    // bytes that a sync has made durable: a mean that forgets
		pace    pace
		stats   factoryStats
	}
	idle sync.Cond // signalled when busy becomes false; on mu
}

type factoryStats struct {
	prepared    uint64
	zeroed      uint64 // of these
	recycled    uint64 // of these
	primed      uint64 // of these
	prepareTime time.Duration
	stalls      uint64 // of those who found nothing ready
	stallTime   time.Duration
}

func newFactory(
	fsys segment.FS, dir string, size int64, folio folio, background bool,
) *factory {
	f := &factory{
		fsys: fsys, dir: dir, size: size, folio: folio, background: background, most: 1,
		log: zap.NewNop(),
	}
	f.idle.L = &f.mu
	return f
}

// begin tells the factory which journal it works for, the first ordinal that is free, and how many
// bytes the segments have that the next one continues.
func (f *factory) begin(id segment.ID, next uint64, filled int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.id, f.mu.next, f.mu.filled = id, next, filled
}

// setSize sets the size of full-grown segments, and how many of them are ready where they are
// needed fast.
func (f *factory) setSize(size int64, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size, f.most = size, most
}

// skipOrdinal gives up an ordinal, which is above those of all files that were prepared or were
// begun to be, and returns it, and with it the segments that are ready: none of them can be used.
// giveBack takes everything back, if no file says that the ordinal was used: prepared segments must
// follow each other. It is nil if a segment is ready that can be used.
func (f *factory) skipOrdinal() (ordinal uint64, skipped []*segment.Segment, giveBack func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.mu.busy {
		f.idle.Wait()
	}
	if f.fitLocked(0) >= 0 {
		return 0, nil, nil
	}
	next, failed, skipped := f.mu.next, f.mu.failed, f.mu.ready
	if f.mu.failed { // its file may be there
		f.mu.next++
		f.mu.failed = false
	}
	f.mu.next++
	f.mu.ready = nil
	return f.mu.next - 1, skipped, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.next, f.mu.failed, f.mu.ready = next, failed, skipped
	}
}

// restart makes the segments small again: the journal is being cut.
func (f *factory) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.filled = 0
}

// sizesLocked returns how large the next segment is to be, and how large at least, if the disk has
// not that much space. Frames of need bytes are to fit.
func (f *factory) sizesLocked(need int64) (size, least int64) {
	least = min(f.size, segment.SizeFor(need))
	return min(f.size, max(least, leastSegment, f.mu.filled)), least
}

// leastSegment is the size of the first segment after an end without a Close, and after a cut.
const leastSegment = MinSegmentSize

// noteGroup tells how many bytes a sync has made durable: by that the next segments are zeroed.
func (f *factory) noteGroup(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.group == 0 {
		f.mu.group = n
	}
	f.mu.group += (n - f.mu.group) / 8
}

// mostReady is how many segments are ready, at most, where they are needed fast. Appends that wait
// for a sync leave no full segments to be synced all at once, which is what a preparation waits
// for; and spare files would run short. For large segments see mostPrimed.
func mostReady(o *Options) int {
	if o.Durability == Synced || o.SegmentSize > mostPrimed/2 {
		return 1
	}
	return 2
}

// wantLocked returns whether a segment is to be prepared in the background.
func (f *factory) wantLocked() bool {
	ahead := 1
	if f.mu.pace.hurry() {
		ahead = f.most
	}
	return len(f.mu.ready) < ahead && !f.mu.stopped && f.mu.broken == nil
}

// want starts to prepare segments in the background, if they are wanted and none is under way.
func (f *factory) want() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.background || f.mu.busy || !f.wantLocked() {
		return
	}
	f.mu.busy = true // from now on, not only when the goroutine has the lock
	go func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		least := segment.MaxBatch(min(f.size, leastSegment))
		err := f.prepareLocked(least)
		for err == nil && f.wantLocked() {
			err = f.prepareLocked(least)
		}
		if err != nil { // take meets it again, and returns it; but Close does not take
			f.log.Warn("a segment cannot be prepared ahead", zap.Error(err))
		}
	}()
}

// peek waits until a segment is ready that frames of need bytes fit in, and returns its ordinal. An
// error leaves everything as it was and the call can be repeated, but for segment.ErrUnnamed.
func (f *factory) peek(need int64) (ordinal uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.ensureLocked(need)
	if err != nil {
		return 0, err
	}
	return f.mu.ready[i].Ordinal, nil
}

// ensureLocked makes sure that a segment is ready that frames of need bytes fit in, and returns
// which of them it is. That none was is a stall, however long the wait: whoever appends waits for
// the disk.
func (f *factory) ensureLocked(need int64) (i int, err error) {
	if i := f.fitLocked(need); i >= 0 {
		return i, nil
	}
	start := time.Now()
	i, err = f.waitLocked(need)
	f.mu.stats.stalls++
	f.mu.stats.stallTime += time.Since(start)
	return i, err
}

// fitLocked returns the first segment that frames of need bytes fit in, that no snapshot shares,
// and that has its name still; or -1.
func (f *factory) fitLocked(need int64) int {
	return slices.IndexFunc(f.mu.ready, func(s *segment.Segment) bool {
		if need > segment.MaxBatch(s.Size) {
			return false
		}
		n, err := s.Links()
		return n == 1 || err != nil
	})
}

func (f *factory) waitLocked(need int64) (int, error) {
	for f.mu.busy {
		f.idle.Wait()
		if i := f.fitLocked(need); i >= 0 {
			return i, nil
		}
	}
	if f.mu.stopped {
		return 0, ErrClosed
	}
	if f.mu.broken != nil {
		return 0, f.mu.broken
	}
	err := f.prepareLocked(need)
	return len(f.mu.ready) - 1, err
}

// prepareLocked prepares a segment that frames of need bytes fit in, busy and without holding the
// lock meanwhile. No other preparation is under way. Where the disk is too full for a segment of
// the size that it should have, it tries half of that, and again.
func (f *factory) prepareLocked(need int64) error {
	f.mu.busy = true
	defer func() {
		f.mu.busy = false
		f.idle.Broadcast()
	}()
	size, least := f.sizesLocked(need)
	for {
		err := f.prepareSizeLocked(size)
		if size == least || !errors.Is(err, ErrNoSpace) {
			return err
		}
		size = max(roundUp(size/2), least)
	}
}

// prepareSizeLocked prepares a segment of a size.
func (f *factory) prepareSizeLocked(size int64) error {
	start := time.Now()
	id := segment.NewIdentity(f.mu.id, f.mu.next, size, start)
	zeros := f.folio(f.mu.group, size)
	if f.background && !f.mu.pace.inTime() {
		zeros = segment.Zeros{}
	}
	f.mu.Unlock()
	seg, err := f.recycle(id)
	if seg == nil && err == nil {
		seg, err = segment.Prepare(f.fsys, f.dir, id, zeros)
	}
	f.mu.Lock()
	if errors.Is(err, segment.ErrUnnamed) {
		f.mu.broken = err
	}
	if f.mu.failed = err != nil; f.mu.failed {
		return err
	}
	f.mu.ready = append(f.mu.ready, seg)
	f.mu.next++
	f.mu.filled += size
	f.mu.stats.prepared++
	took := time.Since(start)
	zeroed := zeros.Chunk > 0 && !seg.Recycled
	f.mu.pace.prepared(took, zeroed)
	f.mu.stats.prepareTime += took
	switch {
	case seg.Recycled:
		f.mu.stats.recycled++
	case seg.Primed:
		f.mu.stats.primed++
	case zeroed:
		f.mu.stats.zeroed++
	}
	return nil
}

// recycle makes a segment of the first spare that can be one; without one it returns nil. The only
// error is that of a failed sync of the directory. Others cost a file that nobody needs, and a new
// one takes its place: they are logged.
func (f *factory) recycle(id segment.Identity) (*segment.Segment, error) {
	for path := f.spare(); path != ""; path = f.spare() {
		seg, err := segment.Recycle(f.fsys, f.dir, path, id)
		switch {
		case err == nil, errors.Is(err, segment.ErrUnnamed):
			return seg, err
		case errors.Is(err, segment.ErrInUse): // as it is meant to be
			f.log.Debug("a spare file is not written over", zap.Error(err))
		default:
			f.log.Warn("a spare file cannot be written over", zap.Error(err))
		}
	}
	return nil, nil
}

// spare returns a file to write over, which is the caller's from then on; "" if there is none.
func (f *factory) spare() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.spares) == 0 {
		return ""
	}
	path := f.mu.spares[0]
	f.mu.spares = f.mu.spares[1:]
	return path
}

// room returns how many files the factory would keep, to write over them, beside the one that it is
// writing over.
func (f *factory) room() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.stopped {
		return 0
	}
	return f.spares - len(f.mu.spares)
}

// keep gives the factory files to write over. Their names are temporary ones, durably.
func (f *factory) keep(paths ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.spares = append(f.mu.spares, paths...)
}

// take returns the next segment, which is the caller's from then on, and those that it passes over
// because frames of need bytes do not fit in them: nothing was written to these, and they are to be
// removed when the next one is durably linked. full says that the one before is full, and not cut.
func (f *factory) take(need int64, full bool) (seg *segment.Segment, skipped []*segment.Segment,
	err error,
) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if full {
		f.mu.pace.need(time.Now())
	}
	i, err := f.ensureLocked(need)
	if err != nil {
		return nil, nil, err
	}
	seg, skipped = f.mu.ready[i], slices.Clone(f.mu.ready[:i])
	f.mu.ready = slices.Delete(f.mu.ready, 0, i+1)
	f.mu.pace.take(time.Now())
	return seg, skipped, nil
}

// leftOver is what a factory has that nobody has taken.
type leftOver struct {
	ready   []*segment.Segment // in the order of their ordinals
	failed  uint64             // the ordinal above them, if a preparation has failed; or 0
	unnamed bool               // a directory sync failed: it is not known which files are there
	spares  []string
}

// prepared returns the ordinals of the files that are to be removed, in descending order.
func (l *leftOver) prepared() (ordinals []uint64) {
	if len(l.ready) > 0 && l.failed > 0 {
		ordinals = append(ordinals, l.failed)
	}
	for _, seg := range slices.Backward(l.ready) {
		ordinals = append(ordinals, seg.Ordinal)
	}
	return ordinals
}

// stop waits for a preparation under way and returns what is left. Nothing is prepared afterwards.
func (f *factory) stop() leftOver {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.stopped = true
	for f.mu.busy {
		f.idle.Wait()
	}
	left := leftOver{ready: f.mu.ready, unnamed: f.mu.broken != nil, spares: f.mu.spares}
	if f.mu.failed {
		left.failed = f.mu.next
	}
	f.mu.ready, f.mu.spares = nil, nil
	return left
}

func (f *factory) stats() factoryStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.stats
}
