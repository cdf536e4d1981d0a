package main

import (
	"strings"
	"testing"
)

// TestHeadline: durable cells are ratios to recycled files, the others to the main row, all within
// rounds; who has failed is there and says so.
func TestHeadline(t *testing.T) {
	r := testResults("durable", "128x1")
	r.rounds = 3
	r.cells = append(r.cells, &cell{work: "unsynced", id: "128x1"}, &cell{work: "space", id: "16"})
	for at, v := range map[key][]float64{
		{"durable", "128x1", ours, "ns"}:                  {1, 1, 1},
		{"durable", "128x1", oursRecycledImpl.Name, "ns"}: {10, 100, 10},
		{"durable", "128x1", "Pebble", "ns"}:              {20, 300, 40},
		{"unsynced", "128x1", ours, "ns"}:                 {30, 40, 50},
		{"unsynced", "128x1", "Pebble", "ns"}:             {300, 400, 500},
	} {
		r.values[at] = v
	}
	r.errors[key{"unsynced", "128x1", "bbolt", ""}] = errCannot
	got := headlineTable(r)
	for _, want := range []string{
		"\n| | unsynced 128 B × 1 | durable 128 B × 1 |\n|---|---:|---:|\n",
		"\n| *mmjournal takes* | 40.0 ns | 10.0 ns |\n",
		"\n| Pebble | 10.0 × | 3.00 × |\n",
		"\n| bbolt | failed | – |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n| "); n != 4 {
		t.Errorf("%d rows:\n%s", n, got)
	}
}
