package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

// name is a test, or with an empty test a package.
type name struct{ pkg, test string }

// summary reads the events of go test.
type summary struct {
	out     io.Writer
	all     bool // print everything that tests print
	output  map[name][]string
	skipped map[string][]string // by reason
	passed  int                 // tests, without their parts
	failed  int
}

func newSummary(out io.Writer, all bool) *summary {
	return &summary{
		out: out, all: all, output: map[name][]string{}, skipped: map[string][]string{},
	}
}

// line takes a line of the output. What is no event is printed as it is.
func (s *summary) line(line []byte) {
	var e event
	if len(line) == 0 {
		return
	}
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		s.print(string(line))
		return
	}
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.print(e.Output)
	case "output":
		if s.all {
			s.print(e.Output)
		}
		s.output[n] = append(s.output[n], e.Output)
	case "pass", "fail", "skip":
		s.ended(n, e.Action)
	}
}

// ended takes the end of a test or a package.
func (s *summary) ended(n name, how string) {
	top := n.test != "" && !strings.Contains(n.test, "/")
	switch {
	case n.test == "":
		s.packageEnd(n.pkg, how)
		return
	case how == "skip":
		why := reason(s.output[n])
		s.skipped[why] = append(s.skipped[why], n.pkg[strings.LastIndex(n.pkg, "/")+1:]+"."+n.test)
	case how == "fail":
		if top {
			s.failed++
		}
		s.failure(n)
	case top:
		s.passed++
	}
	delete(s.output, n)
}

// failure prints what a test has printed.
func (s *summary) failure(n name) {
	if s.all {
		return
	}
	for _, text := range s.output[n] {
		if !strings.HasPrefix(text, "=== ") {
			s.print(text)
		}
	}
}

// packageEnd prints the end of a package: its own output, after that of the tests in which it
// ended.
func (s *summary) packageEnd(pkg, how string) {
	var rest []name
	for n := range s.output {
		if n.pkg == pkg {
			rest = append(rest, n)
		}
	}
	slices.SortFunc(rest, func(a, b name) int { return -strings.Compare(a.test, b.test) })
	for _, n := range rest {
		if how == "fail" && n.test != "" {
			s.failure(n)
		}
		if n.test == "" && !s.all {
			for _, text := range s.output[n] {
				if how == "fail" || strings.HasPrefix(text, "ok ") {
					s.print(text)
				}
			}
		}
		delete(s.output, n)
	}
}

// position begins a line that a test has logged.
var position = regexp.MustCompile(`^\s+[^\s:]+\.go:[0-9]+: `)

// reason is the last thing that a skipped test has logged.
func reason(output []string) string {
	text := ""
	for _, line := range output {
		switch at := position.FindString(line); {
		case at != "":
			text = line[len(at):]
		case text != "" && strings.HasPrefix(line, "        "): // the next line of the same text
			text += " " + strings.TrimSpace(line)
		}
	}
	if text = strings.Join(strings.Fields(text), " "); text == "" {
		return "no reason given"
	}
	return text
}

// end prints what was skipped, and how many tests there were.
func (s *summary) end() {
	total := 0
	for _, why := range slices.Sorted(maps.Keys(s.skipped)) {
		tests := s.skipped[why]
		total += len(tests)
		const most = 3
		names := strings.Join(tests[:min(len(tests), most)], ", ")
		if len(tests) > most {
			names += fmt.Sprintf(" and %d more", len(tests)-most)
		}
		s.print(fmt.Sprintf("skipped: %s (%s)\n", why, names))
	}
	s.print(fmt.Sprintf("tests: %d passed, %d failed, %d skipped (with parts of tests)\n",
		s.passed, s.failed, total))
}

func (s *summary) print(text string) { _, _ = io.WriteString(s.out, text) }
