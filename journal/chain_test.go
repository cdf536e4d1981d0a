package journal_test

import (
	"slices"
	"testing"

	"mmjournal/journal"
)

// TestViewsStayAsTheyWere: iterations and leases hold views of the chain that are older than rolls,
// truncations and resets since. None of these changes what they show.
func TestViewsStayAsTheyWere(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	j := mustOpen(t, t.TempDir(), &journal.Options{
		Durability: journal.Published, SegmentSize: 8192,
	})
	var chains [][]uint64
	var views []func() []uint64
	for round := range 40 {
		for range 5 + round%4 {
			mustAppend(t, j, make([]byte, 3000))
			views = append(views, journal.ChainOf(j))
			chains = append(chains, views[len(views)-1]())
		}
		last := j.Last()
		switch round % 5 {
		case 0:
			run(t, j.TruncateFront(last-3))
		case 1:
			run(t, j.TruncateBack(last-4))
		case 2:
			run(t, j.TruncateBack(j.First()-1))
		case 3:
			run(t, j.Reset(last+10))
		}
		for i, view := range views {
			if got := view(); !slices.Equal(got, chains[i]) {
				t.Fatalf("round %d: the chain was %d and is %d", round, chains[i], got)
			}
		}
	}
}
