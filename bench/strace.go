package main

import (
	"bufio"
	"cmp"
	"errors"
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

// runVerify counts the sync calls of every implementation with strace. It returns the rows that do
// not do what they say.
func runVerify(cfg *config, out io.Writer) (wrong []string, err error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "| implementation | load | appends | sync calls | a call in | |\n"+
		"|---|---|---:|---|---:|---|\n")
	for _, v := range verifyLoads {
		for _, impl := range withCaps(v.can) {
			if !cfg.wants("verify", v.name, impl.Name) || impl == diskGroupLimitImpl &&
				v.load.goroutines == 1 {
				continue
			}
			calls, m, err := strace(cfg, impl, v.name)
			if err != nil {
				return wrong, err
			}
			total := 0
			for _, n := range calls {
				total += n
			}
			verdict := "ok"
			if why := judgeCalls(v.name, total, int(m["ops"]), v.load.goroutines); why != "" {
				verdict = "**" + why + "**"
				wrong = append(wrong, fmt.Sprintf("%s, %s: %s", impl.Name, v.name, why))
			}
			fmt.Fprintf(out, "| %s | %s | %.0f | %s | %s | %s |\n", impl.Name, v.name, m["ops"],
				callNames(calls), perCall(m["ops"], total), verdict)
		}
	}
	return wrong, nil
}

// rollCalls is how many sync calls may be those of a roll or of a file that is prepared.
const rollCalls = 8

// judgeCalls says what is wrong with so many sync calls, or "": without durability there are none,
// else there is one at least for as many appends as there are goroutines, since each waits for its
// own. One goroutine's appends take two at most: who needs more pays for what nobody asked for.
func judgeCalls(load string, calls, ops, goroutines int) string {
	switch {
	case load == "unsynced" && calls > 0:
		return "syncs without being asked to"
	case load == "unsynced":
		return ""
	case calls*goroutines < ops:
		return "too few sync calls to be durable"
	case goroutines == 1 && calls > 2*ops+rollCalls:
		return "more than two sync calls for each append"
	}
	return ""
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
	begun, ended := false, false
	lines := bufio.NewScanner(trace)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, markBegin):
			begun = true
		case strings.Contains(line, markEnd):
			ended = begun
		case begun && !ended:
			if m := syncCall.FindStringSubmatch(line); m != nil {
				calls[m[1]]++
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !ended {
		return nil, errors.New("the trace does not have both marks: what lies between is not known")
	}
	return calls, nil
}
