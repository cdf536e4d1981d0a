package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// childEnv holds a task, as JSON, for a process that another one has started.
const childEnv = "MMJOURNAL_BENCH_CHILD"

// task is what a child does.
type task struct {
	Kind    string // a key of tasks
	Impl    string
	Dir     string
	Options OpenOptions
	Size    int    // of records
	N       uint64 // records
	Load    string // of verify
}

var tasks = map[string]func(*task, *Impl) (metrics, error){
	"fill":    (*task).fill,
	"recover": (*task).recover,
	"space":   (*task).space,
	"verify":  (*task).verify,
}

// childMain does the task of the environment, if there is one, and does not return then.
func childMain() {
	raw := os.Getenv(childEnv)
	if raw == "" {
		return
	}
	var t task
	err := json.Unmarshal([]byte(raw), &t)
	impl, do := implByName(t.Impl), tasks[t.Kind]
	var m metrics
	switch {
	case err != nil:
	case impl == nil || do == nil:
		err = fmt.Errorf("no task %q for %q", t.Kind, t.Impl)
	default:
		m, err = do(&t, impl)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// command returns the command that does the task, run by the words of prefix.
func (t *task) command(prefix ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	words := append(prefix, self)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// start does the task in a child and waits for its metrics.
func (t *task) start(prefix ...string) (m metrics, err error) {
	cmd, err := t.command(prefix...)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", t.Impl, t.Kind, err)
	}
	return m, json.Unmarshal(out, &m)
}

// startAndKill does the task in a child and kills it as soon as it has reported.
func (t *task) startAndKill() (m metrics, err error) {
	cmd, err := t.command()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	err = json.NewDecoder(out).Decode(&m)
	if killErr := cmd.Process.Kill(); killErr != nil && err == nil {
		err = fmt.Errorf("%s %s: ended before it was killed", t.Impl, t.Kind)
	}
	var exit *exec.ExitError
	if waitErr := cmd.Wait(); !errors.As(waitErr, &exit) && err == nil {
		err = waitErr
	}
	return m, err
}

// fill appends batches of 1 MiB, reports, and waits to be killed.
func (t *task) fill(impl *Impl) (metrics, error) {
	l, err := impl.open(t.Dir, t.Options)
	if err != nil {
		return nil, err
	}
	ps := make([][]byte, max(1, min(mib, t.Options.Segment/8)/int64(t.Size)))
	for i := range ps {
		ps[i] = payload(uint64(i), t.Size)
	}
	n := uint64(0)
	for ; n < t.N; n += uint64(len(ps)) {
		if err := l.AppendBatch(ps); err != nil {
			return nil, err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(metrics{"records": float64(n)}); err != nil {
		return nil, err
	}
	time.Sleep(time.Minute)
	return nil, errors.New("nobody killed this process")
}

// recover opens what a killed process left, and takes the time.
func (t *task) recover(impl *Impl) (metrics, error) {
	begun := time.Now()
	n, err := impl.recover(t.Dir, t.Options)
	return metrics{"ns": float64(time.Since(begun)), "records": float64(n)}, err
}

// space appends n records, and says how much memory the process takes then.
func (t *task) space(impl *Impl) (metrics, error) {
	l, err := impl.open(t.Dir, t.Options)
	if err != nil {
		return nil, err
	}
	p := payload(1, t.Size)
	if !impl.can(oneByOne) && !impl.ours() {
		err = appendBatches(l, p, t.N, max(1, min(100, t.Options.Segment/8/int64(t.Size))))
	} else {
		for range t.N {
			if err = l.Append(p); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := metrics{
		"heap":    float64(mem.HeapInuse),
		"rssAnon": procBytes("RssAnon"),
		"rssFile": procBytes("RssFile"),
	}
	return m, l.Close()
}

// appendBatches appends p n times, in batches.
func appendBatches(l Log, p []byte, n uint64, batch int64) error {
	ps := make([][]byte, batch)
	for i := range ps {
		ps[i] = p
	}
	for n > 0 {
		k := min(n, uint64(len(ps)))
		if err := l.AppendBatch(ps[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// procBytes returns a line of /proc/self/status.
func procBytes(name string) float64 {
	kib, _, _ := strings.Cut(procLine("/proc/self/status", name), " ")
	n, _ := strconv.ParseFloat(kib, 64)
	return n * 1024
}
