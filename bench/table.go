package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// tables are what is shown of each work: one table for each metric, with a column for each cell.
var tables = []struct {
	work, metric, title string
	format              func(float64) string
	against             string // the limit whose multiple is shown beside, if any
}{
	{"unsynced", "ns", "Unsynced append: time per append, by record size × goroutines",
		formatNS, "mapped limit"},
	{"unsynced", "allocs", "Unsynced append: allocations per append", formatCount, ""},
	{"latency", "", "Append latency, paced, 128 B, over several segments: time of each call",
		formatNS, ""},
	{"latency", fromDue, "The same, counted from when each append was due", formatNS, ""},
	{"sustained", "ns", "Unsynced append over many segments as fast as it goes: time per append",
		formatNS, ""},
	{"sustained", "stalled",
		"The same: part of the time that appends waited for a segment (backpressure)",
		formatPercent, ""},
	{"durable", "ns", "Durable append: time per append, by record size × goroutines",
		formatNS, "disk limit"},
	{"durable", "cpu", "Durable append: processor time per append, the kernel's for this process too",
		formatNS, ""},
	{"durable", "allocs", "Durable append: allocations per append", formatCount, ""},
	{"durable", "ios", "Durable append: I/Os of the device per append (writes; a flush is one)",
		formatCount, ""},
	{"durable", "flushes", "Durable append: flushes of the device per append", formatCount, ""},
	{"durable", "bytes", "Durable append: bytes written to the device per append",
		formatBytes, ""},
	{"batch", "ns", "Durable batch of 100 × 128 B: time per batch", formatNS, "disk limit"},
	{"sequential", "ns", "Sequential read: time per record, by record size",
		formatNS, "mapped limit"},
	{"sequential", "allocs", "Sequential read: allocations per record", formatCount, ""},
	{"random", "ns", "Random read by seq: time per record, by record size",
		formatNS, "mapped limit"},
	{"random", "allocs", "Random read: allocations per record", formatCount, ""},
	{"reopen", "first", "First open after kill -9 (one for each fill: of the first round)",
		formatNS, ""},
	{"reopen", "ns", "Open after kill -9, files in the page cache", formatNS, ""},
	{"reopen", "cold", "Open after kill -9, files not in the page cache", formatNS, ""},
	{"unclaimed", "ns", "Open after kill -9, appended without a sync", formatNS, "sync and CRC"},
	{"space", "disk", "Bytes in files per record, by record size", formatCount, ""},
	{"space", "heap", "Go heap in use after these appends", formatBytes, ""},
	{"space", "rssAnon", "Anonymous resident memory after these appends", formatBytes, ""},
	{"space", "rssFile", "Resident memory of mapped files after these appends", formatBytes, ""},
}

// report is all text of a run, in Markdown.
func report(r *runner, where string) string {
	var b strings.Builder
	rounds := fmt.Sprint(r.cfg.rounds, " rounds")
	if n := r.cfg.longRounds; n > 0 {
		rounds += fmt.Sprintf(" (latency, sustained, reopen: %d)", min(n, r.cfg.rounds))
	}
	fmt.Fprintf(&b, "# Measurements\n\n%s. %s, mode %s, %s, %d MiB segments, %v.\n\n"+
		"Peers: %s.\n\n"+
		"Each figure is the median over the rounds (max: of all rounds); × is the median of the "+
		"ratios within a round to the limit.\n\n", where, time.Now().UTC().Format("2006-01-02"),
		r.cfg.mode, rounds, r.cfg.segment/mib, time.Since(r.begun).Round(time.Second), peerVersions())
	b.WriteString(goalTable(r.results))
	b.WriteString(failureList(r.results))
	b.WriteString(headlineTable(r.results))
	for _, t := range tables {
		cells := r.results.of(t.work)
		switch {
		case len(cells) == 0:
		case t.work == "latency":
			latencyTable(&b, r.results, cells[0], t.metric, t.title)
		default:
			resultTable(&b, r.results, cells, t.metric, t.title, t.format, t.against)
		}
	}
	return b.String()
}

