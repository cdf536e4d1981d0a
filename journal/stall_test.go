package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
)

// A disk that stalls: operations of one kind do not return until they are released. No call with a
// context may wait for it longer than until the context ends.

// stalling is a disk that stalls on demand.
type stalling struct {
	*simdisk.Disk
	now atomic.Pointer[stall]
}

// stall holds up operations of one kind.
type stall struct {
	kind simdisk.OpKind
	met  chan struct{} // closed when the first operation is held up
	once sync.Once
	free chan struct{} // closed by release
	err  error         // with which they fail then
}

func newStalling(t *testing.T) *stalling {
	t.Helper()
	s := &stalling{Disk: simdisk.New(simdisk.Options{})}
	if err := s.MkdirAll("j"); err != nil {
		t.Fatal(err)
	}
	s.OnOp = func(op simdisk.Op) error {
		now := s.now.Load()
		if now == nil || op.Kind != now.kind || filepath.Ext(op.Path) == "" {
			return nil
		}
		now.once.Do(func() { close(now.met) })
		<-now.free
		return now.err
	}
	return s
}

// begin holds up operations of a kind from now on.
func (s *stalling) begin(kind simdisk.OpKind, err error) *stall {
	now := &stall{kind: kind, met: make(chan struct{}), free: make(chan struct{}), err: err}
	s.now.Store(now)
	return now
}

// release lets the operations go on, or fail. What comes later works.
func (s *stalling) release(now *stall) {
	s.now.Store(nil)
	close(now.free)
}

// endingContext is a context that ends when it is asked for the n-th time whether it has; if it is
// not asked so often, it ends soon: the call waits then.
type endingContext struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func endingAt(n int) *endingContext {
	c := new(endingContext)
	c.Context, c.cancel = context.WithTimeout(context.Background(), 4*time.Millisecond)
	c.left.Store(int64(n))
	return c
}

func (c *endingContext) asked() {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
}

func (c *endingContext) Done() <-chan struct{} { c.asked(); return c.Context.Done() }
func (c *endingContext) Err() error            { c.asked(); return c.Context.Err() }

// ctxOutcome is what a call with a context has said.
type ctxOutcome int

const (
	works   ctxOutcome = iota // nil
	pending                   // ErrPending and the error of the context
	nothing                   // the error of the context only
)

func (o ctxOutcome) String() string { return [...]string{"done", "pending", "nothing"}[o] }

// judge returns what an error says, which may be no other one.
func judge(ctx context.Context, err error) (ctxOutcome, error) {
	switch {
	case err == nil:
		return works, nil
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
		return 0, err
	case errors.Is(err, journal.ErrPending):
		return pending, nil
	}
	return nothing, nil
}

// stallCase is a journal on a disk that stalls, and what is known of it.
type stallCase struct {
	t     *testing.T
	d     journal.Durability
	disk  *stalling
	j     *journal.Journal
	base  []string // the records before the call, from seq 1 on
	own   []string // what the call appends
	seq   journal.Seq
	first journal.Seq // after the call, and what is left of base
	left  []string

	before int // goroutines of journals
}

// stallPayload is so large that a segment has room for two.
func stallPayload(n int) []byte { return fmt.Appendf(nil, "%d%s", n, strings.Repeat(".", 1500)) }

