package journal_test

import (
	"iter"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// The model: scripts of public operations run on the real journal over a simulated disk, and crash
// at every store group and every file-system operation, in every way or in very many; what is left
// is opened by the real recovery and held against what had been promised; some of it goes on to
// crash again.
//
//	model_oracle_test.go  what a journal must hold
//	model_script_test.go  scripts, and what their steps promise
//	model_life_test.go    one process: open, check, run a script, close
//	model_walk_test.go    crash everywhere
//	model_close_test.go   what Close leaves, a power cut leaves too
//	model_errors_test.go  an error at every operation, then crashes
//	model_evict_test.go   pages that a failed sync has given up leave the page cache during Open
//	model_damage_test.go  damage to what a claim covers, and to what none does
//
// MMJOURNAL_MODEL_STATES sets how many states to walk; MMJOURNAL_MODEL_REPLAY, copied from a
// failure, walks one.

// scripts of first lives. s means with Durability Synced, p with Published.
var scripts = []string{
	"s: a300 a400 a500",
	"s: a0 a1 a600*8",
	"s: b2x300 a100 b3x500 b1x9",
	"s: a300*4 tb2 a300 tb0 a100",
	"s: a500*10 tf3 a300 tf8 a100",
	"s: a300*2 rs10 a300 rs0 a200",
	"s: a500*16 tf1 a500*14 tf3 a600*7 c a300",
	"s: a300 c a300 c a300*2",
	"s: a300*3 tf3 a100 tf1 c tb1 a9",
	"s: rs100 a100 tb1 rs7 a10 k a11",
	"s: x30 f30 x600 a500*7 x900 a10",
	"p: a300*3 s a300*2",
	"p: a500*9 s a500*9 s",
	"p: a500*24",
	"p: b3x200 a100 b4x300 s b2x50",
	"p: a600*5 b3x300 s b6x616 b6x616",
	"p: a500*9 tb7 a300*2 s",
	"p: a500*10 s a500*3 tf9 a100",
	"p: a300*3 rs5 a300 s",
	"p: a300*2 c a400 c c a500",
	"p: a300*2 k a300 k a300 s",
	"p: a500*7 k a500*3 tb2 k a100 s",
	"p: f100 x100 a100 x300 s f200",
	"p: z600*3 s z600*2 a100 z1500",
	"p: a300*2 tb2 c a300 s tb1",
	"p: a500*9 tb8 tb0 a500*9 s tb1",
	"p: a3800 a3700 s a3600 s a10",
	"p: a100 s a100 s a100 s a100 w a100 s",
	"p: a2000 s a1300 s a10 s a10 s a300 s",
	"p: a500*8 s tf4 a500*8 tf4 c a500*8 tf4",
	"p: a10 e56 tf1 c a10 s", // the closing mark needs a segment of its own
	"p: e0 a10 s e0 s c a10",
	"p: a100 s e0 s a10 s",
	"p: a10 s e56 s c a10 s e56 tb1 c",
	"p: e112 tf1 tf0 a9 tb1 s k e8 c",
	"s: e0 e0 c a10 e56 c a10",
	"s: e56 e112 tf1 c e0 k a9",
	"s: b3x100 e64 tb1 e56 tf2 c e0 rs0",
	"p: a300 m300 s a300 m3000 s a300 m100 s a10",
	"p: a300*3 m300 tf1 a300 m300 tb2 a300 m300 rs2 m9 tf0 a10",
	"p: a1000*3 m1000 s a900 m2500 s m2500 tf3 a9 s",
	"p: a10 e424 s a500 s a10", // seal and index in different sectors
	"p: p2 a500*9 s p2 a500*9 k a10 p2 tb1 p2 c a10",
	"p: a10 p2 a900*9 p2 tb1 p2 c a9 p2 c a5 s",
	"s: a10 p2 a500*18 p2 rs3 a10 p2 tb1 a500*9 k p2 c",
	"s: a500*8 tf7 a500*8 tf7 a500*8 tf7 a500*8",
	"s: a600*14 tf13 a600*14 tf12 b3x600 a600*12",
	"s: a500*14 tf13 a500*14 k a500*14 tf30 a500*14 c a500*14 tf20 tb3 a500*15",
	"p: x30 c x600 m100 tf2 tb1 k x9 s", // nothing is ever appended: there is no segment
	"s: a300*8 d a3000*4 tf6 u a10",
	"s: a300*8 k d tf6 a10 tb1 rs4 tf0 u a10",
	"s: a500*9 d k tf9 u a500*9 d k tb4 u a10",
	"s: a300 d k tf1 k tb0 rs0 k rs5 u a300*2 d tb1 k tf1 u a10",
	"p: a300*20 s d k tb3 tf2 k tf1 c tb1 rs7 c u a300 s",
	"p: a10 e56 d tf1 c tf0 u a10 s",
	"p: a500*9 d tb5 tb1 tf2 k u a100 s tb1",
	"s: a300*3 a2000 d a900 tf4 a10 k tf0 c u a10", // nothing but the segment can be freed
	"p: a900 e8 d tf2 tf0 a10 c tf0 u a300 s k tf1",
	"s: a100 d a3800 a9 tf2 tf0 a9 u a10 k a9",
	"s: a300*3 l a300*3 tf2 l a10 tb1 a9 c l a10 rs9 l a9 tf1",
	"s: a500*9 l c a10 k l a500*9 tf4 c l a9",
	"s: a300*3 l a9 d a300 tb1 tf1 c l tf1 u a10",
	"p: a300*3 s l a300*2 s a300 m300 s c l a9 tb1 a300*3 l s tb2 l a9 tf1",
	"p: a300*3 l tb1 a300 l m300 tb1 a300 tb3 l c a9",
}

// largeScripts are for segments of largerSegment bytes, which are written over others.
var largeScripts = []string{
	"s: a3000*8 tf7 a900*12 a3000 tf11 a50 a3000*3 a100",
	"s: a900*30 tf29 b3x900 a900*11 a3990 tf14 a900*9 a10",
	"s: a3000*8 tf7 a1000*12 k a3000*8 tf10 a400 c a3000*6 tf5 tb1 a3000*4",
	"s: a3000*7 e8 tf7 a3000*2 e0 a3000*3 tf5 e0 a10 e0 a3000*2 e56 a9",
}

// modelStates returns how many states to walk; long is how many make test-long does.
func modelStates(t testing.TB, long int) int {
	if s := os.Getenv("MMJOURNAL_MODEL_STATES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("MMJOURNAL_MODEL_STATES: %v", err)
		}
		return n
	}
	long /= int(torture.Count(10, 10, 1))
	if raceEnabled {
		long /= 5
	}
	return long
}

