package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// goal is a line of the table of goals: the worst of some figures against a bound.
type goal struct {
	text    string
	least   bool // the figure must be at least the bound, not at most
	bound   float64
	format  func(float64) string
	figures func(r *results) []figure
}

// figure is one value that a goal is about, and the cell it comes from.
type figure struct {
	value float64
	cell  string
}

// goals are what the project wants to reach.
var goals = []goal{
	{"unsynced append, 1 goroutine, every size: of the mapped limit", false, 1.1, times,
		against("unsynced", "ns", "mapped limit", one)},
	{"unsynced append, 1 goroutine, 128 B: faster than Pebble", true, 4, times,
		faster("unsynced", pebblesOnly, is("128x1"))},
	{"unsynced append, 1 goroutine, 128 B: faster than every other peer", true, 40, times,
		faster("unsynced", notPebble, is("128x1"))},
	{"unsynced append, 2 to 64 goroutines, 128 B and 16 KiB: of the mapped limit", false, 1, times,
		against("unsynced", "ns", "mapped limit", many)},
	{"unsynced append, 64 goroutines, 128 B and 16 KiB: of the fetch-add limit", false, 1.2, times,
		against("unsynced", "ns", "fetch-add limit", is("128x64", "16384x64"))},
	{"append latency, 128 B, with rolls: p99.9", false, 500, formatNS, plain("latency", "p99.9", all)},
	{"append latency, 128 B, with rolls: p99.99", false, 20e3, formatNS,
		plain("latency", "p99.99", all)},
	{"durable append, 1 goroutine: of the disk limit", false, 1.05, times,
		against("durable", "ns", "disk limit", one)},
	{"durable append of 128 B: I/Os of the device", false, 2.1, formatCount,
		plain("durable", "ios", is("128x1"))},
	{"durable append of 128 B: bytes written to the device", false, 4.5 * 1024, formatBytes,
		plain("durable", "bytes", is("128x1"))},
	{"durable append, 8, 64 and 256 goroutines, 128 B and 16 KiB: faster than the best peer", true,
		1, times, faster("durable", anyPeer, func(id string) bool { return !one(id) })},
	{"durable batch of 100 × 128 B: of the disk limit", false, 1.1, times,
		against("batch", "ns", "disk limit", all)},
	{"durable batch of 100 × 128 B: faster than the best peer", true, 1, times,
		faster("batch", anyPeer, all)},
	{"sequential read, every size: of the mapped limit", false, 1.15, times,
		against("sequential", "ns", "mapped limit", all)},
	{"random read by seq, every size: of the mapped limit", false, 1.5, times,
		against("random", "ns", "mapped limit", all)},
	{"random read by seq: faster than the best peer whose reads are checked", true, 1, times,
		faster("random", checkedPeer, all)},
	{"open after kill -9 of 4 GiB, synced, files in the page cache", false, 15e6, formatNS,
		plain("reopen", "ns", is("4096"))},
	{"open after kill -9, 64 MiB not synced: of the time to sync and CRC them", false, 1.3, times,
		against("unclaimed", "ns", "sync and CRC", all)},
	{"files: of payload + 16 bytes + padding to 8, at 1 KiB", false, 1.01, times, overhead},
}

func times(v float64) string { return fmt.Sprintf("%.2f ×", v) }

func all(string) bool { return true }

// one selects the cells with one goroutine, many those with more of the two sizes that matter.
func one(id string) bool { return strings.HasSuffix(id, "x1") }

func many(id string) bool {
	return !one(id) && (strings.HasPrefix(id, "128x") || strings.HasPrefix(id, "16384x"))
}

func is(ids ...string) func(string) bool {
	return func(id string) bool { return slices.Contains(ids, id) }
}

func anyPeer(i *Impl) bool     { return i.peer() && i != oursViewImpl }
func checkedPeer(i *Impl) bool { return anyPeer(i) && i.can(isChecked) }
func pebblesOnly(i *Impl) bool { return i == pebbleImpl }
func notPebble(i *Impl) bool   { return anyPeer(i) && i != pebbleImpl && i != pebbleRecycledImpl }

// plain is a metric of ours.
func plain(work, metric string, keep func(string) bool) func(*results) []figure {
	return each(work, keep, func(r *results, c *cell) float64 {
		return r.median(key{work, c.id, ours, metric})
	})
}

// against is ours as a multiple of a limit.
func against(work, metric, limit string, keep func(string) bool) func(*results) []figure {
	return each(work, keep, func(r *results, c *cell) float64 {
		return r.ratio(key{work, c.id, ours, metric}, key{work, c.id, limit, metric})
	})
}

// faster is the best time of some peers in each round, as a multiple of ours.
func faster(work string, peers func(*Impl) bool, keep func(string) bool) func(*results) []figure {
	return each(work, keep, func(r *results, c *cell) float64 {
		var keys []key
		for _, i := range impls {
			if peers(i) {
				keys = append(keys, key{work, c.id, i.Name, "ns"})
			}
		}
		best, mine := r.least(keys), r.values[key{work, c.id, ours, "ns"}]
		if best == nil || mine == nil {
			return math.NaN()
		}
		for i := range best {
			best[i] /= mine[i]
		}
		return median(best)
	})
}

func overhead(r *results) []figure {
	return each("space", is("1024"), func(r *results, c *cell) float64 {
		return r.median(key{"space", c.id, ours, "disk"}) / (1024 + 16)
	})(r)
}

func each(
	work string, keep func(string) bool, value func(*results, *cell) float64,
) func(*results) []figure {
	return func(r *results) (figures []figure) {
		for _, c := range r.of(work) {
			if v := value(r, c); keep(c.id) && !math.IsNaN(v) {
				figures = append(figures, figure{v, c.title})
			}
		}
		return figures
	}
}

// worst returns the figure that is farthest from the goal.
func (g *goal) worst(figures []figure) figure {
	return slices.MaxFunc(figures, func(a, b figure) int {
		if (a.value > b.value) != g.least {
			return 1
		}
		return -1
	})
}

func (g *goal) met(v float64) bool {
	if g.least {
		return v >= g.bound
	}
	return v <= g.bound
}

func goalTable(r *results) string {
	var b strings.Builder
	b.WriteString("## Goals\n\n| | goal | worst cell | | all cells |\n|---|---:|---:|---|---|\n")
	for _, g := range goals {
		bound := "≤ " + g.format(g.bound)
		if g.least {
			bound = "≥ " + g.format(g.bound)
		}
		figures := g.figures(r)
		if len(figures) == 0 {
			fmt.Fprintf(&b, "| %s | %s | not measured | | |\n", g.text, bound)
			continue
		}
		worst, verdict := g.worst(figures), "**missed**"
		if g.met(worst.value) {
			verdict = "met"
		}
		var each []string
		for _, f := range figures {
			each = append(each, f.cell+": "+g.format(f.value))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", g.text, bound, g.format(worst.value),
			verdict, strings.Join(each, ", "))
	}
	return b.String() + "\n"
}
