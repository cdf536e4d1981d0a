package journal_test

import (
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// TestRandomHistories mixes all public operations over long histories with ends of the process,
// power cuts and failing operations, and holds the journal against a model after each. A history
// that breaks an invariant is made as short as possible.
//
// Each run is one history of rapid's, with the run's seed: MMJOURNAL_SEED repeats it.
func TestRandomHistories(t *testing.T) {
	modelSetup(t)
	n := torture.Count(30, 300, 1500)
	if raceEnabled {
		n = 30
	}
	c := torture.Start(t, "random histories", n)
	var sum historyTally
	for c.Next() {
		text := oneHistory(t, c.Seed(), func(rt *rapid.T) { history(rt, &sum) })
		if text != "" {
			c.Violation("%s", text)
			break
		}
	}
	c.Note("%v", &sum)
}

// historyTally counts what histories were made of: shrinking counts, too.
type historyTally struct {
	steps, lives, cuts, kills, failures, retries, readers int

	recycled uint64 // segments, in lives that were closed
}

func (s *historyTally) String() string {
	return fmt.Sprintf("%d steps, %d opens, %d power cuts, %d kills; operations failed %d times, "+
		"after which %d journals had failed; %d readers beside; %d segments recycled at least",
		s.steps, s.lives, s.cuts, s.kills, s.retries+s.failures, s.failures, s.readers, s.recycled)
}

// historySteps is how many steps a history has on average.
const historySteps = 150

// oneHistory lets rapid check prop once, with that seed. It returns what rapid says of a failure.
func oneHistory(t *testing.T, seed uint64, prop func(*rapid.T)) string {
	t.Helper()
	checks := 1
	steps := historySteps
	if testing.Short() { // rapid divides by these
		checks, steps = 5, 2*historySteps
	}
	for name, value := range map[string]string{
		"seed": strconv.FormatUint(seed, 10), "checks": strconv.Itoa(checks),
		"steps": strconv.Itoa(steps), "nofailfile": "true", "shrinktime": "20s",
	} {
		if err := flag.Set("rapid."+name, value); err != nil {
			t.Fatal(err)
		}
	}
	var r rapidTB
	done := make(chan struct{})
	go func() { // FailNow ends it
		defer close(done)
		rapid.Check(&r, prop)
	}()
	<-done
	if !r.failed {
		return ""
	}
	return r.text.String()
}

// rapidTB is what rapid reports to; it keeps what it is told.
type rapidTB struct {
	text   strings.Builder
	failed bool
}

func (r *rapidTB) say(s string) { fmt.Fprintln(&r.text, s) }

func (r *rapidTB) Helper()                      {}
func (r *rapidTB) Name() string                 { return "TestRandomHistories" }
func (r *rapidTB) Log(args ...any)              { r.say(fmt.Sprint(args...)) }
func (r *rapidTB) Logf(f string, args ...any)   { r.say(fmt.Sprintf(f, args...)) }
func (r *rapidTB) Skip(args ...any)             { r.Fatal(args...) }
func (r *rapidTB) Skipf(f string, args ...any)  { r.Fatalf(f, args...) }
func (r *rapidTB) SkipNow()                     { r.FailNow() }
func (r *rapidTB) Error(args ...any)            { r.Log(args...); r.Fail() }
func (r *rapidTB) Errorf(f string, args ...any) { r.Logf(f, args...); r.Fail() }
func (r *rapidTB) Fatal(args ...any)            { r.Error(args...); r.FailNow() }
func (r *rapidTB) Fatalf(f string, args ...any) { r.Errorf(f, args...); r.FailNow() }
func (r *rapidTB) FailNow()                     { r.Fail(); runtime.Goexit() }
func (r *rapidTB) Fail()                        { r.failed = true }
func (r *rapidTB) Failed() bool                 { return r.failed }

// history is one history: rapid draws what happens.
func history(t *rapid.T, sum *historyTally) {
	w := newWalk("p: ", 1, 0, simdisk.Options{
		Seed: rapid.Uint64().Draw(t, "disk"), Torn: rapid.Bool().Draw(t, "torn"),
		Coarse: simdisk.IsTemporary,
	})
	m := &machine{life: *w.first(nil), sum: sum}
	m.must(t, m.makeBeside())
	m.level(t)
	m.must(t, m.open())
	t.Repeat(map[string]func(*rapid.T){
		"":       m.check,
		"Append": m.append, "Append2": m.append, "Append3": m.append, "Append4": m.append,
		"AppendExact": m.appendExact,
		"AppendFunc":  m.appendFunc,
		"AppendBatch": m.appendBatch, "AppendBatch2": m.appendBatch,
		"TooLarge":     m.tooLarge,
		"Sync":         func(t *rapid.T) { m.step(t, step{op: "s"}) },
		"WaitDurable":  m.waitDurable,
		"Read":         m.read,
		"TruncateBack": func(t *rapid.T) { m.step(t, step{op: "tb", n: few.Draw(t, "drop")}) },
		"TruncateFront": func(t *rapid.T) {
			m.step(t, step{op: "tf", n: few.Draw(t, "drop")})
		},
		"Retention":    m.retention,
		"Reset":        func(t *rapid.T) { m.step(t, step{op: "rs", n: few.Draw(t, "next")}) },
		"OutOfRange":   m.outOfRange,
		"OpenReadOnly": m.openReader,
		"Reopen":       m.reopen,
		"Kill":         m.killed,
		"PowerCut":     m.powerCut,
		"Fail":         m.arm,
	})
	m.disarm()
	m.closeReader(t)
	m.must(t, m.end())
	m.must(t, m.checkBeside())
}

var (
	few   = rapid.IntRange(0, 9)
	sizes = rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(100, 600), rapid.IntRange(0, 3800))
	rooms = rapid.SampledFrom([]int{0, 8, 16, 48, 56, 64, 80, 112, 168})
	kinds = rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC, journal.ErrReplaced})
	modes = rapid.SampledFrom([]journal.Durability{
		journal.Synced, journal.Published, journal.Published, journal.Interval,
	})
)
