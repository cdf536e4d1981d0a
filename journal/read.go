package journal

import (
	"iter"
	"sort"

	"mmjournal/segment"
)

// Read returns the payload of the record seq, in buf's memory if buf is large enough; buf may be
// nil. The caller owns the result. Read verifies the checksum.
//
// Errors: ErrNotFound; *CorruptError; ErrFault; ErrClosed.
func (j *Journal) Read(seq Seq, buf []byte) ([]byte, error) {
	l, err := j.lease(seq)
	if err != nil {
		return nil, err
	}
	defer l.seg.Drop()
	return l.seg.Read(seq, buf)
}

// View calls fn with the payload of the record seq, without copying it. The slice is read-only and
// valid until fn returns. fn may use the journal, but should be quick: the segment stays mapped
// while fn runs. View returns what fn returns.
//
// Errors: those of Read. If the memory cannot be read while fn runs, a panic ends fn, and View
// returns ErrFault.
func (j *Journal) View(seq Seq, fn func(payload []byte) error) error {
	l, err := j.lease(seq)
	if err != nil {
		return err
	}
	defer l.seg.Drop()
	return l.seg.View(seq, fn)
}

// lease is a segment that stays mapped until the caller drops it.
type lease struct {
	seg  *segment.Segment
	end  Seq    // the first seq that is not in it (yet)
	cuts uint64 // of the view in which that is so
}

// lease leases the segment that holds the record seq.
func (j *Journal) lease(seq Seq) (lease, error) {
	for {
		if j.closed.Load() {
			return lease{}, ErrClosed
		}
		v := j.view.Load()
		b := v.bounds()
		if err := b.check(seq, b.first, b.last); err != nil {
			return lease{}, err
		}
		i := sort.Search(len(v.chain), func(i int) bool { return v.chain[i].Link.Base > seq })
		seg := v.chain[i-1]
		if !seg.Acquire() {
			continue // dropped since: there is another view by now, or the journal is closed
		}
		end := seg.Next()
		if i < len(v.chain) {
			end = v.chain[i].Link.Base // what the segment holds from there on is dead
		}
		return lease{seg, end, v.cuts}, nil
	}
}

// Records yields the records from seq from on, or from the first one if from is 0, up to the last
// one that is published when the iteration begins. A record's payload is valid until the next step.
// Records verifies each checksum.
//
// An error ends the iteration: ErrNotFound if the record from, or the next one, does not exist or
// has been truncated since; otherwise those of Read. If from is one above the last record, Records
// yields nothing.
func (j *Journal) Records(from Seq) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		b := j.bounds()
		if from == 0 {
			from = b.first
		}
		if err := b.check(from, b.first, b.last+1); err != nil {
			yield(Record{}, err)
			return
		}
		w := walker{j: j, next: from}
		defer w.drop()
		for w.next <= b.last {
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
	lease                 // zero without a segment
	reader segment.Reader // of its segment
}

// step returns the payload of the record w.next, valid until the next step, and goes on to the
// next. The record is still there if nothing has been dropped at the back or reset since the
// segment was leased, and what has been dropped at the front is before it.
func (w *walker) step() ([]byte, error) {
	if v := w.j.view.Load(); w.next >= w.end || w.cuts != v.cuts || w.next < v.first {
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
	if w.seg != nil && w.next == w.end {
		err = w.reader.End() // newer software may have written a frame after the last record
	}
	w.drop()
	if err != nil {
		return err
	}
	if w.lease, err = w.j.lease(w.next); err != nil {
		return err
	}
	return w.reader.Start(w.seg, w.next)
}

func (w *walker) drop() {
	if w.seg != nil {
		w.seg.Drop()
		w.lease = lease{}
	}
}
