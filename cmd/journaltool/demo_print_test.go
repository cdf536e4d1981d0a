package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// demoOn runs the demo with a corpus whose digits reach seven, as those of a large one do.
func demoOn(t *testing.T, terminal bool) string {
	t.Helper()
	t.Setenv(asTool, "1")
	t.Setenv("TMPDIR", t.TempDir())
	corpus := filepath.Join(t.TempDir(), "corpus")
	writeFile(t, filepath.Join(corpus, "a.go"), strings.Repeat("line\n", 300_000))
	var out, errs bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &errs)
	a.terminal = func(w io.Writer) bool { return terminal && w == &out }
	if code := a.run(t.Context(), []string{"demo", "--corpus", corpus}); code != exitIntact {
		t.Fatalf("exit code %d, %s\n%s", code, errs.String(), out.String())
	}
	return out.String()
}

var (
	colorPattern = regexp.MustCompile("\x1b\\[[0-9]+m")
	pathPattern  = regexp.MustCompile(` /\S+`) // how long one is is not the demo's choice
)

// checkLines checks that the output fits the terminal, and returns it as a terminal shows it in the
// end.
func checkLines(t *testing.T, out string) string {
	t.Helper()
	var shown strings.Builder
	for line := range strings.Lines(colorPattern.ReplaceAllString(out, "")) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\r")
		for _, part := range parts {
			if n := columns(pathPattern.ReplaceAllString(part, " /tmp/path")); n > demoWidth {
				t.Errorf("%d columns: %q", n, part)
			}
		}
		shown.WriteString(parts[len(parts)-1] + "\n")
	}
	return shown.String()
}

func TestDemoFitsATerminal(t *testing.T) {
	t.Run("no terminal", func(t *testing.T) {
		t.Setenv("TERM", "xterm")
		out := demoOn(t, false)
		checkLines(t, out)
		if bad := controls(out); bad != "" {
			t.Errorf("control characters %s", bad)
		}
	})
	for _, c := range []struct {
		name, term, noColor string
		colors, moves       bool
	}{
		{"terminal", "xterm", "", true, true},
		{"without color", "xterm", "1", false, true},
		{"dumb", "dumb", "", false, false},
		{"unknown", "", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColor)
			out := demoOn(t, true)
			if got := strings.Contains(out, "\x1b"); got != c.colors {
				t.Errorf("colors: %t", got)
			}
			if got := strings.Contains(out, "\r"); got != c.moves {
				t.Errorf("progress: %t", got)
			}
			if shown := checkLines(t, out); strings.Contains(shown, "%") {
				t.Errorf("progress is left over:\n%s", shown)
			}
		})
	}
}

// TestDemoNeverTakesBack: what is called durable or acknowledged never gets less, and sizes and
// counts have one format.
func TestDemoNeverTakesBack(t *testing.T) {
	t.Setenv("TERM", "xterm")
	out := colorPattern.ReplaceAllString(demoOn(t, true), "")
	claims := regexp.MustCompile(
		`([0-9,]+) (?:records durable|records as durable|records, which\s+are durable)`).
		FindAllStringSubmatch(strings.Join(strings.Fields(out), " "), -1)
	if len(claims) < 2 {
		t.Errorf("claims: %q\n%s", claims, out)
	}
	last := 0
	for _, c := range claims {
		n, err := strconv.Atoi(strings.ReplaceAll(c[1], ",", ""))
		if err != nil || n < last {
			t.Errorf("%v: %q after %d", err, c[0], last)
		}
		last = n
	}
	if strings.Contains(out, "durable to") || regexp.MustCompile(` [KMG]B\b`).MatchString(out) {
		t.Errorf("another way to say it:\n%s", out)
	}
	for _, n := range regexp.MustCompile(`[0-9,.]+`).FindAllString(
		regexp.MustCompile(`/\S*|process [0-9]+|[0-9a-f]{64}`).ReplaceAllString(out, ""), -1) {
		if regexp.MustCompile(`[0-9]{4}`).MatchString(n) {
			t.Errorf("%s has no commas", n)
		}
	}
}

// TestDemoWithoutReader: a reader of the output that goes away ends the demo, and is no error.
func TestDemoWithoutReader(t *testing.T) {
	corpus, _ := smallCorpus(t)
	t.Setenv(asTool, "1")
	for _, args := range [][]string{{}, {"-o", "json"}} {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := toolCommand(t, append([]string{"demo", "--corpus", corpus}, args...)...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		r.Close()
		err = cmd.Run()
		w.Close()
		if err != nil || errs.Len() > 0 {
			t.Errorf("demo %q: %v, %s", args, err, errs.String())
		}
		wantEmpty(t, temp)
	}
}

func TestDemoWriteFails(t *testing.T) {
	corpus, _ := smallCorpus(t)
	t.Setenv(asTool, "1")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var errs bytes.Buffer
	args := []string{"demo", "--corpus", corpus}
	code := run(context.Background(), args, strings.NewReader(""), fullWriter{}, &errs)
	if code != exitOther || !strings.Contains(errs.String(), "no room") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	wantEmpty(t, temp)
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errNoRoom }

var errNoRoom = errors.New("no room")

func TestWrap(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""}, {"short", "short"}, {"exactly 10", "exactly 10"},
		{"one two three four", "one two|three four"}, {"  a bb ccc dddd", "  a bb ccc|  dddd"},
		{"averylongword b", "averylongword|b"}, {"a averylongword b", "a|averylongword|b"},
		{"äöü äöü äöü", "äöü äöü|äöü"}, {"\x1b[32mab\x1b[0m cd efg hi", "\x1b[32mab\x1b[0m cd efg|hi"},
		{"a\nb", "a|b"}, {"a\n", "a|"},
	} {
		if got := strings.Join(wrap(c.text, 10), "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// TestSegmentsOfTheDemoFit has many segments, with the longest texts that they can have.
func TestSegmentsOfTheDemoFit(t *testing.T) {
	var out bytes.Buffer
	d := &demo{app: newApp(nil, &out, &out)}
	var all []recovery.Segment
	for i := range 40 {
		all = append(all, recovery.Segment{
			Ordinal: uint64(100 + i), State: recovery.Sealed, Records: 1,
			First: segment.Seq(12_345_678 + i), Last: segment.Seq(12_345_678 + i),
			Used: 1023<<10 + 900, Size: 1<<20 + int64(i%2)*(15<<20+512<<10),
		})
	}
	d.saySegments(all)
	text := checkLines(t, out.String())
	if n := strings.Count(text, "\n"); n != 13 || !strings.Contains(text, "and 28 smaller ones") {
		t.Errorf("%d lines:\n%s", n, text)
	}
}
