package torture

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	errors   int
	cleanups []func()
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.errors++ }
func (r *recorder) Failed() bool          { return r.errors > 0 }
func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }

// count runs a counter to its end; the runs in bad are violations.
func count(t *testing.T, n int64, bad ...uint64) (seeds []uint64, p Progress, errors int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "progress")
	t.Setenv("MMJOURNAL_PROGRESS", file)
	r := &recorder{TB: t}
	c := Start(r, "a fault", n)
	for c.Next() {
		seeds = append(seeds, c.Seed())
		if slices.Contains(bad, c.Seed()) {
			c.Violation("seed %d", c.Seed())
		}
	}
	c.Note("a note")
	for _, f := range r.cleanups {
		f()
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return seeds, p, r.errors
}

func TestCounter(t *testing.T) {
	for _, name := range []string{"MMJOURNAL_RUNS", "MMJOURNAL_TIME", "MMJOURNAL_SEED"} {
		t.Setenv(name, "")
	}
	seeds, p, errors := count(t, 4)
	want := Progress{Fault: "a fault", Runs: 4, Of: 4, Seed: 4, Done: true, Note: "a note"}
	if !slices.Equal(seeds, []uint64{1, 2, 3, 4}) || errors != 0 || p != want {
		t.Errorf("%v, %+v, %d errors", seeds, p, errors)
	}
	_, p, errors = count(t, 5, 2, 4)
	if p.Violations != 2 || p.Seed != 2 || p.First != "seed 2" || p.Done || errors != 2 {
		t.Errorf("%+v, %d errors", p, errors)
	}
	t.Setenv("MMJOURNAL_RUNS", "7")
	if seeds, p, _ = count(t, 4); len(seeds) != 7 || p.Of != 7 {
		t.Errorf("%v, %+v", seeds, p)
	}
	t.Setenv("MMJOURNAL_TIME", "1ns")
	if seeds, _, _ = count(t, 4); len(seeds) != 1 {
		t.Errorf("%v: there is always one run", seeds)
	}
	t.Setenv("MMJOURNAL_SEED", "99")
	if seeds, _, _ = count(t, 4); !slices.Equal(seeds, []uint64{99}) {
		t.Errorf("%v", seeds)
	}
}

func TestCount(t *testing.T) {
	for _, name := range []string{"MMJOURNAL_RUNS", "MMJOURNAL_LONG", "MMJOURNAL_SEED"} {
		t.Setenv(name, "")
	}
	least, most := int64(2), int64(3)
	if testing.Short() {
		least, most = 1, 1
	}
	if got := Count(1, 2, 3); got != least {
		t.Errorf("%d, want %d", got, least)
	}
	t.Setenv("MMJOURNAL_LONG", "1")
	if got := Count(1, 2, 3); got != most {
		t.Errorf("MMJOURNAL_LONG: %d, want %d", got, most)
	}
	t.Setenv("MMJOURNAL_SEED", "5")
	if got := Count(1, 2, 3); got != 3 {
		t.Errorf("MMJOURNAL_SEED: %d, want 3", got)
	}
}
