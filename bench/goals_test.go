package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// TestOurRows: the rows of the journal are ours, and no goal takes one of them for a peer.
func TestOurRows(t *testing.T) {
	for _, impl := range impls {
		if got := strings.HasPrefix(impl.Name, ours); got != impl.ours() {
			t.Errorf("%s: ours is %v", impl.Name, impl.ours())
		}
		if impl.ours() && (impl.peer() || barClass(impl) != barClass(oursImpl)) {
			t.Errorf("%s: a peer, or drawn as one", impl.Name)
		}
	}
	for _, g := range goals {
		for _, other := range g.measure.others {
			if other.ours() {
				t.Errorf("%s: is judged against %s", g.text, other.Name)
			}
		}
		for _, row := range g.rows {
			if !row.ours() {
				t.Errorf("%s: is about %s", g.text, row.Name)
			}
		}
	}
}

// TestDurableRows: recycled files are held against all peers, new files against those that recycle
// none.
func TestDurableRows(t *testing.T) {
	r := testResults("durable", groups...)
	for _, id := range groups {
		for _, impl := range withCaps(canDurable) {
			r.values[key{"durable", id, impl.Name, "ns"}] = []float64{60}
		}
		r.values[key{"durable", id, oursImpl.Name, "ns"}] = []float64{20}
		r.values[key{"durable", id, oursRecycledImpl.Name, "ns"}] = []float64{10}
		r.values[key{"durable", id, pebbleRecycledImpl.Name, "ns"}] = []float64{15}
	}
	for text, want := range map[string]string{"recycled files": "1.50 ×", "new files": "3.00 ×"} {
		i := slices.IndexFunc(goals, func(g goal) bool {
			return strings.HasPrefix(g.text, "durable append, 8,") && strings.Contains(g.text, text)
		})
		if worst, verdict, _ := goals[i].judge(r); worst != want || verdict != "met" {
			t.Errorf("%s: %s %s", goals[i].text, worst, verdict)
		}
	}
}

// TestNotJudged: a goal without a cell of its work is not measured. One that lacks a cell, a peer,
// or a run that has not failed is not judged, however good the rest is.
func TestNotJudged(t *testing.T) {
	peer := faster(pebblesOnly, canDurable)
	g := goal{"g", atLeast(1), times, "durable", []string{"a", "b"}, mainRow, peer}
	all := func() *results {
		r := testResults("durable", "a", "b")
		for _, id := range g.cells {
			r.values[key{"durable", id, ours, "ns"}] = []float64{1}
			r.values[key{"durable", id, "Pebble", "ns"}] = []float64{2}
		}
		return r
	}
	for _, c := range []struct {
		name, want string
		spoil      func(r *runner)
	}{
		{"all", "met", func(*runner) {}},
		{"no cell", "", func(r *runner) { r.results.cells = nil }},
		{"no cell b", "not judged: no durable/b", func(r *runner) {
			r.results.cells = r.results.cells[:1]
		}},
		{"no peer in b", "not judged: no durable/b/Pebble", func(r *runner) {
			delete(r.results.values, key{"durable", "b", "Pebble", "ns"})
		}},
		{"failed", "not judged: no durable/a/mmjournal and 1 more", func(r *runner) {
			for _, c := range r.results.cells {
				r.fail(c, contender{name: ours}, errCannot)
			}
		}},
	} {
		r := &runner{results: all(), progress: io.Discard}
		c.spoil(r)
		if worst, verdict, _ := g.judge(r.results); verdict != c.want {
			t.Errorf("%s: %s %s", c.name, worst, verdict)
		}
	}
}

// TestShortLatency: percentiles of a short run are shown and not judged, nor are those of a run
// that has given up in a round.
func TestShortLatency(t *testing.T) {
	i := slices.IndexFunc(goals, func(g goal) bool { return g.work == "latency" })
	for bytes, want := range map[float64]string{
		10 * gib: "met", 2 * gib: "not judged: less than 10 GiB appended",
	} {
		r := testResults("latency", "128")
		r.values[key{"latency", "128", ours, "p99.9"}] = []float64{400, 400}
		r.values[key{"latency", "128", ours, "bytes"}] = []float64{10 * gib, bytes}
		if worst, verdict, _ := goals[i].judge(r); worst != "400 ns" || verdict != want {
			t.Errorf("%v bytes: %s %s", bytes, worst, verdict)
		}
	}
}

// testResults has cells of a work, and no values.
func testResults(work string, ids ...string) *results {
	r := &results{values: map[key][]float64{}, errors: map[key]error{}, rounds: 1}
	for _, id := range ids {
		r.cells = append(r.cells, &cell{work: work, id: id, title: id})
	}
	return r
}