// openStallCase opens a journal with three records, of which two are durable, and the third, with
// Durability Synced, is not even published. There is room for one more in the segment.
func openStallCase(t *testing.T, d journal.Durability) *stallCase {
	t.Helper()
	s, before := newStalling(t), goroutines()
	j, err := journal.OpenFS(s.Disk, "j", &journal.Options{SegmentSize: modelSegment, Durability: d})
	if err != nil {
		t.Fatal(err)
	}
	c := &stallCase{t: t, d: d, disk: s, j: j, first: 1, before: before}
	for range 2 {
		c.append()
	}
	if err := j.WaitDurable(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	c.append()
	return c
}

// append appends a record, and does not wait for its sync.
func (c *stallCase) append() {
	c.t.Helper()
	p := stallPayload(len(c.base))
	if err := journal.Stage(c.j, p); err != nil {
		c.t.Fatal(err)
	}
	c.base = append(c.base, string(p))
	c.left = c.base
}

// stallCalls are the calls with a context. Each returns what it has done, and, unless that is
// nothing, a function that waits until it is done.
var stallCalls = []struct {
	name string
	call func(c *stallCase, ctx context.Context) (ctxOutcome, func() error)
}{
	{"Sync", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		return c.synced(ctx, c.j.Sync(ctx)), nil
	}},
	{"WaitDurable", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		return c.synced(ctx, c.j.WaitDurable(ctx, 3)), nil
	}},
	{"Append", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		p := stallPayload(100)
		c.own = []string{string(p)}
		seq, err := c.j.AppendContext(ctx, p)
		clear(p) // which the journal must not read any more
		return c.appended(ctx, seq, err)
	}},
	{"AppendBatch", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		a, b := stallPayload(100)[:700], stallPayload(101)[:700]
		c.own = []string{string(a), string(b)}
		seq, err := c.j.AppendBatchContext(ctx, [][]byte{a, b})
		clear(a)
		clear(b)
		return c.appended(ctx, seq, err)
	}},
	{"AppendFunc", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		p := stallPayload(100)
		c.own = []string{string(p)}
		seq, err := c.j.AppendFuncContext(ctx, len(p), func(dst []byte) error {
			copy(dst, p)
			return nil
		})
		return c.appended(ctx, seq, err)
	}},
	{"TruncateFront", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		err := c.j.TruncateFrontContext(ctx, 2)
		return c.changed(ctx, err, 2, c.base[1:], func() error { return c.j.TruncateFront(2) })
	}},
	{"TruncateBack", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		err := c.j.TruncateBackContext(ctx, 2)
		return c.changed(ctx, err, 1, c.base[:2], func() error { return c.j.TruncateBack(2) })
	}},
	{"Reset", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		err := c.j.ResetContext(ctx, 7)
		return c.changed(ctx, err, 7, nil, func() error { return c.j.Reset(7) })
	}},
	{"Close", func(c *stallCase, ctx context.Context) (ctxOutcome, func() error) {
		o := c.judge(ctx, c.j.CloseContext(ctx))
		if o == nothing {
			c.t.Error("CloseContext has not begun to close")
		}
		if _, err := c.j.Append(nil); !errors.Is(err, journal.ErrClosed) {
			c.t.Errorf("Append after CloseContext: %v", err)
		}
		return o, nil
	}},
}

func (c *stallCase) judge(ctx context.Context, err error) ctxOutcome {
	c.t.Helper()
	o, err := judge(ctx, err)
	if err != nil {
		c.t.Fatal(err)
	}
	return o
}

// synced takes what a sync has returned.
func (c *stallCase) synced(ctx context.Context, err error) ctxOutcome {
	o := c.judge(ctx, err)
	if o == works && c.j.Durable() < 3 {
		c.t.Errorf("no error, and %d is durable", c.j.Durable())
	}
	return o
}

// appended takes what an append of own has returned.
func (c *stallCase) appended(
	ctx context.Context, seq journal.Seq, err error,
) (ctxOutcome, func() error) {
	o := c.judge(ctx, err)
	if (seq == 0) != (o == nothing) {
		c.t.Fatalf("seq %d and %v", seq, err)
	}
	if c.seq = seq; o == nothing {
		return o, nil
	}
	last := seq + journal.Seq(len(c.own)) - 1
	return o, func() error { return c.j.WaitDurable(context.Background(), last) }
}

// changed takes what a truncation or a reset has returned, and what it was to leave of base; again
// repeats it.
func (c *stallCase) changed(
	ctx context.Context, err error, first journal.Seq, left []string, again func() error,
) (ctxOutcome, func() error) {
	o := c.judge(ctx, err)
	if o == nothing {
		return o, nil
	}
	c.first, c.left = first, left
	return o, again
}

// TestStalledDisk: every call with a context returns when that ends, whatever the disk holds up: a
// sync of another goroutine, which has the turn; an append that prepares a segment, which has the
// lock; or the call's own operations. What it says it has done, it has done.
func TestStalledDisk(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	seen := map[string]bool{}
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, call := range stallCalls {
			for _, where := range []string{"sync", "segment", "own sync", "own segment"} {
				t.Run(fmt.Sprintf("%v/%s/%s", d, call.name, where), func(t *testing.T) {
					for n := 1; n <= 6 && !t.Failed(); n++ {
						o := stalledCall(t, d, where, func(c *stallCase) (ctxOutcome, func() error) {
							return call.call(c, endingAt(n))
						})
						seen[call.name+" "+o.String()] = true
					}
				})
			}
		}
	}
	if t.Failed() {
		return
	}
	for _, want := range []string{
		"Sync nothing", "WaitDurable nothing", "Append nothing", "Append pending", "Append done",
		"AppendBatch nothing", "AppendBatch pending", "AppendFunc nothing", "AppendFunc pending",
		"TruncateFront nothing", "TruncateFront pending", "TruncateBack nothing",
		"TruncateBack pending", "Reset nothing", "Reset pending", "Close pending",
	} {
		if !seen[want] {
			t.Errorf("%s: not seen", want)
		}
	}
}

