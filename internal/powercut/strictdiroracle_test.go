//go:build linux

package powercut

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mmjournal/journal"
)

// strictRecord is a record of the oracle's: its payload's number, which is never used twice.
type strictRecord struct {
	id   uint64
	ends bool // a cut may leave it the last one: it is no part of a batch that goes on
}

// strictOutcome is a state that the journal may be found in: the records are a prefix of records
// that reaches to seq lo at least.
type strictOutcome struct {
	first   uint64         // seq of the first live record
	base    uint64         // seq of records[0]
	records []strictRecord // never changed in place
	lo      uint64         // the last record that must be there
}

func (o *strictOutcome) last() uint64 { return o.base + uint64(len(o.records)) - 1 }

// appended returns the outcome with records added, which need not be there.
func (o strictOutcome) appended(ids ...uint64) strictOutcome {
	o.records = slices.Clip(o.records)
	for i, id := range ids {
		o.records = append(o.records, strictRecord{id, i == len(ids)-1})
	}
	return o
}

// durable returns the outcome with all records there.
func (o strictOutcome) durable() strictOutcome {
	o.lo = o.last()
	return o
}

// cut returns the outcome whose last record is last.
func (o strictOutcome) cut(last uint64) strictOutcome {
	o.records = slices.Clone(o.records[:last+1-o.base])
	if n := len(o.records); n > 0 {
		o.records[n-1].ends = true
	}
	return o.durable()
}

// matches says what is wrong with what was found, or nil.
func (o *strictOutcome) matches(found *strictFound) error {
	if found.first != o.first {
		return fmt.Errorf("the first seq is %d, want %d", found.first, o.first)
	}
	last := found.first + uint64(len(found.ids)) - 1
	if last < o.lo || last > o.last() {
		return fmt.Errorf("the last seq is %d, want %d to %d", last, o.lo, o.last())
	}
	for i, id := range found.ids {
		if want := o.records[found.first-o.base+uint64(i)].id; id != want {
			return fmt.Errorf("seq %d holds payload %#x, want %#x", found.first+uint64(i), id, want)
		}
	}
	if n := len(found.ids); n > 0 && !o.records[last-o.base].ends {
		return fmt.Errorf("half of a batch: it ends at seq %d", last)
	}
	return nil
}

// strictAllowed is all that a cut at some point may leave.
type strictAllowed struct {
	Outcomes []strictOutcome
	ID       string // the journal's, once Open has returned
	Op       string // under way
}

func (a *strictAllowed) check(found *strictFound) error {
	if a.ID != "" && found.id != a.ID {
		return fmt.Errorf("another journal: %s, want %s", found.id, a.ID)
	}
	var errs []error
	for i := range a.Outcomes {
		err := a.Outcomes[i].matches(found)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// strictFound is what is found in a journal.
type strictFound struct {
	id    string
	first uint64
	ids   []uint64
}

// outcome returns the only outcome that this can be.
func (f *strictFound) outcome() strictOutcome {
	o := strictOutcome{first: f.first, base: f.first}
	for _, id := range f.ids {
		o.records = append(o.records, strictRecord{id, true})
	}
	return o.durable()
}

// findAll reads a journal.
func findAll(j *journal.Journal) (*strictFound, error) {
	f := &strictFound{id: j.Report().ID, first: uint64(j.First())}
	for rec, err := range j.Records(0) {
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		id, err := strictID(rec.Payload)
		if err != nil {
			return nil, fmt.Errorf("seq %d: %w", rec.Seq, err)
		}
		f.ids = append(f.ids, id)
	}
	return f, nil
}

// strictPayload returns n bytes that follow from a number.
func strictPayload(id uint64, n int) []byte {
	b := make([]byte, 16+n)
	binary.LittleEndian.PutUint64(b, id)
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	for i := range b[16:] {
		b[16+i] = byte(id>>8) ^ byte(id) ^ byte(i*7)
	}
	return b
}

func strictID(b []byte) (uint64, error) {
	if len(b) >= 16 {
		id := binary.LittleEndian.Uint64(b)
		if slices.Equal(b, strictPayload(id, len(b)-16)) {
			return id, nil
		}
	}
	return 0, fmt.Errorf("wrong bytes: %d, %x…", len(b), b[:min(len(b), 24)])
}

// strictOutcomeText is a strictOutcome as JSON.
type strictOutcomeText struct {
	First, Base, Lo uint64
	IDs             []uint64
	Ends            []bool
}

// MarshalJSON encodes an outcome.
func (o strictOutcome) MarshalJSON() ([]byte, error) {
	t := strictOutcomeText{First: o.first, Base: o.base, Lo: o.lo}
	for _, r := range o.records {
		t.IDs, t.Ends = append(t.IDs, r.id), append(t.Ends, r.ends)
	}
	return json.Marshal(t)
}

// UnmarshalJSON decodes an outcome.
func (o *strictOutcome) UnmarshalJSON(b []byte) error {
	var t strictOutcomeText
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	*o = strictOutcome{first: t.First, base: t.Base, lo: t.Lo}
	for i, id := range t.IDs {
		o.records = append(o.records, strictRecord{id, t.Ends[i]})
	}
	return nil
}
