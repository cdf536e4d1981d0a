//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// noOp is the Op of a failed operation that changes nothing.
const noOp = 1<<64 - 1

func newWorker(arg string) (*worker, error) {
	w := &worker{push: make(chan uint64, 1)}
	if err := json.Unmarshal([]byte(arg), &w.w); err != nil {
		return nil, err
	}
	w.r = rand.New(rand.NewPCG(w.w.Seed, uint64(w.w.Life)))
	var err error
	if w.conn, err = dialDisk(w.w.Socket); err != nil {
		return nil, err
	}
	for i := range writers {
		conn, err := dialDisk(w.w.Socket)
		if err != nil {
			return nil, err
		}
		w.actors = append(w.actors, &actor{
			worker: w, number: i, conn: conn,
			r: rand.New(rand.NewPCG(w.w.Seed, uint64(w.w.Life*writers+i)<<32)),
		})
	}
	go func() {
		for x := range w.push {
			w.writeBack(x)
		}
	}()
	return w, nil
}

// step is one operation of a writer, and sometimes what goes with it.
func (a *actor) step() error {
	if err := a.append(); err != nil {
		return err
	}
	if a.r.IntN(3) == 0 && a.durability != journal.Synced && !a.w.Early {
		a.writeBack(a.r.Uint64())
	}
	switch {
	case a.r.IntN(a.rarely) == 0 && !a.w.Early:
		return a.sync(a.conn)
	case a.r.IntN(8) == 0 && !a.w.Early:
		return a.conn.mark(&Mark{Kind: Durable, Seq: uint64(a.j.Durable())})
	case a.r.IntN(60) == 0 && a.number == 0 && !a.w.Early:
		first, durable := uint64(a.j.First()), uint64(a.j.Durable())
		if durable <= first {
			return nil
		}
		seq := first + uint64(a.r.Int64N(int64(durable-first)))
		if err := a.conn.mark(&Mark{Kind: Front, Seq: seq}); err != nil {
			return err
		}
		if err := a.j.TruncateFront(journal.Seq(seq)); err != nil {
			return a.failed(a.conn, 0, err)
		}
		return a.conn.mark(&Mark{Kind: Fronted, Seq: seq})
	}
	return nil
}

// append appends a record or a batch, between its marks.
func (a *actor) append() error {
	k, writer := 1, a.number
	if a.large {
		writer += largeWriter
	}
	if a.r.IntN(4) == 0 {
		k = 2 + a.r.IntN(4)
	}
	begin := &Mark{Kind: Append, Op: a.ops.Add(1)}
	var payloads [][]byte
	for i := range k {
		id := ID{Life: a.w.Life, Writer: writer, N: a.n + i, Index: i, Of: k}
		begin.IDs = append(begin.IDs, id)
		payloads = append(payloads, id.payload())
	}
	a.n += k
	if err := a.conn.mark(begin); err != nil {
		return err
	}
	if a.durability == journal.Synced && a.r.IntN(3) == 0 {
		select {
		case a.push <- a.r.Uint64(): // races with the append
		default:
		}
	}
	if begin.Op == uint64(a.w.Die) {
		go func() { _ = unix.Kill(os.Getpid(), unix.SIGKILL) }() // while the append is under way
	}
	before := a.failure.Load()
	seq, err := a.call(payloads)
	if err != nil {
		return a.failed(a.conn, begin.Op, err)
	}
	if err := a.late(before, "Append"); err != nil {
		return err
	}
	end := &Mark{Kind: Returned, Op: begin.Op, Seq: uint64(seq)}
	if a.durability == journal.Synced || a.w.Early {
		end.Kind = Acked
	}
	return a.conn.mark(end)
}

// call appends in one of the ways that there are.
func (a *actor) call(payloads [][]byte) (journal.Seq, error) {
	p := payloads[0]
	switch {
	case len(payloads) > 1:
		return a.j.AppendBatch(payloads)
	case a.r.IntN(3) == 0:
		return a.j.AppendFunc(len(p), func(dst []byte) error {
			copy(dst, p)
			return nil
		})
	}
	return a.j.Append(p)
}

// failed: an operation has returned an error. It returns nil if that changes nothing, errStop if
// the journal has failed for good, as it may where the disk does.
func (w *worker) failed(conn *diskConn, op uint64, err error) error {
	sticky := errors.Is(err, journal.ErrFailed)
	m := &Mark{Kind: Failed, Op: op, Sticky: sticky, Text: err.Error()}
	excused := w.excused(op, err)
	if !excused {
		m = &Mark{Kind: Wrong, Text: "an operation fails, and the disk is no reason: " + err.Error()}
	}
	if merr := conn.mark(m); merr != nil {
		return merr
	}
	if sticky {
		w.failure.CompareAndSwap(nil, &err)
		return errStop
	}
	switch {
	case !excused:
		return err
	case w.w.Fill:
		return errFull
	}
	return nil
}

// late checks I9: what begins after the journal has failed is not acknowledged.
func (w *worker) late(before *error, op string) error {
	if before != nil {
		return w.wrong("I9: %s succeeds after the journal had failed: %v", op, *before)
	}
	return nil
}

// afterFailure checks I9 for good: nothing is acknowledged, and the error stays the same.
func (w *worker) afterFailure() error {
	if w.failure.Load() == nil {
		return nil // Open has refused
	}
	first := ""
	for i := range 6 {
		what, err := "Append", error(nil)
		if i%2 == 0 {
			_, err = w.j.Append([]byte("after the failure"))
		} else {
			what, err = "Sync", w.j.Sync(context.Background())
		}
		if !errors.Is(err, journal.ErrFailed) && !errors.Is(err, journal.ErrClosed) {
			return w.wrong("I9: %s after the journal has failed returns %v", what, err)
		}
		if first == "" {
			first = err.Error()
		}
		if err.Error() != first {
			return w.wrong("I9: first %q, then %q", first, err)
		}
	}
	if f := (*w.failure.Load()).Error(); !strings.HasSuffix(f, first) && !errors.Is(
		*w.failure.Load(), journal.ErrClosed) && first != journal.ErrClosed.Error() {
		return w.wrong("I9: it failed with %q, and says %q now", f, first)
	}
	return nil
}

// writeBack makes the kernel write some pages of one of the newest segments, as it may at any time.
// It waits for that, but where the disk fails: whoever waits is told of the error, and a file that
// is opened later is not told any more.
func (w *worker) writeBack(x uint64) {
	w.back.Lock()
	defer w.back.Unlock()
	names, err := filepath.Glob(filepath.Join(w.w.Dir, "*"))
	if err != nil || len(names) == 0 {
		return
	}
	slices.Sort(names)
	from := max(0, len(names)-3)
	f, err := os.Open(names[from+int(x%uint64(len(names)-from))])
	if err != nil {
		return
	}
	defer f.Close()
	flags := unix.SYNC_FILE_RANGE_WRITE
	if !w.w.Errors {
		flags |= unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	for page := range int64(4 * segmentSize / blockSize) {
		if bits.RotateLeft64(x, int(page))&1 == 0 {
			continue
		}
		if err := unix.SyncFileRange(int(f.Fd()), page*blockSize, blockSize, flags); err != nil {
			fmt.Fprintln(os.Stderr, "sync_file_range:", err)
		}
	}
}
