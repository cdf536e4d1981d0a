package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// metrics are what one run of one contender measured. ns is nanoseconds per operation.
type metrics map[string]float64

// contender is an implementation in a cell. run does everything, in an empty directory of its own;
// if setup is not nil it fills that directory once for all rounds, and run finds what it left.
type contender struct {
	name  string
	setup func(dir string) (*filled, error)
	run   func(dir string, f *filled) (metrics, error)
}

// cell is one column of a table: all contenders do the same.
type cell struct {
	work, id, title string
	contenders      []contender
	rounds          int // where a run takes long: at most so many; 0: as many as elsewhere
}

// roundsOf returns how often the contenders of a cell run.
func (cfg *config) roundsOf(c *cell) int {
	if c.rounds > 0 {
		return min(c.rounds, cfg.rounds)
	}
	return cfg.rounds
}

// key names a row of measurements: one value for each round.
type key struct{ work, cell, impl, metric string }

// of is the key of another metric, by that of another implementation.
func (k key) of(metric string) key { k.metric = metric; return k }
func (k key) by(i *Impl) key       { k.impl = i.Name; return k }

// results are all measurements. A round that was not run is NaN. Who has failed in a cell has no
// values there, not even of the rounds before.
type results struct {
	cells  []*cell // in order
	values map[key][]float64
	errors map[key]error // of keys without a metric
	rounds int
}

// runner runs cells.
type runner struct {
	cfg      config
	results  *results
	progress io.Writer

	steps, done int
	begun       time.Time
}

func newRunner(cfg config, cells []*cell, progress io.Writer) *runner {
	r := &runner{cfg: cfg, progress: progress, begun: time.Now()}
	r.results = &results{
		values: map[key][]float64{}, errors: map[key]error{}, rounds: cfg.rounds,
	}
	for _, c := range cells {
		c.contenders = slices.DeleteFunc(c.contenders, func(k contender) bool {
			return !cfg.wants(c.work, c.id, k.name)
		})
		if len(c.contenders) > 0 {
			r.results.cells = append(r.results.cells, c)
			r.steps += len(c.contenders) * cfg.roundsOf(c)
		}
	}
	return r
}

// run runs every cell: in each round every contender once, in an order that is drawn for it.
func (r *runner) run() {
	for _, c := range r.results.cells {
		r.cell(c)
	}
	fmt.Fprintf(r.progress, "\r%-100s\n", fmt.Sprintf("done in %v",
		time.Since(r.begun).Round(time.Second)))
}

// order returns the order of the contenders in a round: a random one, so that nobody always follows
// the same one, and the same in every run.
func (c *cell) order(round int) []int {
	h := fnv.New64a()
	io.WriteString(h, c.work+"/"+c.id)
	return rand.New(rand.NewPCG(h.Sum64(), uint64(round))).Perm(len(c.contenders))
}

func (r *runner) cell(c *cell) {
	dir, err := os.MkdirTemp(r.cfg.dir, "cell-")
	if err != nil {
		for _, k := range c.contenders {
			r.fail(c, k, err)
		}
		return
	}
	defer os.RemoveAll(dir)
	setups := make([]*filled, len(c.contenders))
	for round := range r.cfg.roundsOf(c) {
		for _, i := range c.order(round) {
			k := c.contenders[i]
			r.show(c, k)
			r.done++
			if r.results.failed(c, k.name) {
				continue
			}
			sub := filepath.Join(dir, fmt.Sprint(i))
			if k.setup != nil && setups[i] == nil {
				if setups[i], err = k.setup(sub); err != nil {
					r.fail(c, k, err)
					continue
				}
			}
			m, err := metrics(nil), writeBack(r.cfg.dir)
			if err == nil {
				m, err = k.run(sub, setups[i])
			}
			if err != nil {
				r.fail(c, k, err)
			} else {
				r.add(c, k, round, m)
			}
			if k.setup == nil {
				os.RemoveAll(sub)
			}
		}
	}
	for i, f := range setups {
		if f == nil || f.log == nil {
			continue
		}
		var err error
		if closeLog(f.log, &err); err != nil && !r.results.failed(c, c.contenders[i].name) {
			r.fail(c, c.contenders[i], err)
		}
	}
}

// fail notes that a contender has failed in a cell, and drops what it has measured there.
func (r *runner) fail(c *cell, k contender, err error) {
	at := key{c.work, c.id, k.name, ""}
	r.results.errors[at] = err
	maps.DeleteFunc(r.results.values, func(have key, _ []float64) bool {
		return have.of("") == at
	})
	fmt.Fprintf(r.progress, "\r%-100s\n", fmt.Sprintf("%s/%s/%s: %v", c.work, c.id, k.name, err))
}

func (r *runner) add(c *cell, k contender, round int, m metrics) {
	for name, v := range m {
		at := key{c.work, c.id, k.name, name}
		if r.results.values[at] == nil {
			r.results.values[at] = slices.Repeat([]float64{math.NaN()}, r.cfg.rounds)
		}
		r.results.values[at][round] = v
	}
}

func (r *runner) show(c *cell, k contender) {
	eta := "?"
	if r.done > 0 {
		left := time.Since(r.begun) * time.Duration(r.steps-r.done) / time.Duration(r.done)
		eta = left.Round(time.Second).String()
	}
	fmt.Fprintf(r.progress, "\r%-100s", fmt.Sprintf("%d/%d, about %s left: %s/%s %s",
		r.done+1, r.steps, eta, c.work, c.id, k.name))
}

// failed reports whether an implementation has failed in a cell.
func (r *results) failed(c *cell, impl string) bool {
	return r.errors[key{c.work, c.id, impl, ""}] != nil
}

// show returns text, or that the implementation has failed in the cell.
func (r *results) show(c *cell, impl *Impl, text string) string {
	if r.failed(c, impl.Name) {
		return "failed"
	}
	return text
}

// failures lists what has failed, in the order of the cells and of their contenders.
func (r *results) failures() (lines []string) {
	for _, c := range r.cells {
		for _, k := range c.contenders {
			if err := r.errors[key{c.work, c.id, k.name, ""}]; err != nil {
				lines = append(lines, fmt.Sprintf("%s/%s/%s: %v", c.work, c.id, k.name, err))
			}
		}
	}
	return lines
}

// median returns the median over the rounds, NaN if there is no value.
func (r *results) median(k key) float64 { return median(r.values[k]) }

// most and fewest return the largest and the smallest value of all rounds, NaN if there is none.
func (r *results) most(k key) float64   { return extreme(r.values[k], slices.Max[[]float64]) }
func (r *results) fewest(k key) float64 { return extreme(r.values[k], slices.Min[[]float64]) }

func extreme(v []float64, of func([]float64) float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	return of(v)
}

// ratio returns the median over the rounds of one row divided by another, each in the same round.
func (r *results) ratio(num, den key) float64 {
	a, b := r.values[num], r.values[den]
	if a == nil || b == nil {
		return math.NaN()
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

// least returns, for each round, the least value of several rows.
func (r *results) least(keys []key) (least []float64) {
	for _, k := range keys {
		for i, v := range r.values[k] {
			if least == nil {
				least = slices.Repeat([]float64{math.NaN()}, r.rounds)
			}
			if math.IsNaN(least[i]) || v < least[i] {
				least[i] = v
			}
		}
	}
	return least
}

func median(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
