//go:build linux

package powercut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mmjournal/journal"
)

// Workload is one life of a process that uses a journal.
type Workload struct {
	Dir    string
	Socket string // of the disk
	Life   int
	Seed   uint64
	Rounds int  // of concurrent appends, with a structural operation after each
	Ops    int  // appends of each writer in a round
	Early  bool // seeded bug: acknowledge what is only published
	Peek   bool // seeded bug: show what is in the cache, and do not make it durable
	Errors bool // the disk is going to fail
	Fill   bool // the disk is nearly full: fill it up in each round, see fill
	Die    int  // kill yourself after that many appends have begun; 0: do not
}

const (
	writers     = 4
	segmentSize = 64 << 10 // or four times that
)

// worker is a running workload.
type worker struct {
	w          Workload
	j          *journal.Journal
	r          *rand.Rand // of the main goroutine
	conn       *diskConn  // of the main goroutine
	durability journal.Durability
	rarely     int // one append in so many is followed by a Sync
	ops        atomic.Uint64
	failure    atomic.Pointer[error] // the journal's first
	push       chan uint64           // asks for a page to be written back
	back       sync.Mutex            // held while pages are written back
	actors     []*actor
	snapshots  int // have been made
}

// actor is one goroutine that appends.
type actor struct {
	*worker
	number int
	conn   *diskConn
	r      *rand.Rand
	n      int  // records so far
	large  bool // records are large
}

// errStop ends a workload whose journal has failed.
var errStop = errors.New("the journal has failed")

// workloadMain is the workload's process. It does not close the journal at the end of every life.
func workloadMain(arg string) error {
	w, err := newWorker(arg)
	if err != nil {
		return err
	}
	life := w.run
	if w.w.Fill {
		life = w.fill
	}
	err = life()
	if errors.Is(err, errStop) {
		err = w.afterFailure()
	}
	if err == nil {
		err = w.conn.mark(&Mark{Kind: Finished})
	}
	if w.w.Errors && err == nil {
		fmt.Println(answerOK)
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
	}
	return err
}

// run is the life.
func (w *worker) run() error {
	if err := w.open(); err != nil {
		return err
	}
	for range w.w.Rounds {
		if err := w.round(); err != nil {
			return err
		}
		if err := w.structural(); err != nil {
			return err
		}
	}
	if w.r.IntN(2) == 0 {
		return w.close()
	}
	return nil
}

// open opens the journal and tells what it shows.
func (w *worker) open() error {
	w.durability = []journal.Durability{
		journal.Synced, journal.Published, journal.Interval,
	}[w.r.IntN(3)]
	if w.w.Early {
		w.durability = journal.Published
	}
	w.rarely = []int{10, 100}[w.r.IntN(2)]
	if err := w.conn.mark(&Mark{Kind: Opening}); err != nil {
		return err
	}
	o := &journal.Options{SegmentSize: segmentSize << (2 * w.r.IntN(2)), Durability: w.durability}
	o.VerifyOnOpen = w.r.IntN(2) == 0
	switch spares := w.r.IntN(3); w.durability {
	case journal.Synced:
		o.Spares = spares
	case journal.Interval:
		o.SyncInterval = 10 * time.Millisecond
	}
	openJournal := journal.Open
	if w.w.Peek {
		openJournal, o = journal.OpenReadOnly, &journal.Options{VerifyOnOpen: o.VerifyOnOpen}
	}
	j, err := openJournal(w.w.Dir, o)
	if err != nil {
		return w.refused(err)
	}
	w.j = j
	first, ids, err := contents(j)
	if err != nil {
		return w.wrong("after open: %v", err)
	}
	return w.conn.mark(&Mark{Kind: Opened, First: first, IDs: ids})
}

// refused: Open fails. Where the disk fails it may, otherwise it must not.
func (w *worker) refused(err error) error {
	if !w.w.Errors || errors.Is(err, journal.ErrCorrupt) {
		return w.wrong("I15: Open refuses: %v", err)
	}
	if err := w.conn.mark(&Mark{Kind: Refused, Text: err.Error()}); err != nil {
		return err
	}
	return errStop
}

// wrong reports a violation that only the workload can see.
func (w *worker) wrong(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return errors.Join(w.conn.mark(&Mark{Kind: Wrong, Text: text}), errors.New(text))
}

// round lets all writers append at once.
func (w *worker) round() error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i, a := range w.actors {
		wg.Go(func() {
			for range w.w.Ops {
				if errs[i] = a.step(); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return firstOf(errs)
}

// firstOf returns the error that matters most: any but errStop.
func firstOf(errs []error) error {
	var stop error
	for _, err := range errs {
		if errors.Is(err, errStop) {
			stop = err
		} else if err != nil {
			return err
		}
	}
	return stop
}

// structural does what is not done while others append.
func (w *worker) structural() error {
	first, last := uint64(w.j.First()), uint64(w.j.Last())
	kinds := 18
	if w.w.Fill || w.w.Early || w.w.Errors {
		kinds = 16 // links keep space, and an error would have to end what makes them
	}
	switch w.r.IntN(kinds) {
	case 0, 1, 2, 14, 15:
		seq := first + uint64(w.r.Int64N(int64(last-first+2)))
		if w.r.IntN(2) == 0 { // nearly all: segments are to be dropped, and written over
			seq = last + 1 - min(uint64(w.r.IntN(40)), last+1-first)
		}
		return w.change(Front, Fronted, seq, func() error {
			return w.j.TruncateFront(journal.Seq(seq))
		})
	case 3, 4, 5, 6:
		seq := last - min(uint64(w.r.IntN(40)), last+1-first)
		if w.r.IntN(3) == 0 { // several segments
			seq = last - uint64(w.r.Int64N(int64(last-first+2)))
		}
		return w.change(Back, Backed, seq, func() error {
			return w.j.TruncateBack(journal.Seq(seq))
		})
	case 7:
		next := 1 + uint64(w.r.Int64N(int64(last+10))) // used before, or not
		return w.change(Reset, WasReset, next, func() error {
			return w.j.Reset(journal.Seq(next))
		})
	case 8, 9, 10, 11:
		if err := w.close(); err != nil {
			return err
		}
		return w.open()
	case 12, 13:
		return w.sync(w.conn)
	case 16, 17:
		return w.snapshot()
	}
	return nil
}

// change does a structural operation, between its marks.
func (w *worker) change(begin, done MarkKind, seq uint64, f func() error) error {
	if err := w.conn.mark(&Mark{Kind: begin, Seq: seq}); err != nil {
		return err
	}
	before := w.failure.Load()
	if err := f(); err != nil {
		return w.failed(w.conn, 0, err)
	}
	if err := w.late(before, string(begin)); err != nil {
		return err
	}
	return w.conn.mark(&Mark{Kind: done, Seq: seq})
}

// sync makes what is published durable, and says so.
func (w *worker) sync(conn *diskConn) error {
	seq := uint64(w.j.Published())
	before := w.failure.Load()
	if err := w.j.Sync(context.Background()); err != nil {
		return w.failed(conn, noOp, err)
	}
	if err := w.late(before, "Sync"); err != nil {
		return err
	}
	return conn.mark(&Mark{Kind: Durable, Seq: seq})
}

// close closes the journal: everything is durable then.
func (w *worker) close() error {
	seq := uint64(w.j.Published())
	before := w.failure.Load()
	if err := w.j.Close(); err != nil {
		return w.failed(w.conn, noOp, err)
	}
	if err := w.late(before, "Close"); err != nil {
		return err
	}
	return w.conn.mark(&Mark{Kind: Durable, Seq: seq})
}