// newWalk returns the walk of a script with its durability in front.
func newWalk(text string, seed uint64, budget int, o simdisk.Options) *walk {
	d := journal.Synced
	mode, text, _ := strings.Cut(text, ": ")
	if mode == "p" {
		d = journal.Published
	}
	return &walk{
		text: text, durability: d, segment: segmentFor(seed), opts: o, seed: seed, budget: budget,
	}
}

// modelSetup allows tiny segments, and makes the collector fit for very many very small heaps: the
// memory profile would keep a bucket for each of the model's deep stacks.
func modelSetup(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	percent, rate := debug.SetGCPercent(800), runtime.MemProfileRate
	runtime.MemProfileRate = 0
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		runtime.MemProfileRate = rate
	})
}

func TestModel(t *testing.T) {
	modelSetup(t)
	c := torture.Start(t, "any subset of unsynced sectors and names, 3 lives",
		int64(modelStates(t, 1_000_000)))
	all := runWalks(c, allWalks(int(c.Of())*2/3))
	c.Note("%v", all)
}

// allWalks yields walks of every script, with whole and with torn stores, of about states in all;
// then random scripts without end.
func allWalks(states int) iter.Seq[*walk] {
	return func(yield func(*walk) bool) {
		for i, text := range scripts {
			for k := range 2 {
				if raceEnabled && i%4 > 0 {
					continue
				}
				o := simdisk.Options{Torn: k == 1}
				if !yield(newWalk(text, 1, states/(2*len(scripts)), o)) {
					return
				}
			}
		}
		for i, text := range largeScripts {
			o := simdisk.Options{Torn: i%2 == 1}
			if !yield(newWalk(text, 1|seedLarge, states/(2*len(scripts)), o)) {
				return
			}
		}
		for n := uint64(0); ; n++ {
			r, seed := newRand(n), n
			if n%8 == 2 || n%8 == 4 { // Synced, torn or not
				seed |= seedLarge
			}
			text := "sp"[n%2:n%2+1] + ": " + randomScript(r, 3+r.IntN(10))
			if !yield(newWalk(text, seed, 500, simdisk.Options{Torn: n%4 < 2})) {
				return
			}
		}
	}
}

// runWalks runs walks, several at a time, until there have been as many states as asked for, or too
// many violations.
func runWalks(c *torture.Counter, walks iter.Seq[*walk]) *tally {
	var all tally
	var mu sync.Mutex
	next := make(chan *walk)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for w := range next {
				w.enough = func() bool { return !c.Left() }
				w.run()
				mu.Lock()
				all.add(c.Violation, w)
				mu.Unlock()
				c.Add(int64(w.total()))
			}
		})
	}
	for w := range walks {
		mu.Lock()
		enough := all.violations >= tooMany*tooMany
		mu.Unlock()
		if enough || !c.Left() {
			break
		}
		next <- w
	}
	close(next)
	workers.Wait()
	return &all
}

// TestModelFindsLies: the model must be able to fail. On a disk that ignores syncs, acknowledged
// records are lost; on one that ignores syncs of directories, segments are.
func TestModelFindsLies(t *testing.T) {
	modelSetup(t)
	for name, o := range map[string]simdisk.Options{
		"sync":    {IgnoreSync: true},
		"syncdir": {IgnoreSyncDir: true},
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for _, text := range scripts {
				w := newWalk(text, 1, 200, o)
				w.run()
				if len(w.violations) > 0 {
					caught++
				}
			}
			if caught < len(scripts)*9/10 {
				t.Errorf("%d of %d scripts notice a disk that ignores %s", caught, len(scripts), name)
			}
			t.Logf("%d of %d scripts notice", caught, len(scripts))
		})
	}
}

// TestModelReplay walks the one state that a failure names.
func TestModelReplay(t *testing.T) {
	text := os.Getenv("MMJOURNAL_MODEL_REPLAY")
	if text == "" {
		t.Log("nothing to replay: MMJOURNAL_MODEL_REPLAY is not set")
		return
	}
	modelSetup(t)
	w, err := parseReplay(text)
	if err != nil {
		t.Fatal(err)
	}
	w.run()
	for _, v := range w.violations {
		t.Errorf("%s", v)
	}
	if w.states[(len(w.replay)+1)/2] == 0 {
		t.Errorf("%q: the last crash was not reached: is it of other code?", text)
	}
}
