package powercut

import (
	"fmt"
	"maps"
	"slices"
)

// Model is what is known about a journal at one point of the log: what has to be there after a
// crash, and what may be.
type Model struct {
	first     uint64
	durable   uint64                       // everything up to this seq has been acknowledged
	known     map[uint64]ID                // by seq, of appends that have returned
	flying    map[uint64][]ID              // appends that have begun and not returned, by Op
	cuts      map[uint64]bool              // seqs after which a truncation may cut a batch
	changes   []Mark                       // structural operations that have begun and not returned
	opens     int                          // how often Open has returned
	snapshots map[string]map[string]uint64 // sums of their files, by directory
}

func newModel() *Model {
	return &Model{
		first: 1, known: map[uint64]ID{}, flying: map[uint64][]ID{}, cuts: map[uint64]bool{},
		snapshots: map[string]map[string]uint64{},
	}
}

func (m *Model) clone() *Model {
	c := *m
	c.known, c.flying, c.cuts = maps.Clone(m.known), maps.Clone(m.flying), maps.Clone(m.cuts)
	c.changes, c.snapshots = slices.Clone(m.changes), maps.Clone(m.snapshots)
	return &c
}

// replay returns the model after the marks in a part of the log. An error is a violation.
func (m *Model) replay(log []Entry) (*Model, error) {
	c := m.clone()
	for _, e := range log {
		if e.Kind == MarkEntry {
			if err := c.apply(e.Mark); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func (m *Model) apply(k *Mark) error {
	switch k.Kind {
	case Append:
		m.flying[k.Op] = k.IDs
	case Returned, Acked:
		for i, id := range m.flying[k.Op] {
			m.known[k.Seq+uint64(i)] = id
		}
		if k.Kind == Acked {
			m.durable = max(m.durable, k.Seq+uint64(len(m.flying[k.Op]))-1)
		}
		delete(m.flying, k.Op)
	case Durable:
		m.durable = max(m.durable, k.Seq)
	case Front, Back, Reset:
		m.changes = append(m.changes, *k)
	case Fronted, Backed, WasReset:
		m.changed(k)
	case Failed:
		m.failed(k)
	case Wrong:
		return fmt.Errorf("in the workload: %s", k.Text)
	case Opened:
		return m.opened(k)
	case Snapshot:
		m.snapshots[k.Text] = k.Sums
	}
	return nil
}

// failed: what fails for another reason than that the journal has failed has changed nothing.
func (m *Model) failed(k *Mark) {
	switch {
	case k.Sticky:
	case k.Op != 0:
		delete(m.flying, k.Op)
	case len(m.changes) > 0:
		m.changes = m.changes[:len(m.changes)-1]
	}
}

// changed: a structural operation has returned.
func (m *Model) changed(k *Mark) {
	m.changes = nil
	switch k.Kind {
	case Fronted:
		m.first = k.Seq
		m.durable = max(m.durable, k.Seq-1)
	case Backed:
		maps.DeleteFunc(m.known, func(seq uint64, _ ID) bool { return seq > k.Seq })
		m.durable = k.Seq
		m.cuts[k.Seq] = true
	case WasReset:
		m.first, m.durable = k.Seq, k.Seq-1
		clear(m.known)
		clear(m.cuts)
	}
}

// opened: what an Open for writing shows has to fit, and is durable from then on (I11).
func (m *Model) opened(k *Mark) error {
	if err := m.check(k.First, k.IDs); err != nil {
		return fmt.Errorf("shown at open: %w", err)
	}
	m.first, m.durable = k.First, k.First+uint64(len(k.IDs))-1
	clear(m.known)
	clear(m.flying)
	m.changes = nil
	m.opens++
	for i, id := range k.IDs {
		seq := k.First + uint64(i)
		m.known[seq] = id
		if !continued(k.IDs, i) {
			m.cuts[seq] = true
		}
	}
	return nil
}

// check holds what a journal shows against the model.
func (m *Model) check(first uint64, ids []ID) error {
	err := m.match(m.first, m.durable, first, ids)
	for _, c := range m.changes {
		if err == nil {
			return nil
		}
		if other := m.checkChanged(c, first, ids); other == nil {
			return nil
		}
	}
	return err
}

// checkChanged is check if a structural operation that had begun has taken place.
func (m *Model) checkChanged(c Mark, first uint64, ids []ID) error {
	last := first + uint64(len(ids)) - 1
	switch {
	case c.Kind == Front:
		return m.match(c.Seq, max(m.durable, c.Seq-1), first, ids)
	case c.Kind == Reset && first == c.Seq && len(ids) == 0:
		return nil
	case c.Kind == Back && last == c.Seq:
		cut := m.clone()
		cut.cuts[c.Seq] = true
		return cut.match(m.first, c.Seq, first, ids)
	}
	return fmt.Errorf("I6: neither before nor after %s of %d", c.Kind, c.Seq)
}

// match checks I1 to I4: first is as expected, everything up to durable is there, and every record
// is the one that has got this seq, or one that had begun.
func (m *Model) match(wantFirst, durable, first uint64, ids []ID) error {
	last := first + uint64(len(ids)) - 1
	if first != wantFirst {
		return fmt.Errorf("I6: the first seq is %d, want %d (truncated records are back, or live "+
			"ones are gone); %d records", first, wantFirst, len(ids))
	}
	if last < durable {
		return fmt.Errorf("I1: records end at seq %d, but up to %d they were acknowledged",
			last, durable)
	}
	begun := map[ID]bool{}
	for _, op := range m.flying {
		for _, id := range op {
			begun[id] = true
		}
	}
	for i, id := range ids {
		seq := first + uint64(i)
		want, ok := m.known[seq]
		switch {
		case ok && id != want && seq <= durable:
			return fmt.Errorf("I1: seq %d is %+v, but %+v was acknowledged", seq, id, want)
		case ok && id != want:
			return fmt.Errorf("I2: seq %d is %+v, but %+v was appended there", seq, id, want)
		case !ok && !begun[id]:
			return fmt.Errorf("I3: seq %d is %+v, which is dead, elsewhere, or was never begun",
				seq, id)
		case !ok:
			delete(begun, id)
		}
		if !continued(ids, i) && !m.cuts[seq] {
			return fmt.Errorf("I4: the batch of seq %d, %+v, breaks off", seq, id)
		}
	}
	return nil
}

// continued reports whether a batch goes on where it must. Truncation may cut its front off.
func continued(ids []ID, i int) bool {
	id := ids[i]
	if i > 0 && id.Index > 0 {
		before := id
		before.N, before.Index = id.N-1, id.Index-1
		if ids[i-1] != before {
			return false
		}
	}
	return id.Index == id.Of-1 || i+1 < len(ids) && ids[i+1].Index == id.Index+1 &&
		ids[i+1].Writer == id.Writer && ids[i+1].Life == id.Life
}
