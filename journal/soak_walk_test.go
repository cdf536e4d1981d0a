package journal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"mmjournal/journal"
)

// What every process of the soak test knows about a record that it is shown.

const soakWriters = 8

// soakBatch returns how many records a writer appends at once. They are there together or not at
// all.
func soakBatch(writer uint32) uint64 {
	switch writer {
	case 5:
		return 2
	case 6:
		return 3
	case 7:
		return 5
	}
	return 1
}

// soakPayload returns an author's n-th record: the same bytes in every process that knows the seed.
func soakPayload(seed uint64, who author, n uint64) []byte {
	r := rand.New(rand.NewPCG(seed<<32|uint64(who.life), uint64(who.writer)<<48|n))
	size := smallestPayload + r.IntN(200)
	switch x := r.IntN(64); {
	case x == 0 && soakBatch(who.writer) == 1:
		size += r.IntN(40_000)
	case x < 8:
		size += r.IntN(8000)
	}
	return signPayload(r, size, who, n)
}

// soakWalk goes through the records in the order of their seqs and holds each against what its
// author must have appended there.
type soakWalk struct {
	seed uint64
	next journal.Seq // the seq that comes next
	// Of the record before, unless that is not known: at the beginning, and behind a gap.
	known bool
	who   author
	n     uint64
	// Of the stretch since the beginning or the last gap.
	begins bool              // it begins with seq 1
	oldest uint32            // the life of its first record
	counts map[author]uint64 // the next record of each author in it
	before map[author]uint64 // the same of the stretches before it
}

func newSoakWalk(seed uint64, first journal.Seq) *soakWalk {
	return &soakWalk{
		seed: seed, next: first, begins: first == 1,
		counts: map[author]uint64{}, before: map[author]uint64{},
	}
}

// skip goes on with the seq first, because those before it have been dropped.
func (w *soakWalk) skip(first journal.Seq) {
	for who, n := range w.counts {
		w.before[who] = n
	}
	w.next, w.known, w.begins, w.counts = first, false, false, map[author]uint64{}
}

// add takes the next record. It returns who has appended it, and the checksum of its bytes.
func (w *soakWalk) add(seq journal.Seq, payload []byte) (report, error) {
	bad := func(format string, args ...any) (report, error) {
		return report{}, fmt.Errorf("seq %d: %s", seq, fmt.Sprintf(format, args...))
	}
	if seq != w.next {
		return bad("want %d: a gap, or a record twice", w.next)
	}
	who, n, err := soakParse(w.seed, payload)
	if err != nil {
		return bad("%v", err)
	}
	if len(w.counts) == 0 {
		w.oldest = who.life
	}
	if w.known && who.life < w.who.life {
		return bad("is of life %d, that before it of %d", who.life, w.who.life)
	}
	if err := w.batch(who, n); err != nil {
		return bad("%v", err)
	}
	want, again := w.counts[who]
	switch {
	case again && n != want:
		return bad("record %d of %+v, want %d", n, who, want)
	case !again && n < w.before[who]:
		return bad("record %d of %+v came earlier", n, who)
	case !again && n != 0 && (w.begins || who.life > w.oldest):
		return bad("record %d of %+v, and those before it are missing", n, who)
	}
	w.counts[who] = n + 1
	w.known, w.who, w.n, w.next = true, who, n, seq+1
	return report{kind: seen, author: who, n: n, seq: seq, sum: payloadSum(payload)}, nil
}

// batch returns an error unless batches are together, and whole, where the record n of who comes
// next.
func (w *soakWalk) batch(who author, n uint64) error {
	if !w.known {
		return nil
	}
	inside := n%soakBatch(who.writer) != 0
	open := (w.n+1)%soakBatch(w.who.writer) != 0
	if (inside || open) && (who != w.who || n != w.n+1) {
		return fmt.Errorf("record %d of %+v follows record %d of %+v: half of a batch",
			n, who, w.n, w.who)
	}
	return nil
}

// end returns an error if the last record leaves a batch unfinished.
func (w *soakWalk) end() error {
	if w.known && (w.n+1)%soakBatch(w.who.writer) != 0 {
		return fmt.Errorf("ends at seq %d, record %d of %+v: within a batch", w.next-1, w.n, w.who)
	}
	return nil
}

// soakParse returns who has appended a record, as which one, if its bytes are what that one
// appended.
func soakParse(seed uint64, payload []byte) (who author, n uint64, err error) {
	who, n, err = parsePayload(payload)
	if err != nil {
		return who, n, err
	}
	if who.writer >= soakWriters || !bytes.Equal(payload, soakPayload(seed, who, n)) {
		return who, n, fmt.Errorf("nobody has appended these %d bytes as record %d of %+v",
			len(payload), n, who)
	}
	return who, n, nil
}
