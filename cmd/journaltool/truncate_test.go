package main

import (
	"path/filepath"
	"testing"
)

func TestTruncate(t *testing.T) {
	dir := newJournal(t, 6000) // several segments
	for _, c := range []struct {
		flag, n, said string
		first, count  int
	}{
		{"--front", "1", "first 1 last 6000\n", 1, 6000},
		{"--front", "2500", "first 2500 last 6000\n", 2500, 3501},
		{"--back", "5999", "first 2500 last 5999\n", 2500, 3500},
		{"--back", "2600", "first 2500 last 2600\n", 2500, 101},
		{"--front", "2600", "first 2600 last 2600\n", 2600, 1},
		{"--back", "2599", "first 2600 last 2599\n", 0, 0},
		{"--front", "2600", "first 2600 last 2599\n", 0, 0},
	} {
		if said := mustTool(t, "", "truncate", c.flag, c.n, dir); said != c.said {
			t.Errorf("truncate %s %s says %q, want %q", c.flag, c.n, said, c.said)
		}
		if got := mustTool(t, "", "cat", dir); got != numbered(c.first, c.count) {
			t.Errorf("after truncate %s %s, cat prints %d bytes", c.flag, c.n, len(got))
		}
		mustTool(t, "", "verify", dir)
	}
	said := mustTool(t, numbered(2600, 3), "append", dir)
	if said != "appended 3 first 2600 last 2602\n" {
		t.Errorf("append after truncate says %q", said)
	}
}

func TestTruncateAll(t *testing.T) {
	dir := newJournal(t, 10)
	if said := mustTool(t, "", "truncate", "--back", "0", dir); said != "first 1 last 0\n" {
		t.Errorf("truncate --back 0 says %q", said)
	}
}

func TestTruncateRefuses(t *testing.T) {
	dir := newJournal(t, 10)
	mustTool(t, "", "truncate", "--front", "3", dir)
	before := mustTool(t, "", "cat", dir)
	const have = "there are 3 to 10"
	wantCode(t, exitOther, have, "truncate", "--front", "0", dir)
	wantCode(t, exitOther, have, "truncate", "--front", "2", dir)
	wantCode(t, exitOther, have, "truncate", "--front", "12", dir)
	wantCode(t, exitOther, have, "truncate", "--back", "1", dir)
	wantCode(t, exitOther, have, "truncate", "--back", "11", dir)
	if got := mustTool(t, "", "cat", dir); got != before {
		t.Errorf("a refused truncation changed the journal: %q", got)
	}
	missing := filepath.Join(t.TempDir(), "nothing")
	wantCode(t, exitOther, "no journal here", "truncate", "--front", "1", missing)
}
