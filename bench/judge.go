package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// measure says how a figure comes about: value is that of the row of ours at, whose metric is left
// to the measure. It is NaN where something is missing.
type measure struct {
	others []*Impl // whose rows it needs beside that of ours
	value  func(r *results, at key) float64
}

// plain is a metric of ours.
func plain(metric string) measure {
	return measure{value: func(r *results, at key) float64 { return r.median(at.of(metric)) }}
}

// against is the time of ours as a multiple of a limit's.
func against(limit *Impl) measure {
	return measure{[]*Impl{limit}, func(r *results, at key) float64 {
		return r.ratio(at.of("ns"), at.by(limit).of("ns"))
	}}
}

// faster is the best time, in each round, of the peers that can do something, as a multiple of
// ours.
func faster(peers func(*Impl) bool, can caps) measure {
	set := slices.DeleteFunc(withCaps(can), func(i *Impl) bool { return !peers(i) })
	return measure{set, func(r *results, at key) float64 {
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
var overhead = measure{value: func(r *results, at key) float64 {
	return r.median(at.of("disk")) / (1024 + 16)
}}

// figure is one value that a goal is about, and where it comes from.
type figure struct {
	value float64
	cell  string
}

// figures returns what the run has measured of what the goal is about.
func (g *goal) figures(r *results) (figures []figure) {
	for _, c := range r.of(g.work) {
		if !slices.Contains(g.cells, c.id) {
			continue
		}
		for _, row := range g.rows {
			v := g.measure.value(r, key{work: c.work, cell: c.id, impl: row.Name})
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
	return figures
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
	figures := g.figures(r)
	if len(figures) == 0 {
		return "not measured", "", ""
	}
	var each []string
	for _, f := range figures {
		each = append(each, f.cell+": "+g.format(f.value))
	}
	w := g.worst(figures)
	verdict = "**missed**"
	if g.bound.met(w.value) {
		verdict = "met"
	}
	return g.format(w.value), verdict, strings.Join(each, ", ")
}
