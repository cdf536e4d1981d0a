package journal_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mmjournal/internal/testutil/torture"
)

var updateMatrix = flag.Bool("update", false, "rewrite the table in docs/damage-matrix.md")

// The damage matrix: small journals in several states, each damaged in one way after another, and
// opened in every way.
//
//	matrix_table_test.go    the cases, and their outcomes as a table
//	matrix_state_test.go    the journals, and what had been promised of each
//	matrix_damage_test.go   the ways to damage them
//	matrix_verdict_test.go  what opening one says, and whether that is right
//	matrix_fs_test.go       a file system that shares files between the trials
//	matrix_random_test.go   many damages at once, to a larger journal
//
// go test makes a choice of them, make torture all; a case's number is the same in both.

// matrix counts outcomes by class of damage.
type matrix struct {
	// alone is held for writing by a case whose allocations are counted, for reading by the others.
	alone sync.RWMutex

	mu      sync.Mutex // guards the following
	classes []string   // in the order in which they began
	counts  map[string]*tallied
	states  map[string]*tallied
	n       int    // of cases that changed something
	most    uint64 // bytes that a case has allocated
	ops     int    // operations of a case
}

// tallied counts outcomes; lost is the most acknowledged records that a case has lost, none of them
// covered by a claim that is left.
type tallied struct {
	n    [outcomes]int
	lost int
}

func newMatrix() *matrix {
	return &matrix{counts: map[string]*tallied{}, states: map[string]*tallied{}}
}

// begin notes that a case of a class begins: that is the order of the table.
func (m *matrix) begin(class string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts[class] == nil {
		m.classes = append(m.classes, class)
		m.counts[class] = new(tallied)
	}
}

func (m *matrix) add(state, class string, o outcome, lost int) {
	m.begin(class)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.states[state] == nil {
		m.states[state] = new(tallied)
	}
	for _, c := range []*tallied{m.counts[class], m.states[state]} {
		c.n[o]++
		c.lost = max(c.lost, lost)
	}
	m.n++
}

// heapAllocated returns how many bytes have been allocated so far, small ones not at once.
func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// matrixCases calls f with every case that go test makes, and then with every other one.
func matrixCases(states []*matrixState, f func(st *matrixState, b blow) bool) {
	for _, ci := range []bool{true, false} {
		more := true
		for _, st := range states {
			st.blows(func(b blow) bool {
				more = more && (b.ci != ci || f(st, b))
				return more
			})
		}
		if !more {
			return
		}
	}
}

// matrixShare counts the cases that go test makes.
func matrixShare(states []*matrixState) (n int64) {
	matrixCases(states, func(_ *matrixState, b blow) bool {
		if b.ci {
			n++
		}
		return b.ci
	})
	return n
}

// TestDamageMatrix: whatever the damage is, no acknowledged record is missing or different without
// a word, no other record is shown, and what refuses to open has not changed.
func TestDamageMatrix(t *testing.T) {
	modelSetup(t)
	states := newMatrixStates(t)
	share := matrixShare(states)
	every := uint64(torture.Count(500, 24, 1)) // of the cases, those whose number it divides
	switch {
	case *updateMatrix:
		every = 1
	case raceEnabled && every > 1:
		every = 200
	}
	c := torture.Start(t, "damage matrix", share/int64(every))
	m := newMatrix()
	cases, workers := make(chan matrixCase), sync.WaitGroup{}
	var wrong atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for x := range cases {
				if err := m.try(&x); err != nil {
					wrong.Add(1)
					c.ViolationOf(x.number, "%s, %s (%s): %v", x.st.name, x.blow.class, x.blow.what(), err)
				}
			}
		})
	}
	number := uint64(0)
	c.Next()
	matrixCases(states, func(st *matrixState, b blow) bool {
		if number++; number < c.Seed() || number%every != 0 {
			return true // MMJOURNAL_SEED asks for a later one
		}
		m.begin(b.class)
		cases <- matrixCase{st, b, number}
		return wrong.Load() < tooMany*tooMany && c.Next()
	})
	close(cases)
	workers.Wait()
	c.Note("%d changed something; at most %d operations in a case, and %d bytes on the heap in those "+
		"that were alone",
		m.n, m.ops, m.most)
	t.Logf("%s\n%s", m.table("damage", m.classes, m.counts),
		m.table("state", nil, m.states))
	if every == 1 && c.Of() == share && c.Runs() == c.Of() && !t.Failed() {
		m.golden(t)
	}
}