// failureList says what has failed, and why.
func failureList(r *results) string {
	lines := r.failures()
	if len(lines) == 0 {
		return ""
	}
	text := "## Failed runs\n\n"
	for _, line := range lines {
		text += "* " + strings.ReplaceAll(line, "\n", "; ") + "\n"
	}
	return text + "\n"
}

// of returns a work's cells.
func (r *results) of(work string) (cells []*cell) {
	for _, c := range r.cells {
		if c.work == work {
			cells = append(cells, c)
		}
	}
	return cells
}

// find returns a cell, nil if the run has none like it.
func (r *results) find(work, id string) *cell {
	for _, c := range r.of(work) {
		if c.id == id {
			return c
		}
	}
	return nil
}

func resultTable(b *strings.Builder, r *results, cells []*cell, metric, title string,
	format func(float64) string, against string,
) {
	fmt.Fprintf(b, "## %s\n\n| |", title)
	for _, c := range cells {
		fmt.Fprintf(b, " %s |", c.title)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---:|", len(cells)))
	for _, impl := range impls {
		var row strings.Builder
		found := false
		for _, c := range cells {
			k := key{c.work, c.id, impl.Name, metric}
			v := r.median(k)
			text := format(v)
			if ratio := r.ratio(k, key{c.work, c.id, against, metric}); !math.IsNaN(ratio) &&
				impl.Name != against {
				text += fmt.Sprintf(" (%.2f ×)", ratio)
			}
			found = found || r.failed(c, impl.Name) || !math.IsNaN(v)
			fmt.Fprintf(&row, " %s |", r.show(c, impl, text))
		}
		if found {
			fmt.Fprintf(b, "| %s |%s\n", impl.Name, row.String())
		}
	}
	b.WriteString("\n")
}

// latencyTable has percentiles for columns, of the metrics whose names begin with prefix. The
// maximum is that of all rounds.
func latencyTable(b *strings.Builder, r *results, c *cell, prefix, title string) {
	fmt.Fprintf(b, "## %s\n\n| |", title)
	for _, p := range percentiles {
		fmt.Fprintf(b, " %s |", p.name)
	}
	fmt.Fprintf(b, " max | MB/s |\n|---|%s\n", strings.Repeat("---:|", len(percentiles)+2))
	for _, k := range c.contenders {
		fmt.Fprintf(b, "| %s |", k.name)
		if r.failed(c, k.name) {
			b.WriteString(strings.Repeat(" failed |", len(percentiles)+2) + "\n")
			continue
		}
		at := key{c.work, c.id, k.name, ""}
		for _, p := range percentiles {
			fmt.Fprintf(b, " %s |", formatNS(r.median(at.of(prefix+p.name))))
		}
		fmt.Fprintf(b, " %s | %.0f |\n", formatNS(r.most(at.of(prefix+"max"))),
			r.median(at.of("MB/s")))
	}
	b.WriteString("\n")
}

// formatNS prints nanoseconds with three digits and a fitting unit.
func formatNS(ns float64) string {
	switch {
	case math.IsNaN(ns):
		return "–"
	case ns < 1e3:
		return threeDigits(ns) + " ns"
	case ns < 1e6:
		return threeDigits(ns/1e3) + " µs"
	case ns < 1e9:
		return threeDigits(ns/1e6) + " ms"
	}
	return threeDigits(ns/1e9) + " s"
}

func formatPercent(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}

func formatBytes(n float64) string {
	switch {
	case math.IsNaN(n):
		return "–"
	case n < 1<<10:
		return threeDigits(n) + " B"
	case n < mib:
		return threeDigits(n/1024) + " KiB"
	case n < gib:
		return threeDigits(n/mib) + " MiB"
	}
	return threeDigits(n/gib) + " GiB"
}

func formatCount(n float64) string {
	if math.IsNaN(n) {
		return "–"
	}
	return fmt.Sprintf("%.2f", n)
}

func threeDigits(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
