package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
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
	color string
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
				bars = append(bars, bar{impl.Name, v, barColor(impl)})
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

func barColor(i *Impl) string {
	switch {
	case i.limit():
		return "#999999"
	case i.peer():
		return "#6699cc"
	}
	return "#cc6633"
}

// Sizes of a chart, in pixels.
const (
	chartWidth, chartLeft, chartBar = 720, 180, 430
	barHeight, chartTop             = 24, 48
)

// chart draws horizontal bars on a logarithmic scale that begins at a power of ten.
func chart(title string, bars []bar) []byte {
	low, high := math.Inf(1), 0.0
	for _, b := range bars {
		low, high = min(low, b.value), max(high, b.value)
	}
	from := math.Floor(math.Log10(low) - 0.3)
	scale := chartBar / (math.Log10(high) - from)
	height := chartTop + len(bars)*barHeight + 8
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="13">`+"\n", chartWidth, height)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&s, `<text x="8" y="20" font-weight="bold">%s</text>`+"\n", escape(title))
	fmt.Fprintf(&s, `<text x="8" y="38" fill="#666666">time per operation, logarithmic scale `+
		`from %s</text>`+"\n", escape(formatNS(math.Pow(10, from))))
	for i, b := range bars {
		y := chartTop + i*barHeight
		width := (math.Log10(b.value) - from) * scale
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`,
			chartLeft-8, y+16, escape(b.label))
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`,
			chartLeft, y+3, width, barHeight-6, b.color)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n",
			chartLeft+width+6, y+16, escape(formatNS(b.value)))
	}
	s.WriteString("</svg>\n")
	return []byte(s.String())
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}