// matrixCase is one damage to one state.
type matrixCase struct {
	st     *matrixState
	blow   blow
	number uint64
}

// try makes one damage and judges the outcome.
func (m *matrix) try(c *matrixCase) error {
	files := c.st.damagedBy(c.blow)
	if files == nil {
		return nil
	}
	x := trial{st: c.st, files: files, lives: c.number%4 == 0}
	o, err := m.judge(&x, c.number%100 == 0)
	m.add(c.st.name, c.blow.class, o, x.lost)
	return err
}

// judge judges a trial, and bounds what that costs. What it allocates can be told only while no
// other one is judged; where it may be too much, or alone asks for it, that is done.
func (m *matrix) judge(x *trial, alone bool) (outcome, error) {
	size := 0
	for _, b := range x.files {
		size += len(b)
	}
	bound := uint64(mostBytes + 20*size)
	var o outcome
	var err error
	if !alone {
		m.alone.RLock()
		before := heapAllocated()
		o, err = x.judge()
		alone = heapAllocated()-before > bound && err == nil
		m.alone.RUnlock()
	}
	used := uint64(0)
	if alone {
		m.alone.Lock()
		for range 3 { // the runtime and what earlier tests have left running allocate too
			x.ops, x.lost = 0, 0
			before := heapAllocated()
			o, err = x.judge()
			if used = heapAllocated() - before; used <= bound || err != nil {
				break
			}
		}
		m.alone.Unlock()
	}
	switch {
	case err != nil:
	case used > bound:
		o, err = silent, fmt.Errorf("I14: %d bytes allocated", used)
	case x.ops > mostOps*len(x.files):
		o, err = silent, fmt.Errorf("I14: %d operations", x.ops)
	}
	m.mu.Lock()
	m.most, m.ops = max(m.most, used), max(m.ops, x.ops)
	m.mu.Unlock()
	return o, err
}

// table returns counts as a table in Markdown.
func (m *matrix) table(head string, rows []string, counts map[string]*tallied) string {
	if rows == nil {
		for _, s := range matrixScripts {
			if counts[s.name] != nil {
				rows = append(rows, s.name)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | cases |", head)
	for _, name := range outcomeNames {
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString(" lost, at most |\n|---|--:|" + strings.Repeat("--:|", int(outcomes)+1) + "\n")
	var sum tallied
	line := func(name string, c tallied) {
		n := 0
		cells := ""
		for o, k := range c.n {
			n += k
			cells += fmt.Sprintf(" %d |", k)
			sum.n[o] += k
		}
		sum.lost = max(sum.lost, c.lost)
		fmt.Fprintf(&b, "| %s | %d |%s %d |\n", name, n, cells, c.lost)
	}
	for _, name := range rows {
		if c := counts[name]; *c != (tallied{}) {
			line(name, *c)
		}
	}
	line("**all**", sum)
	return b.String()
}

// golden holds the tables against the document, or writes them there.
func (m *matrix) golden(t *testing.T) {
	t.Helper()
	path := filepath.Join("..", "docs", "damage-matrix.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- TestDamageMatrix -->\n", "<!-- end -->\n"
	head, rest, ok := strings.Cut(string(b), from)
	old, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s: no %q and %q", path, from, to)
	}
	text := m.table("damage", m.classes, m.counts) + "\n" + m.table("state", nil, m.states)
	switch {
	case old == text:
	case *updateMatrix:
		if err := os.WriteFile(path, []byte(head+from+text+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s has another table; run make golden and read the diff", path)
	}
}
