package journal_test

import (
	"fmt"
	"sync"

	"mmjournal/journal"
)

// soakBook is what the parent knows of a journal: from what the children report, and from what it
// has read itself after their deaths.
type soakBook struct {
	mu      sync.Mutex
	seed    uint64
	life    uint32                 // the present one, or the latest
	known   map[journal.Seq]uint64 // sums of records that somebody was told of, from first on
	count   map[author]uint64      // acknowledged records
	first   journal.Seq            // what retention said last
	begun   journal.Seq            // what it was about to say
	last    journal.Seq            // at the last check
	figures soakFigures
}

// soakFigures show that the runs could have failed.
type soakFigures struct {
	acknowledged, truncations, halfway, looks, moving, followed, passed int
}

func newSoakBook(seed uint64) *soakBook {
	return &soakBook{
		seed: seed, known: map[journal.Seq]uint64{}, count: map[author]uint64{}, first: 1, begun: 1,
	}
}

// note takes what a child reports, and returns an error if that cannot be.
func (b *soakBook) note(r report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r.kind {
	case acknowledged:
		if r.life != b.life || r.n != b.count[r.author] {
			return fmt.Errorf("acknowledged record %d of %+v after %d", r.n, r.author,
				b.count[r.author])
		}
		b.count[r.author]++
		b.figures.acknowledged++
		return b.learn(r)
	case followed:
		b.figures.followed++
		return b.learn(r)
	case seen:
		return b.learn(r)
	case opened:
		if r.seq != b.last || journal.Seq(r.n) != b.first {
			return fmt.Errorf("Open shows %d to %d; before, there were %d to %d",
				r.n, r.seq, b.first, b.last)
		}
	case truncating:
		b.begun = r.seq
	case truncated:
		b.truncated(r.seq)
		b.figures.truncations++
	case looked:
		b.figures.looks++
	case moving:
		b.figures.moving++
	case passed:
		b.figures.passed++
	}
	return nil
}

// learn takes a record that must be there until it is dropped in front. What comes late may be
// dropped already.
func (b *soakBook) learn(r report) error {
	if r.seq < b.first {
		return nil
	}
	if sum, ok := b.known[r.seq]; ok && sum != r.sum {
		return fmt.Errorf("seq %d is record %d of %+v, and another one, too", r.seq, r.n, r.author)
	}
	if r.life > b.life {
		return fmt.Errorf("seq %d: record %d of %+v, in life %d", r.seq, r.n, r.author, b.life)
	}
	b.known[r.seq] = r.sum
	return nil
}

func (b *soakBook) truncated(first journal.Seq) {
	b.first, b.begun = first, first
	for seq := range b.known {
		if seq < first {
			delete(b.known, seq)
		}
	}
}

// check holds a journal that nobody writes to against the book, and notes what is there: from now
// on that must be there.
func (b *soakBook) check(j *journal.Journal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := j.First()
	if first != b.first && first != b.begun {
		return fmt.Errorf("first is %d; retention has said %d, and was at %d", first, b.first, b.begun)
	}
	if b.begun != b.first {
		b.figures.halfway++
	}
	w := newSoakWalk(b.seed, first)
	found := map[journal.Seq]uint64{}
	for rec, err := range j.Records(first) {
		if err != nil {
			return err
		}
		r, err := w.add(rec.Seq, rec.Payload)
		if err != nil {
			return err
		}
		found[r.seq] = r.sum
	}
	if w.next != j.Last()+1 {
		return fmt.Errorf("read up to seq %d, the last is %d", w.next-1, j.Last())
	}
	if err := w.end(); err != nil {
		return err
	}
	if err := b.unreported(w); err != nil {
		return err
	}
	b.truncated(first)
	for seq, sum := range b.known {
		if got, ok := found[seq]; !ok || got != sum {
			return fmt.Errorf("seq %d, which was reported, is missing (there are %d to %d), or "+
				"another one: %v", seq, first, j.Last(), ok)
		}
	}
	b.known, b.last = found, j.Last()
	return nil
}

// unreported: of each author, at most one append can have returned, or have been about to, without
// a report.
func (b *soakBook) unreported(w *soakWalk) error {
	for who, n := range w.counts {
		if who.life > b.life || n > b.count[who]+soakBatch(who.writer) {
			return fmt.Errorf("%+v has %d records, but reported %d", who, n, b.count[who])
		}
	}
	return nil
}
