package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/recovery"
)

// TestLostSectorOfLastGroup: a sector of the last group of synced records that never reached the
// disk, or was zeroed, costs none of them, or is reported as a torn tail; unless it is all that
// there was of the group. In a recycled segment, too, where the bytes behind the end mean nothing.
func TestLostSectorOfLastGroup(t *testing.T) {
	for _, recycled := range []bool{false, true} {
		for _, place := range []int{104, 3000, 3584, 4072} { // in its page, where the group begins
			t.Run(fmt.Sprintf("recycled=%v/%d", recycled, place), func(t *testing.T) {
				checkLostSectors(t, recycled, place)
			})
		}
	}
}

func checkLostSectors(t *testing.T, recycled bool, place int) {
	const sector, frames = 512, 16 + 56 // frames: header of a record, and the mark behind it
	if recycled && !canRecycle {
		t.Skip("nothing is recycled here")
	}
	dir := t.TempDir()
	j := stagedJournal(t, testutil.OpenDir(t, dir), dir, 2)
	defer j.Close()
	add := func(n int) {
		t.Helper()
		if _, err := j.Append(bytes.Repeat([]byte{byte(n), 255}, n/2)); err != nil {
			t.Fatal(err)
		}
	}
	add(1000)
	if recycled {
		untilRecycled(t, j, true)
	}
	at := func() int { return int(j.mu.writer.Position().Offset) }
	gap := (place-at()%4096+4096)%4096 + 4096
	add(gap - frames)
	start := at()
	if start%4096 != place {
		t.Fatalf("the group begins at %d", start)
	}
	path := newest(j).Path()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	add(20_000)
	if newest(j).Path() != path {
		t.Fatal("the segment was full")
	}
	end, last := at(), j.Last()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(j.dir)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for from := start &^ (sector - 1); from < end; from += sector {
		lo, hi := max(from, start), from+sector
		for how, lost := range map[string][]byte{
			"old": before[lo:hi], "zero": make([]byte, hi-lo),
		} {
			b := bytes.Clone(whole)
			copy(b[lo:], lost)
			if err := os.WriteFile(filepath.Join(copied, filepath.Base(path)), b, 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := OpenReadOnly(copied, nil)
			if err != nil {
				t.Fatalf("%s at %d: %v", how, lo, err)
			}
			if k.Last() < last && k.Report().End != recovery.EndTorn {
				t.Errorf("group from %d to %d, %s bytes at %d: up to %d of %d, the end is %v",
					start, end, how, lo, k.Last(), last, k.Report().End)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
