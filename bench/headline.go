package main

import (
	"fmt"
	"math"
	"strings"
)

// headlines are the cells of the table that says most in the least room. row is what is 1 there:
// for durable appends the journal's steady state.
var headlines = []struct {
	title, work, cell, metric string
	row                       *Impl
}{
	{"unsynced 128 B × 1", "unsynced", "128x1", "ns", oursImpl},
	{"unsynced 128 B × 64", "unsynced", "128x64", "ns", oursImpl},
	{"sustained 128 B", "sustained", "128x1", "ns", oursImpl},
	{"durable 128 B × 1", "durable", "128x1", "ns", oursRecycledImpl},
	{"durable 128 B × 64", "durable", "128x64", "ns", oursRecycledImpl},
	{"durable 16 KiB × 64", "durable", "16384x64", "ns", oursRecycledImpl},
	{"durable batch 100 × 128 B", "batch", "100x128", "ns", oursRecycledImpl},
	{"sequential read 128 B", "sequential", "128", "ns", oursImpl},
	{"random read 128 B", "random", "128", "ns", oursImpl},
	{"first open 1 GiB", "reopen", "1024", "first", oursImpl},
	{"warm open 1 GiB", "reopen", "1024", "ns", oursImpl},
}

// headlineTable says how many times as long as the journal the peers take, each figure the median
// of the ratios within a round. The columns are those headlines that the run has; without one there
// is no table.
func headlineTable(r *results) string {
	var head, line, own strings.Builder
	rows := make([]strings.Builder, len(impls))
	found := make([]bool, len(impls))
	for _, h := range headlines {
		c := r.find(h.work, h.cell)
		if c == nil {
			continue
		}
		fmt.Fprintf(&head, " %s |", h.title)
		line.WriteString("---:|")
		at := key{work: h.work, cell: h.cell, metric: h.metric}
		fmt.Fprintf(&own, " %s |", r.show(c, h.row, formatNS(r.median(at.by(h.row)))))
		for i, impl := range impls {
			v := r.ratio(at.by(impl), at.by(h.row))
			fmt.Fprintf(&rows[i], " %s |", r.show(c, impl, formatRatio(v)))
			found[i] = found[i] || !math.IsNaN(v) || r.failed(c, impl.Name)
		}
	}
	if head.Len() == 0 {
		return ""
	}
	text := "## Headline: how many times as long as " + ours + "\n\n" +
		"Durable appends and batches: as long as " + oursRecycledImpl.Name + ".\n\n" +
		"| |" + head.String() + "\n|---|" + line.String() + "\n" +
		"| *" + ours + " takes* |" + own.String() + "\n"
	for i, impl := range impls {
		if impl.peer() && found[i] {
			text += "| " + impl.Name + " |" + rows[i].String() + "\n"
		}
	}
	return text + "\n"
}

func formatRatio(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return threeDigits(v) + " ×"
}
