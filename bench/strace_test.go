package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestVerify: every implementation makes the sync calls that its row says, and ours and the disk
// limit exactly one for each durable append.
func TestVerify(t *testing.T) {
	if err := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "true").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("strace does not work here, and CI is to have it: %v", err)
		}
		t.Skipf("strace does not work here: %v", err)
	}
	cfg := smoke()
	cfg.dir = t.TempDir()
	var table strings.Builder
	wrong, err := runVerify(&cfg, &table)
	if err != nil || len(wrong) > 0 {
		t.Errorf("%v, %v\n%s", wrong, err, table.String())
	}
	for _, impl := range []*Impl{oursImpl, diskLimitImpl} {
		want := "\n| " + impl.Name + " | durable | 50 | 50 fdatasync | 1.0 | ok |\n"
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
}

func TestJudgeCalls(t *testing.T) {
	for _, c := range []struct {
		load                   string
		calls, ops, goroutines int
		ok                     bool
	}{
		{"unsynced", 0, 50, 1, true},
		{"unsynced", 1, 50, 1, false},
		{"durable", 49, 50, 1, false},
		{"durable", 50, 50, 1, true},
		{"durable", 100 + rollCalls, 50, 1, true},
		{"durable", 101 + rollCalls, 50, 1, false},
		{"durable × 64", 9, 640, 64, false},
		{"durable × 64", 2000, 640, 64, true},
	} {
		if why := judgeCalls(c.load, c.calls, c.ops, c.goroutines); (why == "") != c.ok {
			t.Errorf("%v: %q", c, why)
		}
	}
}

func TestCountCalls(t *testing.T) {
	got, err := countCalls(strings.NewReader(`1 fsync(3) = 0
1 newfstatat(AT_FDCWD, "` + markBegin + `", 0x1, 0) = -1 ENOENT
2 fdatasync(3 <unfinished ...>
1 msync(0x1, 4096, MS_SYNC) = 0
2 <... fdatasync resumed>) = 0
1 newfstatat(AT_FDCWD, "` + markEnd + `", 0x1, 0) = -1 ENOENT
1 fdatasync(3) = 0
`))
	if err != nil || len(got) != 2 || got["fdatasync"] != 1 || got["msync"] != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for _, half := range []string{markBegin, markEnd, ""} {
		if _, err := countCalls(strings.NewReader(half)); err == nil {
			t.Errorf("%q: no error", half)
		}
	}
}
