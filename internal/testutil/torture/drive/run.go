package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mmjournal/internal/testutil/torture"
)

// result is what became of a fault.
type result struct {
	fault    fault
	progress torture.Progress
	took     time.Duration
	skipped  string // why, if it was
	err      error  // the test failed, or was stopped
}

// bad reports whether the table has to be looked at: what did not run has shown nothing, and bugs
// that were not tried have not been seen.
func (r *result) bad() bool {
	return r.progress.Violations > 0 || r.err != nil || r.skipped != "" || r.progress.Runs == 0 ||
		r.fault.pkg == bugs && r.progress.Runs < r.fault.long
}

// remark is what the table says beside the figures.
func (r *result) remark() string {
	var words []string
	if r.skipped != "" {
		words = append(words, "skipped: "+r.skipped)
	}
	if r.err != nil {
		words = append(words, r.err.Error())
	}
	if r.progress.First != "" {
		line, _, _ := strings.Cut(r.progress.First, "\n")
		words = append(words, line)
	}
	words = append(words, r.progress.Note)
	return strings.ReplaceAll(strings.TrimSpace(strings.Join(words, " ")), "|", `\|`)
}

// grace is what a test may take beyond its share: for the run under way, and to compile.
const grace = 10 * time.Minute

// run runs a fault's test for its share of the time, and shows how far it is.
func run(ctx context.Context, f fault, share time.Duration, end time.Time) result {
	r := result{fault: f}
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		r.err = err
		return r
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "test.bin")
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, f.pkg)
	compile.Dir = f.dir
	if text, err := compile.CombinedOutput(); err != nil {
		r.err = fmt.Errorf("compile %s: %w: %s", f.pkg, err, text)
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, share+grace)
	defer cancel()
	progress := filepath.Join(dir, "progress")
	cmd := command(ctx, f, share, binary)
	cmd.Dir = filepath.Join(f.dir, f.pkg)
	cmd.Env = append(os.Environ(), "MMJOURNAL_TIME="+share.String(),
		"MMJOURNAL_RUNS="+strconv.FormatInt(f.long, 10), "MMJOURNAL_PROGRESS="+progress)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	for ended := false; !ended; {
		ended, r.err = watch(done, progress, &r.progress, f, start.Add(share), end)
	}
	if terminal {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	r.took = time.Since(start)
	r.read(output.String())
	if r.err != nil {
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n", f.name, output.Bytes())
	}
	return r
}

// command returns the command that runs the test, or the fuzz target.
func command(ctx context.Context, f fault, share time.Duration, binary string) *exec.Cmd {
	if !strings.HasPrefix(f.run, "Fuzz") {
		return exec.CommandContext(ctx, binary, "-test.v", "-test.run="+f.run, "-test.timeout=0")
	}
	return exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+f.run+"$",
		"-fuzztime="+share.String(), "-fuzzminimizetime=20x", ".")
}

// watch waits a while for the end of the test, and shows what its progress file says. It returns
// how the test ended, if it has.
func watch(
	done chan error, file string, p *torture.Progress, f fault, share, end time.Time,
) (ended bool, err error) {
	read := func() {
		if text, err := os.ReadFile(file); err == nil {
			_ = json.Unmarshal(text, p) // the file is replaced as a whole
		}
	}
	select {
	case err := <-done:
		read()
		return true, err
	case <-time.After(time.Second):
	}
	read()
	status("%s: %s of %s runs, %d violations; at most %s; all: %s", f.name, thousands(p.Runs),
		thousands(f.long), p.Violations, left(share), left(end))
	return false, nil
}

// terminal says whether somebody watches; told is when somebody who reads a file was told last.
var (
	terminal = func() bool {
		info, err := os.Stderr.Stat()
		return err == nil && info.Mode()&os.ModeCharDevice != 0
	}()
	told time.Time
)

// status shows a line that the next one replaces; in a file, one every minute.
func status(format string, args ...any) {
	switch {
	case terminal:
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	case time.Since(told) > time.Minute:
		told = time.Now()
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func left(t time.Time) time.Duration { return max(0, time.Until(t)).Round(time.Second) }

var (
	skipped = regexp.MustCompile(`(?m)^ +[^ ]+\.go:\d+: (.*)\n(?:[^\n]*\n)*? *--- SKIP`)
	execs   = regexp.MustCompile(`execs: (\d+)`)
)

// late is all that a fuzz target says which has found nothing, but was at work when its time was
// over (golang.org/issue/75804; Go 1.27 has it mended).
var late = regexp.MustCompile(`--- FAIL: Fuzz\w+ \([0-9.]+s\)\n +context deadline exceeded\nFAIL\n`)

// read takes from the test's output what the progress file cannot say.
func (r *result) read(output string) {
	if strings.HasPrefix(r.fault.run, "Fuzz") && late.MatchString(output) {
		r.err = nil
	}
	if m := skipped.FindStringSubmatch(output); m != nil || strings.Contains(output, "--- SKIP") {
		r.skipped = "see the test"
		if m != nil {
			r.skipped = m[1]
		}
	}
	if strings.Contains(output, "testing: warning: no tests to run") {
		r.err = fmt.Errorf("no test matches %s", r.fault.run)
	}
	if all := execs.FindAllStringSubmatch(output, -1); len(all) > 0 {
		r.progress.Runs, _ = strconv.ParseInt(all[len(all)-1][1], 10, 64)
		if r.err != nil {
			r.progress.Violations = 1
		}
	}
}
