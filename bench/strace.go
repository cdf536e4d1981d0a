package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// verifyLoads are what -verify runs under strace.
var verifyLoads = []struct {
	name string
	can  caps
	load load
}{
	{"unsynced", canAppend, load{goroutines: 1, size: 128, most: 50}},
	{"durable", canDurable, load{goroutines: 1, size: 128, most: 50}},
	{"batch", canBatch, load{goroutines: 1, size: 128, batch: 100, most: 20}},
	{"durable × 64", canDurable, load{goroutines: 64, size: 128, most: 640}},
}

// Looking for these files marks the beginning and the end of what counts.
const (
	markBegin = "mmjournal-bench-begin"
	markEnd   = "mmjournal-bench-end"
)

// verify is the child's part: some appends between two marks.
func (t *task) verify(impl *Impl) (metrics, error) {
	for _, v := range verifyLoads {
		if v.name != t.Load {
			continue
		}
		l, err := impl.start(t.Dir, t.Options, v.load.goroutines)
		if err != nil {
			return nil, err
		}
		if err := v.load.appender(l, 0)(); err != nil {
			return nil, err
		}
		time.Sleep(300 * time.Millisecond) // files that are prepared in the background
		v.load.chunk = 1
		os.Stat(markBegin)
		m, err := drive(l, v.load)
		os.Stat(markEnd)
		return m, err
	}
	return nil, fmt.Errorf("no load %q", t.Load)
}

// runVerify counts the sync calls of every implementation with strace. It reports whether all of
// them do what their rows say.
func runVerify(cfg *config, out io.Writer) (ok bool, err error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "| implementation | load | appends | sync calls | a call in | |\n"+
		"|---|---|---:|---|---:|---|\n")
	ok = true
	for _, v := range verifyLoads {
		for _, impl := range withCaps(v.can) {
			if !cfg.wants("verify", v.name, impl.Name) || impl == diskGroupLimitImpl &&
				v.load.goroutines == 1 {
				continue
			}
			calls, m, err := strace(cfg, impl, v.name)
			if err != nil {
				return false, err
			}
			total := 0
			for _, n := range calls {
				total += n
			}
			verdict := "ok"
			if good := judge(v.name, total, int(m["ops"]), v.load.goroutines); !good {
				ok, verdict = false, "**wrong**"
			}
			fmt.Fprintf(out, "| %s | %s | %.0f | %s | %s | %s |\n", impl.Name, v.name, m["ops"],
				callNames(calls), perCall(m["ops"], total), verdict)
		}
	}
	return ok, nil
}

// judge says whether so many sync calls are right: none without durability, else one at least for
// as many appends as there are goroutines, since each waits for its own.
func judge(load string, calls, ops, goroutines int) bool {
	if load == "unsynced" {
		return calls == 0
	}
	return calls*goroutines >= ops
}

func perCall(ops float64, calls int) string {
	if calls == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", ops/float64(calls))
}

func callNames(calls map[string]int) string {
	var names []string
	for _, name := range []string{"fdatasync", "fsync", "msync", "sync_file_range", "syncfs"} {
		if n := calls[name]; n > 0 {
			names = append(names, fmt.Sprintf("%d %s", n, name))
		}
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// strace runs a load in a child and counts the sync calls between the marks.
func strace(cfg *config, impl *Impl, load string) (map[string]int, metrics, error) {
	dir, err := os.MkdirTemp(cfg.dir, "verify-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	t := task{
		Kind: "verify", Impl: impl.Name, Dir: filepath.Join(dir, "log"), Load: load,
		Options: OpenOptions{Segment: cfg.segment, Durable: load != "unsynced"},
	}
	trace := filepath.Join(dir, "trace")
	m, err := t.start("strace", "-f", "-qq", "-o", trace, "-e",
		"trace=fsync,fdatasync,msync,sync_file_range,syncfs,newfstatat,stat", "--")
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(trace)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	calls, err := countCalls(f)
	return calls, m, err
}

var syncCall = regexp.MustCompile(`^\d+ +(fsync|fdatasync|msync|sync_file_range|syncfs)\(`)

func countCalls(trace io.Reader) (map[string]int, error) {
	calls := map[string]int{}
	counting, ended := false, false
	lines := bufio.NewScanner(trace)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, markBegin):
			counting = true
		case strings.Contains(line, markEnd):
			counting, ended = false, true
		case counting:
			if m := syncCall.FindStringSubmatch(line); m != nil {
				calls[m[1]]++
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !ended {
		return nil, fmt.Errorf("the trace has no marks")
	}
	return calls, nil
}
