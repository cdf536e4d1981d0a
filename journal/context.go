package journal

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"mmjournal/segment"
)

// Calls with a context return when it ends, whatever the disk is doing: what may wait for the disk,
// or for a lock that is held while the disk works, runs in another goroutine. A context that cannot
// end costs nothing.

// apart runs f, in another goroutine if ctx can end. If ctx ends before f does, apart returns false
// and the error of ctx, and f goes on.
func apart(ctx context.Context, f func() error) (done bool, err error) {
	if ctx.Done() == nil {
		return true, f()
	}
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result:
		return true, err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return true, err
	default:
		return false, ctx.Err()
	}
}

// pending returns the error of an operation that goes on although ctx has ended.
func pending(ctx context.Context, op string) error {
	return fmt.Errorf("%s: %w: %w", op, ErrPending, ctx.Err())
}

// AppendContext is Append with a context. When ctx ends, AppendContext returns, even if the disk
// does not respond:
//
//   - If nothing was appended, and nothing will be, it returns seq 0 and an error that matches that
//     of ctx.
//   - With Durability Synced, if the record was appended but is not known to be durable, it returns
//     the record's seq and an error that matches ErrPending and that of ctx. The record becomes
//     durable in the background as soon as the disk allows. [Journal.WaitDurable] with that seq
//     waits for it and returns the outcome. A second append would append the record twice.
//
// After it returns, AppendContext no longer reads the payload.
//
// One wait has no limit: with Durability Published and Interval, a store to mapped memory that the
// system delays. Otherwise AppendContext is like Append.
func (j *Journal) AppendContext(ctx context.Context, payload []byte) (Seq, error) {
	if ctx.Done() == nil {
		return j.Append(payload)
	}
	size := segment.FrameSize(int64(len(payload)))
	if err := j.checkSize(size, len(payload)); err != nil {
		return 0, err
	}
	crc := segment.Checksum(payload)
	return j.appendContext(ctx, &queuedAppend{
		records: 1, size: size,
		put: func(w *segment.Writer) error { return w.Append(payload, crc) },
	})
}

// AppendFuncContext is AppendFunc with a context: see [Journal.AppendContext]. fn runs before
// AppendFuncContext waits, and ctx does not interrupt it.
func (j *Journal) AppendFuncContext(
	ctx context.Context, n int, fn func(dst []byte) error,
) (Seq, error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("append: %w", ctx.Err())
	}
	b, err := j.encode(n, fn)
	if err != nil {
		return 0, err
	}
	defer b.free()
	return j.AppendContext(ctx, b.payload)
}

// AppendBatchContext is AppendBatch with a context: see [Journal.AppendContext].
func (j *Journal) AppendBatchContext(
	ctx context.Context, payloads [][]byte,
) (first Seq, err error) {
	if ctx.Done() == nil || len(payloads) == 0 {
		return j.AppendBatch(payloads)
	}
	crcs, size, err := j.checkBatch(payloads, nil)
	if err != nil {
		return 0, err
	}
	return j.appendContext(ctx, &queuedAppend{
		records: len(payloads), size: size,
		put: func(w *segment.Writer) error { return w.AppendBatch(payloads, crcs) },
	})
}

// appendQueue holds appends that wait for mu with a context. One goroutine takes the lock for all
// of them, in their order: a caller that gives up leaves nothing behind.
type appendQueue struct {
	mu struct {
		sync.Mutex
		waiting list.List // of *queuedAppend
		serving bool      // there is that goroutine
	}
}

// queuedAppend is an append with a context.
type queuedAppend struct {
	records int
	size    int64                       // of their frames
	put     func(*segment.Writer) error // appends them; not called once the caller has returned

	state atomic.Int32 // waits, then one of the others
	last  Seq
	err   error
	done  chan struct{} // closed when last and err are set
}

// The states of a queuedAppend.
const (
	waits   = iota
	begun   // it is being appended: that takes no disk
	givenUp // nothing will be appended
)

// appendContext appends and returns the first seq.
func (j *Journal) appendContext(ctx context.Context, a *queuedAppend) (Seq, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	if err := j.usable(); err != nil {
		return 0, err
	}
	if !j.tryAppend(a) && !j.appendQueued(ctx, a) {
		return 0, fmt.Errorf("append: %w", ctx.Err())
	}
	if a.err != nil {
		return 0, a.err
	}
	first := a.last - Seq(a.records) + 1
	if j.opts.Durability != Synced {
		return first, nil
	}
	err := j.waitAppended(ctx, a.last)
	switch {
	case err == nil:
		return first, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		j.syncLater()
		return first, pending(ctx, fmt.Sprintf("append: seq %d", first))
	}
	return 0, err
}

// tryAppend appends if that waits for nothing.
func (j *Journal) tryAppend(a *queuedAppend) bool {
	if !j.mu.TryLock() {
		return false
	}
	defer j.mu.Unlock()
	if j.needsSegmentLocked(a.size) {
		return false
	}
	j.putLocked(a)
	return true
}

// putLocked appends, unless the caller has given up.
func (j *Journal) putLocked(a *queuedAppend) {
	if a.state.Load() == givenUp {
		return
	}
	a.err = j.roomLocked(a.size)
	if a.state.CompareAndSwap(waits, begun) && a.err == nil {
		a.last, a.err = j.publishLocked(a.put(j.mu.writer))
	}
}

// appendQueued waits for mu, and appends. It returns false if ctx has ended before: then nothing
// will be appended.
func (j *Journal) appendQueued(ctx context.Context, a *queuedAppend) bool {
	a.done = make(chan struct{})
	q := &j.queue.mu
	q.Lock()
	e := q.waiting.PushBack(a)
	if !q.serving {
		q.serving = true
		go j.serveQueue()
	}
	q.Unlock()
	select {
	case <-a.done:
		return true
	case <-ctx.Done():
	}
	if a.state.CompareAndSwap(waits, givenUp) {
		q.Lock()
		defer q.Unlock()
		q.waiting.Remove(e)
		return false
	}
	<-a.done
	return true
}

// serveQueue appends what waits, until nothing does.
func (j *Journal) serveQueue() {
	for a := j.queue.next(); a != nil; a = j.queue.next() {
		j.mu.Lock()
		j.putLocked(a)
		j.mu.Unlock()
		close(a.done)
	}
}

// next takes the next append out of the queue. Without one it returns nil, and its caller ends.
func (q *appendQueue) next() *queuedAppend {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.mu.waiting.Front()
	if q.mu.serving = e != nil; !q.mu.serving {
		return nil
	}
	a, _ := q.mu.waiting.Remove(e).(*queuedAppend)
	return a
}

// laterSync is a sync for records whose callers do not wait for it any more.
type laterSync struct {
	sync.Mutex
	asked, running bool
}

// syncLater makes what has been appended durable, in the background.
func (j *Journal) syncLater() {
	l := &j.later
	l.Lock()
	defer l.Unlock()
	l.asked = true
	if l.running {
		return
	}
	l.running = true
	go func() {
		for l.next() {
			// An error is for those who ask: the journal has failed, or the records were dropped.
			_ = j.waitDurable(context.Background(), j.appended())
		}
	}()
}

// next reports whether there is another sync to make.
func (l *laterSync) next() bool {
	l.Lock()
	defer l.Unlock()
	l.running, l.asked = l.asked, false
	return l.running
}