// stalledCall makes a call on a disk that is stalled, lets it go, and checks what has become of it.
func stalledCall(
	t *testing.T, d journal.Durability, where string,
	call func(c *stallCase) (ctxOutcome, func() error),
) ctxOutcome {
	c := openStallCase(t, d)
	kind := simdisk.OpDatasync
	if strings.HasSuffix(where, "segment") {
		kind = simdisk.OpCreate
		c.append() // the next one needs a segment
	}
	var others sync.WaitGroup
	held := c.disk.begin(kind, nil)
	if !strings.HasPrefix(where, "own") {
		others.Go(c.other)
		<-held.met
	}
	o, wait := call(c)
	c.j.Stats() // which waits for nothing
	c.disk.release(held)
	others.Wait()
	if wait != nil {
		if err := wait(); err != nil {
			t.Errorf("%v, and then: %v", o, err)
		}
	}
	c.finish(o)
	return o
}

// other is what another goroutine does: it meets the stall, and comes to an end after it.
func (c *stallCase) other() {
	_, err := c.j.Append(stallPayload(200))
	if err == nil {
		err = c.j.Sync(context.Background())
	}
	if err != nil && !errors.Is(err, journal.ErrClosed) && !errors.Is(err, journal.ErrNotFound) {
		c.t.Error(err)
	}
}

// finish closes the journal, and checks that nothing is left over, and what is on the disk.
func (c *stallCase) finish(o ctxOutcome) {
	c.t.Helper()
	if err := c.j.Close(); err != nil && !(o == works && errors.Is(err, journal.ErrClosed)) {
		c.t.Error(err)
	}
	if err := c.j.Close(); !errors.Is(err, journal.ErrClosed) {
		c.t.Errorf("the second Close: %v", err)
	}
	noMoreGoroutines(c.t, c.before)
	if h, m := c.disk.Leaks(); h != 0 || m != 0 {
		c.t.Errorf("%d handles and %d mappings are left", h, m)
	}
	j, err := journal.OpenFS(afterCut(c.disk.Disk), "j", &journal.Options{VerifyOnOpen: true})
	if err != nil {
		c.t.Fatal(err)
	}
	defer mustClose(c.t, j)
	got := collect(c.t, j, 0)
	if j.First() != c.first || len(got) < len(c.left) || !slices.Equal(got[:len(c.left)], c.left) {
		c.t.Errorf("%d to %d; want %d records from %d on", j.First(), j.Last(), len(c.left), c.first)
		return
	}
	rest := slices.DeleteFunc(got[len(c.left):], func(p string) bool {
		return p == string(stallPayload(200))
	})
	if o == nothing {
		c.own = nil
	}
	if !slices.Equal(rest, c.own) {
		c.t.Errorf("%v, seq %d, and there are %.40q", o, c.seq, rest)
	}
	for i, p := range c.own {
		if got, err := j.Read(c.seq+journal.Seq(i), nil); err != nil || string(got) != p {
			c.t.Errorf("seq %d: %.40q, %v", c.seq+journal.Seq(i), got, err)
		}
	}
}

// goroutines returns how many goroutines of journals there are: other tests leave some behind, of
// processes that they kill.
func goroutines() int {
	b := make([]byte, 32<<20)
	return bytes.Count(b[:runtime.Stack(b, true)], []byte("created by mmjournal/journal.("))
}

// noMoreGoroutines waits until there are no more goroutines of journals than before.
func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	wait.Until(t, "the end of all goroutines of the journal", func() bool {
		return goroutines() <= before
	})
}

// TestStalledSyncFails: a sync that nobody waits for any more makes the journal fail when it fails.
func TestStalledSyncFails(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, call := range stallCalls {
			t.Run(fmt.Sprintf("%v/%s", d, call.name), func(t *testing.T) {
				c := openStallCase(t, d)
				held := c.disk.begin(simdisk.OpDatasync, syscall.EIO)
				o, wait := call.call(c, endingAt(1000))
				c.disk.release(held)
				if o == works { // with Published, an append meets no sync
					if !strings.HasPrefix(call.name, "Append") || d == journal.Synced {
						t.Error("no error on a disk that stalls")
					}
					mustClose(t, c.j)
					return
				}
				if wait != nil && o == pending {
					if err := wait(); !failedWith(err, syscall.EIO) {
						t.Errorf("%v, and then: %v", o, err)
					}
				}
				if call.name != "Close" {
					if err := c.j.WaitDurable(t.Context(), 3); !failedWith(err, syscall.EIO) {
						t.Errorf("WaitDurable: %v", err)
					}
					if _, err := c.j.Append(nil); !failedWith(err, syscall.EIO) {
						t.Errorf("Append: %v", err)
					}
				}
				if err := c.j.Close(); !failedWith(err, syscall.EIO) {
					t.Errorf("Close: %v", err)
				}
				noMoreGoroutines(t, c.before)
				if h, m := c.disk.Leaks(); h != 0 || m != 0 {
					t.Errorf("%d handles and %d mappings are left", h, m)
				}
			})
		}
	}
}

func failedWith(err, cause error) bool {
	return errors.Is(err, journal.ErrFailed) && errors.Is(err, cause)
}
