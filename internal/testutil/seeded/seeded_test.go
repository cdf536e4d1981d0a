package seeded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmjournal/internal/testutil/seeded"
	"mmjournal/internal/testutil/torture"
	"mmjournal/internal/testutil/wait"
)

const root = "../../.."

// short and long are how many of the bugs make test and make test-long run, every day the next
// ones; make torture runs all.
const short, long = 2, 10

// TestBugsApply: each bug is a change of today's source.
func TestBugsApply(t *testing.T) {
	names := map[string]bool{}
	for _, b := range bugs {
		if _, err := b.source(); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if names[b.name] || b.cost == "" || b.pkg == "" || b.run == "" || b.old == b.new {
			t.Errorf("%s: named twice, or not complete", b.name)
		}
		names[b.name] = true
	}
	if len(bugs) != seeded.Bugs {
		t.Errorf("%d bugs; Bugs is %d", len(bugs), seeded.Bugs)
	}
}

// TestSeededBugs: the tests notice every bug.
func TestSeededBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each bug compiles the library and its tests anew")
	}
	c := torture.Start(t, "seeded bugs", torture.Count(0, short, long))
	first := time.Now().Unix() / (24 * 3600) * c.Of() // every day others
	if os.Getenv("MMJOURNAL_SEED") != "" {
		first = 0
	}
	for c.Next() {
		b := bugs[(first+int64(c.Seed())-1)%seeded.Bugs]
		start := time.Now()
		if out, err := b.caught(t.Context(), t.TempDir()); err != nil {
			c.Violation("%q (%s): %v\n%s", b.name, b.cost, err, out)
		}
		t.Logf("%q: %.1f s", b.name, time.Since(start).Seconds())
	}
	c.Note("%d bugs known", len(bugs))
}

// source returns the file with the bug in it.
func (b *bug) source() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, b.file))
	if err != nil {
		return nil, err
	}
	for _, e := range append([]edit{{b.old, b.new}}, b.more...) {
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			return nil, fmt.Errorf("%s has %q %d times", b.file, e.old, n)
		}
		text = bytes.Replace(text, []byte(e.old), []byte(e.new), 1)
	}
	return text, nil
}

// caught returns an error, and what the tests said, if the tests pass with the bug, or do not even
// compile.
func (b *bug) caught(ctx context.Context, dir string) (string, error) {
	text, err := b.source()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlaid.go")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(filepath.Join(root, b.file))
	if err != nil {
		return "", err
	}
	table, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: file}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, table, 0o600); err != nil {
		return "", err
	}
	for _, ts := range append([]tests{{b.pkg, b.run}}, b.also...) {
		if out, err := ts.fail(ctx, overlay, b.hangs); err != nil {
			return out, fmt.Errorf("%s, %s: %w", ts.pkg, ts.run, err)
		}
	}
	return "", nil
}

// fail returns an error, and what the tests said, if they do not fail with an overlay. With a bug
// that hangs, they fail by their limit on time. Any other one gets more time then: the machine may
// be busy.
func (ts tests) fail(ctx context.Context, overlay string, hangs bool) (string, error) {
	const hung, soon, late = 45 * time.Second, 100 * time.Second, 30 * time.Minute
	if hangs {
		_, out, err := ts.once(ctx, overlay, hung)
		return out, err
	}
	timedOut, out, err := ts.once(ctx, overlay, soon)
	if timedOut {
		_, out, err = ts.once(ctx, overlay, late)
	}
	return out, err
}

func (ts tests) once(
	ctx context.Context, overlay string, limit time.Duration,
) (timedOut bool, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit+wait.Hung) // to compile takes time, too
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-failfast",
		"-timeout="+limit.String(), "-overlay="+overlay, "-run="+ts.run, ts.pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MMJOURNAL_LONG=1", "MMJOURNAL_MODEL_STATES=200000",
		"MMJOURNAL_RUNS=", "MMJOURNAL_PROGRESS=", "MMJOURNAL_TIME=", "MMJOURNAL_SEED=")
	out, err := cmd.CombinedOutput()
	text = string(out)
	switch {
	case err == nil:
		return false, tail(text), errors.New("the tests pass with it")
	case strings.Contains(text, "--- FAIL"), strings.Contains(text, "\npanic: "),
		strings.Contains(text, "\nfatal error: "), strings.Contains(text, "unexpected fault"):
		timedOut = strings.Contains(text, "panic: test timed out") ||
			strings.Contains(text, wait.Never)
		return timedOut, "", nil
	default:
		return false, tail(text), err
	}
}

func tail(s string) string { return s[max(0, len(s)-1500):] }
