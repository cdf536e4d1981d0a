package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mmjournal/journal"
)

// oursRecycledImpl is the journal whose old records are dropped, with Options.Spares, after a
// while: each segment is written over the file of one that is not needed any more.
var oursRecycledImpl = &Impl{
	Name: ours + ", recycled files",
	caps: canDurable | canBatch | isOurs,
	open: func(dir string, o OpenOptions) (Log, error) { return openRecycled(dir, o) },
}

// recycledLog drops the front whenever it has appended a segment's worth.
type recycledLog struct {
	oursLog
	segment  int64
	appended atomic.Int64
	full     chan struct{}
	dropping sync.WaitGroup
	err      error // of the dropping; read it when that has ended
}

func openRecycled(dir string, o OpenOptions) (*recycledLog, error) {
	j, err := journal.Open(dir, &journal.Options{SegmentSize: o.Segment, Spares: 2})
	if err != nil {
		return nil, err
	}
	l := &recycledLog{oursLog: oursLog{j}, segment: o.Segment, full: make(chan struct{}, 1)}
	if err := l.fillForRecycling(); err != nil {
		j.Close()
		return nil, err
	}
	l.dropping.Go(func() {
		for range l.full {
			if err := l.dropFront(); err != nil && l.err == nil {
				l.err = err
			}
		}
	})
	return l, nil
}

// dropFront drops all records but the last.
func (l *recycledLog) dropFront() error { return l.j.TruncateFront(l.j.Last()) }

// fillForRecycling appends until the active segment is a recycled one, and so is the next.
func (l *recycledLog) fillForRecycling() error {
	n := min(journal.MaxRecord(l.segment)/40, 32<<10)
	ps := make([][]byte, 32)
	for i := range ps {
		ps[i] = payload(uint64(i), int(n))
	}
	for end := time.Now().Add(30 * time.Second); l.j.Stats().Recycled < 2; {
		if time.Now().After(end) {
			return errors.New("no segment is recycled")
		}
		if err := l.oursLog.AppendBatch(ps); err != nil {
			return err
		}
		if l.j.Stats().Segments > 1 {
			if err := l.dropFront(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *recycledLog) Append(p []byte) error {
	l.count(journal.FrameSize(len(p)))
	return l.oursLog.Append(p)
}

func (l *recycledLog) AppendBatch(ps [][]byte) error {
	for _, p := range ps {
		l.count(journal.FrameSize(len(p)))
	}
	return l.oursLog.AppendBatch(ps)
}

// count tells the dropping goroutine when a segment's worth has been appended.
func (l *recycledLog) count(n int64) {
	if now := l.appended.Add(n); now/l.segment == (now-n)/l.segment {
		return
	}
	select {
	case l.full <- struct{}{}:
	default: // it is at it
	}
}

// Close fails too if more files were made than the beginning and a stumble now and then account
// for: then what was measured is not recycling.
func (l *recycledLog) Close() error {
	close(l.full)
	l.dropping.Wait()
	s := l.j.Stats()
	err := errors.Join(l.err, l.j.Close())
	if made := s.Prepared - s.Recycled; err == nil && made > max(4, s.Prepared/4) {
		err = fmt.Errorf("%d of %d segments are not recycled", made, s.Prepared)
	}
	return err
}
