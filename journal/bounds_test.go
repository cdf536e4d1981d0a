package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"mmjournal/journal"
)

// beyond calls a function that takes a seq with one that is a little above the last, while others
// append. The call must fail with ErrNotFound or have its effect. alone: no other goroutine drops
// records at the back.
func beyond(j *journal.Journal, r *rand.Rand, alone bool) error {
	seq := j.Last() + 1 + journal.Seq(r.IntN(3))
	var err error
	effect := true
	switch r.IntN(6) {
	case 0:
		var p []byte
		p, err = j.Read(seq, nil)
		effect = proper(p)
	case 1:
		effect = false
		err = j.View(seq, func(p []byte) error { effect = proper(p); return nil })
	case 2:
		err = j.TruncateFront(seq)
		effect = j.First() >= seq && (j.Durable() >= seq-1 || !alone)
	case 3:
		err = j.TruncateBack(seq)
		effect = j.Durable() >= seq || !alone
	default:
		return beyondRecords(j, seq+1)
	}
	if err == nil && !effect {
		return fmt.Errorf("a call with seq %d, above the last: no error, and no effect", seq)
	}
	return err
}

// beyondRecords iterates from a seq above the last one.
func beyondRecords(j *journal.Journal, from journal.Seq) error {
	for rec, err := range j.Records(from) {
		if err != nil {
			return err
		}
		if rec.Seq != from || !proper(rec.Payload) {
			return fmt.Errorf("Records(%d) yields seq %d, %.20q and no error",
				from, rec.Seq, rec.Payload)
		}
		return nil
	}
	return nil
}

// TestBeyondTheEnd: a call with a seq above the last one, beside appends that reach it just then,
// gives a result or an error.
func TestBeyondTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(j *journal.Journal, r *rand.Rand) error
	}{
		{"Records", func(j *journal.Journal, r *rand.Rand) error {
			return beyondRecords(j, j.Last()+2+journal.Seq(r.IntN(3)))
		}},
		{"TruncateFront", func(j *journal.Journal, r *rand.Rand) error {
			seq := j.Last() + 2
			err := j.TruncateFront(seq)
			if err == nil && j.First() < seq {
				return fmt.Errorf("TruncateFront(%d) returns nil, and the first is %d", seq, j.First())
			}
			return err
		}},
		{"all", func(j *journal.Journal, r *rand.Rand) error { return beyond(j, r, true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := journal.OpenMemory(&journal.Options{Durability: journal.Published})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, j)
			var stop atomic.Bool
			var done sync.WaitGroup
			defer done.Wait()
			defer stop.Store(true)
			done.Go(func() {
				for !stop.Load() {
					if _, err := j.Append([]byte("1")); err != nil {
						t.Error(err)
						return
					}
					if last := j.Last(); last%(1<<20) == 0 {
						if err := j.TruncateFront(last); err != nil &&
							!errors.Is(err, journal.ErrNotFound) {
							t.Error(err)
							return
						}
					}
				}
			})
			r := rand.New(rand.NewPCG(1, 1))
			for range 300_000 {
				if err := c.call(j, r); err != nil && !errors.Is(err, journal.ErrNotFound) {
					t.Fatal(err)
				}
			}
		})
	}
}
