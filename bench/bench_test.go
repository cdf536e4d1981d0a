package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	childMain()
	m.Run()
}

// TestRecordsReadBack: what goes into every implementation comes out of it, in order, through Scan
// and Read, whether appended one by one or in batches, durable or not.
func TestRecordsReadBack(t *testing.T) {
	for _, impl := range withCaps(canScan) {
		for _, durable := range []bool{false, true} {
			if durable && !impl.can(canDurable) {
				continue
			}
			for _, size := range []int{16, 1000, 16384} {
				t.Run(fmt.Sprintf("%s/durable=%v/%d", impl.Name, durable, size), func(t *testing.T) {
					checkReadBack(t, impl, OpenOptions{Segment: mib, Durable: durable}, size)
				})
			}
		}
	}
}

func checkReadBack(t *testing.T, impl *Impl, o OpenOptions, size int) {
	const n = 150 // more than one segment of the largest
	f, err := fill(impl, filepath.Join(t.TempDir(), "log"), o, n, size)
	if err != nil {
		t.Fatal(err)
	}
	defer f.log.Close()
	next := uint64(1)
	err = f.log.Scan(func(seq uint64, p []byte) error {
		if seq != next || !bytes.Equal(p, payload(seq, size)) {
			return fmt.Errorf("record %d is not what was appended as %d", seq, next)
		}
		next++
		return nil
	})
	if err != nil || next != n+1 {
		t.Errorf("Scan: %d records, %v", next-1, err)
	}
	if !impl.can(canRead) {
		return
	}
	var buf []byte
	for _, seq := range []uint64{1, n / 2, n} {
		if buf, err = f.log.Read(seq, buf); err != nil || !bytes.Equal(buf, payload(seq, size)) {
			t.Errorf("Read %d: %v", seq, err)
		}
	}
}

