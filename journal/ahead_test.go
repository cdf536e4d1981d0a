package journal

import (
	"context"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

// aheadJournal returns a journal with segments of 16 MiB that are not primed.
func aheadJournal(t *testing.T, d Durability) *Journal {
	t.Helper()
	return openAhead(t, t.TempDir(), d)
}

func openAhead(t *testing.T, dir string, d Durability) *Journal {
	t.Helper()
	opts, err := (&Options{SegmentSize: 16 << 20, Durability: d}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	zeroed := func(_, _ int64) segment.Zeros { return segment.Zeros{Chunk: largeFolio} }
	j, err := open(testutil.OpenDir(t, dir), dir, opts, zeroed, true)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// newest returns the segment that is appended to.
func newest(j *Journal) *segment.Segment {
	chain := j.view.Load().chain
	return chain[len(chain)-1]
}

// appendAhead appends so many bytes by records of 4 KiB, and calls check after each one, when
// nothing is being populated.
func appendAhead(t *testing.T, j *Journal, bytes int, check func()) {
	t.Helper()
	for range bytes / (4 << 10) {
		if _, err := j.Append(make([]byte, 4<<10-segment.HeaderSize)); err != nil {
			t.Fatal(err)
		}
		j.populating.Wait()
		check()
	}
}

// TestPopulatedAhead: what is populated is ahead of the appends, at most an eighth of what the next
// sync has to write, and at most up to the end of the segment; in a fresh one, from the beginning.
func TestPopulatedAhead(t *testing.T) {
	j := aheadJournal(t, Published)
	defer j.Close()
	ahead, atEnd, fresh := false, false, false
	appended := int64(0)
	appendAhead(t, j, 34<<20, func() {
		appended += 4 << 10
		seg := newest(j)
		end, populated := seg.End(), seg.Populated()
		if int64(populated-end) > appended/8 {
			t.Fatalf("populated to %d, the end is %d after %d bytes", populated, end, appended)
		}
		ahead = ahead || populated > end
		atEnd = atEnd || int64(populated) == seg.Size
		fresh = fresh || seg.Ordinal == 2 && end < 64<<10 && populated > end+1<<20
	})
	if !ahead || !atEnd || !fresh {
		t.Errorf("populated ahead: %v; to the end: %v; at the beginning: %v", ahead, atEnd, fresh)
	}
}

// TestPopulatedLittle: a journal that syncs often, or on each append, populates nothing.
func TestPopulatedLittle(t *testing.T) {
	for _, d := range []Durability{Published, Synced} {
		j := aheadJournal(t, d)
		for range 20 {
			appendAhead(t, j, 1<<20, func() {
				if p := newest(j).Populated(); p != 0 {
					t.Fatalf("%v: populated to %d", d, p)
				}
			})
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseWhilePopulating: journals are closed, emptied and reopened while a part is populated;
// nothing is populated afterwards.
func TestCloseWhilePopulating(t *testing.T) {
	j := aheadJournal(t, Published)
	busy := 0
	for i := range 12 {
		for range 5 << 20 >> 12 {
			if _, err := j.Append(make([]byte, 4<<10-segment.HeaderSize)); err != nil {
				t.Fatal(err)
			}
		}
		j.mu.Lock()
		j.populateLocked(j.mu.writer.Position()) // now
		j.mu.Unlock()
		if j.populating.busy.Load() {
			busy++
		}
		if i%3 == 1 {
			if err := j.Reset(j.Last() + 1); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j.populating.busy.Load() {
			t.Error("populating after Close")
		}
		j = openAhead(t, j.dir, Published)
	}
	if busy == 0 {
		t.Error("nothing was populated in any round")
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
