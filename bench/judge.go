package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// measure says how a figure comes about: value is that of the row of ours at, from the metric of
// this row and of others. It is NaN where something is missing.
type measure struct {
	metric string
	others []*Impl
	value  func(r *results, at key) float64
	unfit  func(r *results, at key) string // says why value is not to be judged, or ""; or nil
}

// plain is a metric of ours.
func plain(metric string) measure {
	return measure{metric: metric, value: func(r *results, at key) float64 {
		return r.median(at.of(metric))
	}}
}

// long is a metric of ours if so many bytes were appended in each round that stalls are in it.
func long(metric string) measure {
	m := plain(metric)
	m.unfit = func(r *results, at key) string {
		if r.fewest(at.of("bytes")) < longLatency {
			return "less than 10 GiB appended"
		}
		return ""
	}
	return m
}

// longLatency is how many bytes are appended at least for the goals of latency.
const longLatency = 10 * gib

// against is the time of ours as a multiple of a limit's.
func against(limit *Impl) measure {
	return measure{metric: "ns", others: []*Impl{limit}, value: func(r *results, at key) float64 {
		return r.ratio(at.of("ns"), at.by(limit).of("ns"))
	}}
}

// faster is the best time, in each round, of the peers that can do something, as a multiple of
// ours.
func faster(peers func(*Impl) bool, can caps) measure {
	set := slices.DeleteFunc(withCaps(can), func(i *Impl) bool { return !peers(i) })
	return measure{metric: "ns", others: set, value: func(r *results, at key) float64 {
		var keys []key
		for _, i := range set {
			keys = append(keys, at.by(i).of("ns"))
		}
		best, mine := r.least(keys), r.values[at.of("ns")]
		if best == nil || mine == nil {
			return math.NaN()
		}
		for i := range best {
			best[i] /= mine[i]
		}
		return median(best)
	}}
}

// overhead is the bytes in the files of records of 1 KiB, as a multiple of the least that a frame
// takes.
var overhead = measure{metric: "disk", value: func(r *results, at key) float64 {
	return r.median(at.of("disk")) / (1024 + 16)
}}

// figure is one value that a goal is about, and where it comes from.
type figure struct {
	value float64
	cell  string
}

// figures returns what the run has measured of what the goal is about, and what is lacking.
func (g *goal) figures(r *results) (figures []figure, lacking []string) {
	for _, id := range g.cells {
		c := r.find(g.work, id)
		if c == nil {
			lacking = append(lacking, "no "+g.work+"/"+id)
			continue
		}
		for _, row := range g.rows {
			at := key{work: g.work, cell: id, impl: row.Name}
			lacking = append(lacking, g.lacks(r, at)...)
			v := g.measure.value(r, at)
			if math.IsNaN(v) {
				continue
			}
			title := c.title
			if len(g.rows) > 1 {
				title += " " + row.Name
			}
			figures = append(figures, figure{v, title})
		}
	}
	return figures, lacking
}

// lacks returns why the figure of a row of ours is not to be judged: rows that it needs are not in
// the run, or it is unfit.
func (g *goal) lacks(r *results, at key) (lacking []string) {
	metric := g.measure.metric
	for _, name := range append([]string{at.impl}, names(g.measure.others)...) {
		if math.IsNaN(r.median(key{at.work, at.cell, name, metric})) {
			lacking = append(lacking, "no "+at.work+"/"+at.cell+"/"+name)
		}
	}
	if unfit := g.measure.unfit; unfit != nil && lacking == nil {
		if why := unfit(r, at); why != "" {
			lacking = append(lacking, why)
		}
	}
	return lacking
}

func names(set []*Impl) (names []string) {
	for _, i := range set {
		names = append(names, i.Name)
	}
	return names
}

// worst returns the figure that is farthest from the goal.
func (g *goal) worst(figures []figure) figure {
	return slices.MaxFunc(figures, func(a, b figure) int {
		if (a.value > b.value) != g.bound.least {
			return 1
		}
		return -1
	})
}

func (b bound) met(v float64) bool {
	if b.least {
		return v >= b.value
	}
	return v <= b.value
}

// text is the bound for people.
func (b bound) text(format func(float64) string) string {
	if b.least {
		return "≥ " + format(b.value)
	}
	return "≤ " + format(b.value)
}

func goalTable(r *results) string {
	var b strings.Builder
	b.WriteString("## Goals\n\n| | goal | worst cell | | all cells |\n|---|---:|---:|---|---|\n")
	for _, g := range goals {
		worst, verdict, cells := g.judge(r)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", g.text, g.bound.text(g.format), worst,
			verdict, cells)
	}
	return b.String() + "\n"
}

// judge returns the last three columns of the goal's line.
func (g *goal) judge(r *results) (worst, verdict, cells string) {
	if len(r.of(g.work)) == 0 {
		return "not measured", "", ""
	}
	figures, lacking := g.figures(r)
	worst = "–"
	if len(figures) > 0 {
		w := g.worst(figures)
		worst, verdict = g.format(w.value), "**missed**"
		if g.bound.met(w.value) {
			verdict = "met"
		}
	}
	if n := len(lacking); n > 0 {
		verdict = "not judged: " + lacking[0]
		if n > 1 {
			verdict += fmt.Sprintf(" and %d more", n-1)
		}
	}
	var each []string
	for _, f := range figures {
		each = append(each, f.cell+": "+g.format(f.value))
	}
	return worst, verdict, strings.Join(each, ", ")
}
