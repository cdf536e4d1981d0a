package main

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// charts are the cells that get a bar chart.
var charts = []struct{ work, cell, title string }{
	{"unsynced", "128x1", "Unsynced append of 128 B, 1 goroutine"},
	{"unsynced", "128x64", "Unsynced append of 128 B, 64 goroutines"},
	{"unsynced", "16384x1", "Unsynced append of 16 KiB, 1 goroutine"},
	{"durable", "128x1", "Durable append of 128 B, 1 goroutine"},
	{"durable", "128x64", "Durable append of 128 B, 64 goroutines"},
	{"durable", "16384x64", "Durable append of 16 KiB, 64 goroutines"},
	{"batch", "100x128", "Durable batch of 100 × 128 B"},
	{"sequential", "128", "Sequential read of 128 B"},
	{"random", "128", "Random read of 128 B by seq"},
	{"reopen", "1024", "Open of 1 GiB after kill -9"},
}

type bar struct {
	label string
	value float64 // nanoseconds
	class string
}

func writeCharts(dir string, r *results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range charts {
		var bars []bar
		for _, impl := range impls {
			v := r.median(key{c.work, c.cell, impl.Name, "ns"})
			if !math.IsNaN(v) {
				bars = append(bars, bar{impl.Name, v, barClass(impl)})
			}
		}
		if len(bars) == 0 {
			continue
		}
		path := filepath.Join(dir, c.work+"-"+c.cell+".svg")
		if err := os.WriteFile(path, chart(c.title, bars), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The classes of bars, in the order in which a chart has them.
const (
	limitBar = "limit"
	oursBar  = "ours"
	peerBar  = "peer"
)

func barClass(i *Impl) string {
	switch {
	case i.limit():
		return limitBar
	case i.peer():
		return peerBar
	}
	return oursBar
}

// chartStyle has colors for light and for dark pages.
const chartStyle = `<style>
text { fill: #1f2328 } .note { fill: #59636e } .back { fill: #ffffff } .axis { stroke: #d1d9e0 }
.limit { fill: #8c959f } .ours { fill: #bc4c00 } .peer { fill: #218bff }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .note { fill: #9198a1 } .back { fill: #0d1117 } .axis { stroke: #3d444d }
.limit { fill: #656c76 } .ours { fill: #f0883e } .peer { fill: #4493f8 }
}
</style>
`

// Sizes of a chart, in pixels.
const (
	chartWidth, chartLeft, chartBar = 720, 180, 430
	barHeight, chartTop             = 24, 48
)

// chart draws horizontal bars on a logarithmic scale, which begins at a power of ten: first the
// limits, then the logs, the fastest first.
func chart(title string, bars []bar) []byte {
	bars = slices.Clone(bars)
	slices.SortStableFunc(bars, func(a, b bar) int {
		if limit := a.class == limitBar; limit != (b.class == limitBar) {
			if limit {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.value, b.value)
	})
	low, high := math.Inf(1), 0.0
	for _, b := range bars {
		low, high = min(low, b.value), max(high, b.value)
	}
	from := math.Floor(math.Log10(low) - 0.3)
	scale := chartBar / (math.Log10(high) - from)
	bottom := chartTop + len(bars)*barHeight
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="13">`+"\n", chartWidth, bottom+28)
	s.WriteString(chartStyle)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" class="back"/>`+"\n")
	fmt.Fprintf(&s, `<text x="8" y="20" font-weight="bold">%s</text>`+"\n", escape(title))
	fmt.Fprintf(&s, `<text x="8" y="38" class="note">time per operation, logarithmic scale: `+
		`lower is better</text>`+"\n")
	for power := from; power <= math.Log10(high); power++ {
		x := chartLeft + (power-from)*scale
		fmt.Fprintf(&s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="axis"/>`,
			x, chartTop, x, bottom+4)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d" text-anchor="middle" class="note">%s</text>`+"\n",
			x, bottom+20, escape(powerOfTen(power)))
	}
	for i, b := range bars {
		y := chartTop + i*barHeight
		width := (math.Log10(b.value) - from) * scale
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`,
			chartLeft-8, y+16, escape(b.label))
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>`,
			chartLeft, y+3, width, barHeight-6, b.class)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n",
			chartLeft+width+6, y+16, escape(formatNS(b.value)))
	}
	s.WriteString("</svg>\n")
	return []byte(s.String())
}

// powerOfTen writes a power of ten of nanoseconds.
func powerOfTen(power float64) string {
	units := []string{"ns", "µs", "ms", "s"}
	unit := min(max(int(power)/3, 0), len(units)-1)
	return fmt.Sprintf("%.0f %s", math.Pow(10, power-float64(3*unit)), units[unit])
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}
