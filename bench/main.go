// Command bench measures the journal against other logs and against the least code that does the
// job, in interleaved rounds of one run. README.md says how and what.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func main() {
	childMain()
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// flags are what the command line says.
type flags struct {
	cfg     config
	verify  bool
	out     string
	svg     string
	profile string
}

func parse(args []string, stderr io.Writer) (f flags, err error) {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	isShort := set.Bool("short", false, "a look, in at most five minutes")
	isFull := set.Bool("full", false, "for figures to publish: 10 GB of paced appends, long rounds")
	isSmoke := set.Bool("smoke", false, "everything once with hardly any data")
	set.BoolVar(&f.verify, "verify", false, "count sync calls with strace instead of measuring")
	only := set.String("only", "", "run what matches this `regexp`: work/cell/implementation")
	rounds := set.Int("rounds", 0, "rounds (default: the mode's)")
	latency := set.Int64("latency", 0, "`bytes` of paced appends (default: the mode's)")
	set.StringVar(&f.cfg.dir, "dir", ".", "where temporary files go: on the disk to measure")
	set.StringVar(&f.out, "o", "", "write the tables to this `file`, not to standard output")
	set.StringVar(&f.svg, "svg", "", "write bar charts to this `directory`")
	set.StringVar(&f.profile, "cpuprofile", "", "write a CPU profile to this `file`")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("%q: there are no arguments beside flags", set.Arg(0))
	}
	dir := f.cfg.dir
	switch {
	case *isSmoke:
		f.cfg = smoke()
	case *isShort:
		f.cfg = short()
	case *isFull:
		f.cfg = full()
	default:
		f.cfg = standard()
	}
	f.cfg.dir = dir
	if *rounds > 0 {
		f.cfg.rounds = *rounds
	}
	if *latency > 0 {
		f.cfg.latency = *latency
	}
	if *only != "" {
		f.cfg.only, err = regexp.Compile(*only)
	}
	return f, err
}

func run(args []string, stdout, stderr io.Writer) error {
	f, err := parse(args, stderr)
	if err != nil {
		return err
	}
	clean, err := f.cfg.prepareDir()
	if err != nil {
		return err
	}
	defer clean()
	if f.verify {
		wrong, err := runVerify(&f.cfg, stdout)
		if err == nil && len(wrong) > 0 {
			err = errors.New(strings.Join(wrong, "; "))
		}
		return err
	}
	where := machine(f.cfg.dir) + "; revision " + revision()
	stop, err := startProfile(f.profile)
	if err != nil {
		return err
	}
	defer stop()
	if inMemory(f.cfg.dir) {
		fmt.Fprintf(stderr, "bench: %s is in memory: the durable figures mean nothing; see -dir\n",
			f.cfg.dir)
	}
	r := newRunner(f.cfg, allCells(&f.cfg), stderr)
	r.run()
	if err := output(&f, r, where, stdout, stderr); err != nil {
		return err
	}
	if n := len(r.results.errors); n > 0 {
		return fmt.Errorf("%d runs failed", n)
	}
	return nil
}

// output writes the report and the charts. Those of a run in which something has failed go beside
// the files that were asked for, which stay as they are.
func output(f *flags, r *runner, where string, stdout, stderr io.Writer) error {
	text, out, svg := report(r, where), f.out, f.svg
	if len(r.results.errors) > 0 {
		out, svg = beside(out, stderr), beside(svg, stderr)
	}
	if svg != "" {
		if err := writeCharts(svg, r.results); err != nil {
			return err
		}
	}
	if out != "" {
		return os.WriteFile(out, []byte(text), 0o644)
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// beside returns where the output of a failed run goes instead of path, and says so.
func beside(path string, stderr io.Writer) string {
	if path == "" {
		return ""
	}
	path = filepath.Clean(path)
	fmt.Fprintf(stderr, "bench: runs failed: %s is left alone, see %s.failed\n", path, path)
	return path + ".failed"
}

// allCells are all cells, in the order in which they run.
func allCells(cfg *config) (cells []*cell) {
	for _, work := range []func(*config) []*cell{
		unsyncedCells, latencyCells, sustainedCells, durableCells, batchCells, sequentialCells,
		randomCells, reopenCells, unclaimedCells, spaceCells,
	} {
		cells = append(cells, work(cfg)...)
	}
	return cells
}

// prepareDir makes a directory for all temporary files, if there is enough room, and returns what
// removes it. A signal removes it too.
func (cfg *config) prepareDir() (clean func(), err error) {
	free, err := freeSpace(cfg.dir)
	if err != nil {
		return nil, err
	}
	if need := cfg.needs(); free < need {
		return nil, fmt.Errorf("%s has %d MiB free, and %d are needed", cfg.dir, free/mib, need/mib)
	}
	dir, err := os.MkdirTemp(cfg.dir, "mmjournal-bench-")
	if err != nil {
		return nil, err
	}
	cfg.dir = dir
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		fmt.Fprintln(os.Stderr, "\nbench:", s)
		for range 50 { // files may be created meanwhile
			if os.RemoveAll(dir) == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		os.Exit(1)
	}()
	return func() {
		signal.Stop(signals)
		os.RemoveAll(dir)
	}, nil
}

func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