// TestGroup: appends of many goroutines through the group commit are all there.
func TestGroup(t *testing.T) {
	l, err := tidwallImpl.start(t.TempDir(), OpenOptions{Segment: mib, Durable: true}, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := drive(l, load{goroutines: 8, size: 16, most: 400, chunk: 1})
	if err != nil || m["ops"] != 400 {
		t.Fatalf("%v appends, %v", m["ops"], err)
	}
	n := 0
	if err := l.Scan(func(uint64, []byte) error { n++; return nil }); err != nil || n != 400 {
		t.Errorf("%d records, %v", n, err)
	}
}

// TestSmoke runs everything once, with hardly any data, and looks at the report.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	var out, progress strings.Builder
	args := []string{"-smoke", "-dir", dir, "-svg", filepath.Join(dir, "svg")}
	if err := run(args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, impl := range impls {
		if !strings.Contains(out.String(), "\n| "+impl.Name+" |") {
			t.Errorf("no row for %s", impl.Name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "mmjournal-bench-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestHistogram(t *testing.T) {
	h := new(histogram)
	for v := range uint64(100_000) {
		h.add(v)
	}
	for _, q := range []float64{.001, .5, .99, .9999} {
		if got, want := h.quantile(q), q*100_000; math.Abs(got-want) > want/32+1 {
			t.Errorf("quantile %v: %v", q, got)
		}
	}
	for _, v := range []uint64{0, 63, 64, 65, 1 << 20, 1<<40 + 12345} {
		if i := bucket(v); lowest(i) > v || lowest(i+1) <= v {
			t.Errorf("%d is in a bucket from %d to %d", v, lowest(i), lowest(i+1))
		}
	}
}

// TestRounds: a cell may have fewer rounds than the others, and a failed contender runs no more.
func TestRounds(t *testing.T) {
	ran := map[string]int{}
	contenders := func(work string) []contender {
		run := func(name string, err error) contender {
			return contender{name: name, run: func(string, *filled) (metrics, error) {
				ran[work+" "+name]++
				return metrics{"ns": 1}, err
			}}
		}
		return []contender{run("good", nil), run("bad", errCannot)}
	}
	r := newRunner(config{rounds: 5, dir: t.TempDir()}, []*cell{
		{work: "many", contenders: contenders("many")},
		{work: "few", contenders: contenders("few"), rounds: 2},
		{work: "more", contenders: contenders("more"), rounds: 9},
	}, io.Discard)
	r.run()
	want := map[string]int{
		"many good": 5, "many bad": 1, "few good": 2, "few bad": 1, "more good": 5, "more bad": 1,
	}
	if !maps.Equal(ran, want) || r.done != r.steps || len(r.results.errors) != 3 {
		t.Errorf("%v; %d of %d steps, %v", ran, r.done, r.steps, r.results.errors)
	}
}

// TestFirstOpen: only the first open after the kill counts as one, and all records are there.
func TestFirstOpen(t *testing.T) {
	cfg := smoke()
	k := reopen(&cfg, oursImpl, 2*mib)
	dir := t.TempDir()
	f, err := k.setup(dir)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		m, err := k.run(dir, f)
		if _, first := m["first"]; err != nil || first != (round == 0) || m["ns"] <= 0 {
			t.Errorf("round %d: %v, %v", round, m, err)
		}
	}
}

// TestRecoverCounts: whoever is opened after a kill says how many records there are, so that a
// missing one shows.
func TestRecoverCounts(t *testing.T) {
	cfg := smoke()
	for _, impl := range withCaps(canReopen) {
		k := reopen(&cfg, impl, 2*mib)
		dir := t.TempDir()
		f, err := k.setup(dir)
		if err != nil {
			t.Fatal(err)
		}
		rec := task{
			Kind: "recover", Impl: impl.Name, Dir: dir, Size: reopenRecord,
			Options: OpenOptions{Segment: cfg.segment, Durable: true},
		}
		if _, err := recoverAll(&rec, f.n); err != nil {
			t.Errorf("%s: %v", impl.Name, err)
		}
		if _, err := recoverAll(&rec, f.n+1); err == nil {
			t.Errorf("%s: does not count", impl.Name)
		}
	}
}

// TestPace: a stall is in the time of one call, and in that of all appends that were due meanwhile.
func TestPace(t *testing.T) {
	const n = 1000
	l := &stallOnce{at: 2, stall: 30 * time.Millisecond}
	p, err := pace(l, make([]byte, 128), n, 128*10_000) // 300 appends are due in the stall
	if err != nil || p.calls.n != p.due.n {
		t.Fatalf("%d and %d of %d, %v", p.calls.n, p.due.n, n, err)
	}
	if p.calls.max < 30e6 || p.due.quantile(.9) < 15e6 ||
		p.due.quantile(.9) < p.calls.quantile(.9) {
		t.Errorf("calls: p90 %v, max %v; due: p90 %v", p.calls.quantile(.9), p.calls.max,
			p.due.quantile(.9))
	}
	m := p.metrics(128)
	if m["bytes"] != float64(p.calls.n*128) || m["max"] < 30e6 || m[fromDue+"max"] < m["max"] {
		t.Errorf("%v", m)
	}
}

// stallOnce takes everything, and its time once.
type stallOnce struct {
	Log
	at    int
	stall time.Duration
}

func (l *stallOnce) Append([]byte) error {
	if l.at--; l.at == 0 {
		time.Sleep(l.stall)
	}
	return nil
}

// TestCloseFails: the error of a log's Close is one of its run, with a setup for all rounds too.
func TestCloseFails(t *testing.T) {
	broken := &Impl{Name: "broken", open: func(string, OpenOptions) (Log, error) {
		return badClose{}, nil
	}}
	cfg := smoke()
	cfg.dir = t.TempDir()
	for name, run := range map[string]func() (metrics, error){
		"unsynced":  func() (metrics, error) { return runUnsynced(&cfg, broken, cfg.dir, 16, 1) },
		"sustained": func() (metrics, error) { return runSustained(&cfg, broken, cfg.dir, 16) },
		"latency":   func() (metrics, error) { return runLatency(&cfg, broken, cfg.dir, 16) },
		"durable": func() (metrics, error) {
			return runDurable(&cfg, broken, cfg.dir, load{goroutines: 1, size: 16, most: 9, chunk: 1})
		},
	} {
		if _, err := run(); !errors.Is(err, errCannot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := newRunner(cfg, []*cell{{work: "random", contenders: []contender{{
		name:  ours,
		setup: func(string) (*filled, error) { return &filled{log: badClose{}}, nil },
		run:   func(string, *filled) (metrics, error) { return metrics{"ns": 1}, nil },
	}}}}, io.Discard)
	r.run()
	if len(r.results.errors) != 1 || len(r.results.values) != 0 {
		t.Errorf("random: %v", r.results)
	}
}

// badClose takes everything and fails to close.
type badClose struct{ Log }

func (badClose) Append([]byte) error { return nil }
func (badClose) Close() error        { return errCannot }

// TestOrder: every round has everybody once, in an order of its own, which the next run repeats.
func TestOrder(t *testing.T) {
	c := &cell{work: "w", id: "1", contenders: make([]contender, 12)}
	other := &cell{work: "w", id: "2", contenders: c.contenders}
	for round := range 5 {
		got := c.order(round)
		if !slices.Equal(got, c.order(round)) {
			t.Errorf("round %d: another order in the next run", round)
		}
		if slices.Equal(got, c.order(round+1)) || slices.Equal(got, other.order(round)) {
			t.Errorf("round %d: the order of another round or cell", round)
		}
		if slices.Sort(got); got[0] != 0 || got[11] != 11 || len(slices.Compact(got)) != 12 {
			t.Errorf("round %d: %v", round, got)
		}
	}
}

// TestFailedRun: who fails in a later round keeps nothing of the earlier ones, the report says so
// below the goals, and the file of an earlier run is left alone.
func TestFailedRun(t *testing.T) {
	rounds := 0
	r := newRunner(config{rounds: 3, dir: t.TempDir()}, []*cell{{
		work: "sustained", id: "128x1", title: "128 B", contenders: []contender{
			{name: "Pebble", run: func(string, *filled) (metrics, error) {
				if rounds++; rounds == 2 {
					return metrics{"ns": 5}, errCannot
				}
				return metrics{"ns": 5}, nil
			}},
			{name: ours, run: func(string, *filled) (metrics, error) {
				return metrics{"ns": 7}, nil
			}},
		},
	}}, io.Discard)
	r.run()
	out := filepath.Join(t.TempDir(), "results")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := output(&flags{out: out}, r, "here", io.Discard, &said); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(out)
	text, _ := os.ReadFile(out + ".failed")
	if string(old) != "old" || !strings.Contains(said.String(), out+".failed") {
		t.Errorf("the file says %q, and the run %q", old, said.String())
	}
	goals, rest, found := strings.Cut(string(text), "## Failed runs")
	if !found || !strings.Contains(goals, "## Goals") || strings.Contains(goals, "\n## Uns") {
		t.Errorf("the failures are not right below the goals")
	}
	for _, want := range []string{
		"\n* sustained/128x1/Pebble: " + errCannot.Error(),
		"\n| Pebble | failed |\n", "\n| mmjournal | 7.00 ns |\n",
	} {
		if !strings.Contains(rest, want) {
			t.Errorf("no %q in:\n%s", want, rest)
		}
	}
}

// TestRatios: a ratio is the median over the rounds of ratios, not a ratio of medians.
func TestRatios(t *testing.T) {
	a, b := key{"w", "c", "a", "ns"}, key{"w", "c", "b", "ns"}
	r := &results{rounds: 3, values: map[key][]float64{
		a: {10, 200, 30}, b: {5, 50, math.NaN()},
	}}
	if got := r.ratio(a, b); got != 3 {
		t.Errorf("ratio %v", got)
	}
	if got := r.least([]key{a, b}); got[0] != 5 || got[1] != 50 || got[2] != 30 {
		t.Errorf("least %v", got)
	}
}
