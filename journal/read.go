package journal

import (
	"fmt"
	"iter"
	"sort"

	"mmjournal/segment"
)

// Read returns the payload of the record seq, in buf's memory if it is large enough (buf may be
// nil). The result is the caller's. Its checksum has been verified.
//
// Errors: ErrNotFound; *CorruptError; ErrFault; ErrClosed.
func (j *Journal) Read(seq Seq, buf []byte) ([]byte, error) {
	seg, _, err := j.lease(seq)
	if err != nil {
		return nil, err
	}
	defer seg.Drop()
	return seg.Read(seq, buf)
}

// View calls fn with the payload of the record seq without copying it. The slice is valid until fn
// returns, and only for reading; fn may use the journal, but should not be slow: a segment stays
// mapped meanwhile. View returns what fn returns.
//
// Errors: as Read. If the memory cannot be read while fn runs, fn is left with a panic, and View
// returns ErrFault.
func (j *Journal) View(seq Seq, fn func(payload []byte) error) error {
	seg, _, err := j.lease(seq)
	if err != nil {
		return err
	}
	defer seg.Drop()
	return seg.View(seq, fn)
}

// lease returns the segment that holds the record seq, which stays mapped until the caller drops
// it, and the first seq that is not in it (yet).
func (j *Journal) lease(seq Seq) (seg *segment.Segment, end Seq, err error) {
	for {
		if j.closed.Load() {
			return nil, 0, ErrClosed
		}
		if err := j.inRange(seq); err != nil {
			return nil, 0, err
		}
		chain := *j.chain.Load()
		i := sort.Search(len(chain), func(i int) bool { return chain[i].Link.Base > seq })
		if i == 0 || !chain[i-1].Acquire() {
			continue // truncated away since: first, published or closed say so by now
		}
		seg, end = chain[i-1], chain[i-1].Next()
		if i < len(chain) {
			end = chain[i].Link.Base // what the segment holds from there on is dead
		}
		if seq < end {
			return seg, end, nil
		}
		seg.Drop() // truncated at the back since: published says so in a moment
	}
}

func (j *Journal) inRange(seq Seq) error {
	if first, last := j.First(), j.Published(); seq < first || seq > last {
		return fmt.Errorf("seq %d: %w: there are %d to %d", seq, ErrNotFound, first, last)
	}
	return nil
}

// Records yields the records from seq from on, or from the first one if from is 0, up to the last
// one that is published when the iteration begins. A record's payload is valid until the next step.
// Each checksum is verified.
//
// An error ends the iteration: ErrNotFound if from, or the next record, is not there or has been
// truncated meanwhile; otherwise as Read. from may be one above the last record: then there is
// nothing to yield.
func (j *Journal) Records(from Seq) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if from == 0 {
			from = j.First()
		}
		last := j.Published()
		if from < j.First() || from > last+1 {
			yield(Record{}, j.inRange(from))
			return
		}
		w := walker{j: j, next: from}
		defer w.drop()
		for w.next <= last {
			payload, err := w.step()
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !yield(Record{w.next - 1, payload}, nil) {
				return
			}
		}
		if j.damage != nil {
			yield(Record{}, j.damage)
		}
	}
}

// walker reads one record after the other.
type walker struct {
	j      *Journal
	next   Seq
	seg    *segment.Segment // leased, or nil
	reader segment.Reader   // of seg
	end    Seq              // the first seq that is not in it; 0 without a segment
	cuts   uint64           // of the journal, when the segment was leased
}

// step returns the payload of the record w.next, valid until the next step, and goes on to the
// next. That it is still there takes two looks: nothing has been dropped at the back or reset since
// the segment was leased, and what has been dropped at the front is before it.
func (w *walker) step() ([]byte, error) {
	if w.next >= w.end || w.cuts != w.j.cuts.Load() || w.next < w.j.First() {
		if err := w.enter(); err != nil {
			return nil, err
		}
	}
	payload, err := w.reader.Next()
	if err == nil {
		w.next++
	}
	return payload, err
}

// enter leases the segment that holds the next record.
func (w *walker) enter() (err error) {
	w.drop()
	w.cuts = w.j.cuts.Load()
	if w.seg, w.end, err = w.j.lease(w.next); err != nil {
		return err
	}
	return w.reader.Start(w.seg, w.next)
}

func (w *walker) drop() {
	if w.seg != nil {
		w.seg.Drop()
		w.seg, w.end = nil, 0
	}
}
