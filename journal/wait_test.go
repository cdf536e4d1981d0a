package journal_test

import (
	"errors"
	"testing"

	"mmjournal/journal"
)

// TestWaitDurableOfDropped: there is nothing to wait for below the first record, and nothing to
// find above the last one, before and after the journal is opened anew.
func TestWaitDurableOfDropped(t *testing.T) {
	for _, c := range []struct {
		name string
		drop func(j *journal.Journal) error // of ten records
		last journal.Seq                    // up to which WaitDurable returns nil
	}{
		{"nothing", func(*journal.Journal) error { return nil }, 10},
		{"some in front", func(j *journal.Journal) error { return j.TruncateFront(6) }, 10},
		{"all in front", func(j *journal.Journal) error { return j.TruncateFront(11) }, 10},
		{"some at the back", func(j *journal.Journal) error { return j.TruncateBack(5) }, 5},
		{"all at the back", func(j *journal.Journal) error { return j.TruncateBack(0) }, 0},
		{"reset to a higher seq", func(j *journal.Journal) error { return j.Reset(50) }, 49},
		{"reset to the next seq", func(j *journal.Journal) error { return j.Reset(11) }, 10},
		{"reset to a lower seq", func(j *journal.Journal) error { return j.Reset(4) }, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &journal.Options{Durability: journal.Published}
			dir := t.TempDir()
			j := mustOpen(t, dir, o)
			for range 10 {
				mustAppend(t, j, []byte("record"))
			}
			if err := c.drop(j); err != nil {
				t.Fatal(err)
			}
			checkWaits(t, j, c.last)
			mustClose(t, j)
			j = mustOpen(t, dir, o)
			checkWaits(t, j, c.last)
			mustAppend(t, j, []byte("record"))
			checkWaits(t, j, c.last+1)
		})
	}
}

// checkWaits waits for every seq, from 0 to above last, the last one.
func checkWaits(t *testing.T, j *journal.Journal, last journal.Seq) {
	t.Helper()
	for seq := range last + 12 {
		err := j.WaitDurable(t.Context(), seq)
		if seq <= last && err != nil || seq > last && !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("seq %d of a journal of %d to %d: %v", seq, j.First(), j.Last(), err)
		}
	}
	if j.Last() != last || j.Durable() != last {
		t.Errorf("the last seq is %d, %d is durable, want %d", j.Last(), j.Durable(), last)
	}
}
