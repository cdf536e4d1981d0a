// Package torture counts the runs of a randomised test: a few in go test, as many as asked for
// under the driver of make torture, one with a given seed to replay a violation.
//
//	c := torture.Start(t, "power cut, ext4", 300)
//	for c.Next() {
//		if err := cutOnce(c.Seed()); err != nil {
//			c.Violation("%v", err)
//		}
//	}
//
// The environment says what is asked for:
//
//	MMJOURNAL_LONG      1: the long counts, see [Count]
//	MMJOURNAL_RUNS      how many runs, instead of the test's own number
//	MMJOURNAL_TIME      stop after this long (a time.Duration), whatever the number
//	MMJOURNAL_SEED      one run with this seed
//	MMJOURNAL_PROGRESS  file that is replaced with a [Progress] as JSON, twice a second
package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Count chooses how much a test does: short with go test -short, long if MMJOURNAL_LONG is 1, which
// make test-long sets, and also if the environment asks for runs of its own; usual otherwise. The
// parameters of a single run must not depend on it: a seed alone repeats a run.
func Count(short, usual, long int64) int64 {
	switch {
	case os.Getenv("MMJOURNAL_RUNS") != "", os.Getenv("MMJOURNAL_SEED") != "":
		return long
	case testing.Short():
		return short
	case os.Getenv("MMJOURNAL_LONG") == "1":
		return long
	}
	return usual
}

// Progress is how far the runs of one fault have come.
type Progress struct {
	Fault      string
	Runs, Of   int64
	Violations int64
	Seed       uint64 // of the first violation, or of the latest run
	First      string // the first violation
	Done       bool
	Note       string // what else the test wants in the table
}

// Counter counts the runs of one fault. It is safe for concurrent use, but for Next, Seed and Runs.
type Counter struct {
	t     testing.TB
	mu    sync.Mutex
	p     Progress
	base  uint64
	until time.Time // zero: no limit
	next  time.Time // when the progress is written again
	seeds bool      // each run has one
	file  string
}

// Start returns a counter for runs of the named fault; n is how many go test makes. A run that is
// not a number or a duration fails the test.
func Start(t testing.TB, fault string, n int64) *Counter {
	t.Helper()
	c := &Counter{t: t, p: Progress{Fault: fault, Of: n}, base: 1}
	number := func(name string, into *int64) bool {
		s := os.Getenv(name)
		if s == "" {
			return false
		}
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		*into = int64(v)
		return true
	}
	number("MMJOURNAL_RUNS", &c.p.Of)
	if s := os.Getenv("MMJOURNAL_TIME"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("MMJOURNAL_TIME: %v", err)
		}
		c.until = time.Now().Add(d)
	}
	var seed int64
	if number("MMJOURNAL_SEED", &seed) {
		c.base, c.p.Of, c.until = uint64(seed), 1, time.Time{}
	}
	c.file = os.Getenv("MMJOURNAL_PROGRESS")
	t.Cleanup(c.finish)
	return c
}

// Next starts another run; false: there have been enough.
func (c *Counter) Next() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leftLocked() {
		return false
	}
	c.seeds = true
	c.p.Runs++
	if c.p.Violations == 0 {
		c.p.Seed = c.Seed()
	}
	return true
}

// Left reports whether there are runs left. It is for tests that count with Add.
func (c *Counter) Left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftLocked()
}

func (c *Counter) leftLocked() bool {
	now := time.Now()
	if now.After(c.next) {
		c.next = now.Add(time.Second / 2)
		c.write()
	}
	return c.p.Runs < c.p.Of && (c.until.IsZero() || c.p.Runs == 0 || now.Before(c.until))
}

// Add counts n runs at once, for tests that walk states rather than seeds.
func (c *Counter) Add(n int64) {
	c.mu.Lock()
	c.p.Runs += n
	c.mu.Unlock()
}

// Runs returns how many runs there have been, with the one that is going on.
func (c *Counter) Runs() int64 { return c.p.Runs }

// Of returns how many runs are asked for.
func (c *Counter) Of() int64 { return c.p.Of }

// Seed returns the seed of the run that is going on. Runs are numbered from the first seed on, so
// that a seed alone repeats a run.
func (c *Counter) Seed() uint64 { return c.base + uint64(c.p.Runs) - 1 }

// Violation fails the test and says how to repeat the run that is going on.
func (c *Counter) Violation(format string, args ...any) {
	c.t.Helper()
	c.mu.Lock()
	seed := c.Seed()
	c.mu.Unlock()
	c.ViolationOf(seed, format, args...)
}

// ViolationOf is Violation for the run with that seed: several may go on at once.
func (c *Counter) ViolationOf(seed uint64, format string, args ...any) {
	c.t.Helper()
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	if c.p.Violations++; c.p.Violations == 1 {
		c.p.Seed, c.p.First = seed, text
	}
	c.write()
	if c.seeds {
		text = fmt.Sprintf("MMJOURNAL_SEED=%d: %s", seed, text)
	}
	c.mu.Unlock()
	c.t.Errorf("%s: %s", c.p.Fault, text)
}

// Note sets what else the table is to say of the runs: figures that show that they could have
// failed.
func (c *Counter) Note(format string, args ...any) {
	c.mu.Lock()
	c.p.Note = fmt.Sprintf(format, args...)
	c.mu.Unlock()
}

func (c *Counter) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p.Done = !c.t.Failed() && !c.t.Skipped()
	if c.t.Failed() && c.p.Violations == 0 {
		c.p.Violations, c.p.First = 1, "the test failed"
	}
	c.write()
	c.t.Logf("%s: %d runs, %d violations. %s", c.p.Fault, c.p.Runs, c.p.Violations, c.p.Note)
}

// write replaces the progress file at once, so that the driver never reads half of one.
func (c *Counter) write() {
	if c.file == "" {
		return
	}
	text, err := json.Marshal(&c.p)
	if err == nil {
		tmp := filepath.Join(filepath.Dir(c.file), "."+filepath.Base(c.file))
		if err = os.WriteFile(tmp, text, 0o600); err == nil {
			err = os.Rename(tmp, c.file)
		}
	}
	if err != nil {
		c.t.Logf("%s: progress: %v", c.p.Fault, err)
	}
}
