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
)

const root = "../../.."

// short is how many of the bugs go test runs, every day the next ones; make torture runs all.
const short = 10

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
	c := torture.Start(t, "seeded bugs", short)
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
		if out, err := ts.fail(ctx, overlay); err != nil {
			return out, fmt.Errorf("%s, %s: %w", ts.pkg, ts.run, err)
		}
	}
	return "", nil
}

// fail returns an error, and what the tests said, if they do not fail with an overlay.
func (ts tests) fail(ctx context.Context, overlay string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-failfast",
		"-timeout=100s", "-overlay="+overlay, "-run="+ts.run, ts.pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MMJOURNAL_MODEL_STATES=200000", "MMJOURNAL_RUNS=",
		"MMJOURNAL_PROGRESS=", "MMJOURNAL_TIME=", "MMJOURNAL_SEED=")
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case err == nil:
		return tail(text), errors.New("the tests pass with it")
	case strings.Contains(text, "--- FAIL"), strings.Contains(text, "\npanic: "),
		strings.Contains(text, "\nfatal error: "), strings.Contains(text, "unexpected fault"):
		return "", nil
	default:
		return tail(text), err
	}
}

func tail(s string) string { return s[max(0, len(s)-1500):] }
