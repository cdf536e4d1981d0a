// Command drive runs the long tests of the project for a given time and prints one table: what was
// done to the journal, how often, and how often it broke a promise. It fails if it ever did.
//
//	go run ./internal/testutil/torture/drive -time 2h
//
// Every fault gets its share of the time, and ends early at its long count. What one leaves goes to
// those after it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	total := flag.Duration("time", 2*time.Hour, "how long in all, compilation not counted")
	only := flag.String("only", "", "only the faults whose name matches this regular expression")
	list := flag.Bool("list", false, "list the faults, and run none")
	out := flag.String("o", "", "write the table to this file, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := drive(ctx, *total, *only, *list, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func drive(ctx context.Context, total time.Duration, only string, list bool, out string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var todo []fault
	weights := 0
	for _, f := range faults {
		if pattern.MatchString(f.name) {
			todo = append(todo, f)
			weights += f.weight
		}
	}
	if list {
		for _, f := range todo {
			fmt.Printf("%-60s %11d runs, %s %s\n", f.name, f.long, f.pkg, f.run)
		}
		return nil
	}
	var results []result
	end := time.Now().Add(total)
	for _, f := range todo {
		if ctx.Err() != nil {
			break
		}
		share := time.Until(end) * time.Duration(f.weight) / time.Duration(weights)
		weights -= f.weight
		results = append(results, run(ctx, f, max(share, time.Second), end))
	}
	text := table(results)
	fmt.Print(text)
	if out != "" {
		if err := os.WriteFile(out, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return verdict(results, len(todo))
}

// verdict is an error if anything was violated, did not run, or did not end.
func verdict(results []result, want int) error {
	bad := want - len(results)
	for _, r := range results {
		if r.bad() {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d faults with violations, or not run to their end", bad, want)
	}
	return nil
}

// table returns the results in Markdown.
func table(results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s, %s, %d cores\n\n", time.Now().UTC().Format("2006-01-02"), kernel(),
		runtime.Version(), runtime.GOARCH, runtime.NumCPU())
	b.WriteString("| fault | runs | of the long count | violations | seed of the first | time | |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|---|\n")
	for _, r := range results {
		seed := ""
		if r.progress.Violations > 0 {
			seed = fmt.Sprint(r.progress.Seed)
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f %% | %d | %s | %s | %s |\n",
			r.fault.name, thousands(r.progress.Runs),
			100*float64(r.progress.Runs)/float64(r.fault.long), r.progress.Violations, seed,
			r.took.Round(time.Second), r.remark())
	}
	return b.String()
}

var version = regexp.MustCompile(`^(\w+) version (\d+\.\d+)`)

// kernel returns the name and version of the system, if it says so.
func kernel() string {
	f, err := os.Open("/proc/version")
	if err != nil {
		return runtime.GOOS
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Scan()
	if m := version.FindStringSubmatch(s.Text()); m != nil {
		return m[1] + " " + m[2]
	}
	return runtime.GOOS
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
