package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// smallCorpus returns a directory of Go files, and the SHA-256 of its lines in order.
func smallCorpus(t *testing.T) (dir, sum string) {
	t.Helper()
	dir = t.TempDir()
	var long strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&long, "line %d %s\r\n", i, strings.Repeat("x", i%200))
	}
	files := []struct{ name, text string }{ // in the order of their paths, not of a walk
		{"a-b/one.go", long.String()},
		{"a.go", "\n\nno newline at the end"},
		{"a/empty.go", ""},
		{"a/wide.go", strings.Repeat("w", 300_000) + "\n\n"},
	}
	h := sha256.New()
	for _, f := range files {
		writeFile(t, filepath.Join(dir, f.name), f.text)
		h.Write([]byte(f.text))
		if f.text != "" && !strings.HasSuffix(f.text, "\n") {
			h.Write([]byte("\n"))
		}
	}
	writeFile(t, filepath.Join(dir, "a", "README"), "not Go\n")
	return dir, hex.EncodeToString(h.Sum(nil))
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runDemo runs the demo with its temporary directories in temp; its processes are this test binary.
func runDemo(t *testing.T, args ...string) (code int, stdout, stderr, temp string) {
	t.Helper()
	t.Setenv(asTool, "1")
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, errs bytes.Buffer
	args = append([]string{"demo"}, args...)
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String(), temp
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind in the temporary directory: %v %v", entries, err)
	}
}

func TestDemoTellsThatEverythingIsThere(t *testing.T) {
	corpus, sum := smallCorpus(t)
	code, out, errs, temp := runDemo(t, "--corpus", corpus)
	if code != exitIntact || errs != "" {
		t.Fatalf("exit code %d, %s\n%s", code, errs, out)
	}
	for _, want := range []string{
		"4 files, 3,005 lines", "SIGKILL after", "acknowledged records\n",
		"every byte of the journal checked: intact, end: clean", "cut", "and of the records:",
		sum,
		"Everything is there: 3,005 lines", "journaltool --help",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	wantEmpty(t, temp)
}

func TestDemoKeepsTheNamedDirectoryAndPrintsJSON(t *testing.T) {
	corpus, sum := smallCorpus(t)
	dir := filepath.Join(t.TempDir(), "new")
	code, out, errs, temp := runDemo(t, "-o", "json", "--corpus", corpus, dir)
	if code != exitIntact {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	var a account
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Error("there is more than one document")
	}
	if !a.OK || !a.Kept || a.Verified.SHA256 != sum || a.Corpus.SHA256 != sum {
		t.Errorf("not ok, or digests differ from %s:\n%s", sum, out)
	}
	checkStory(t, &a)
	wantEmpty(t, temp)
	r, err := recovery.Inspect(dir, true)
	if err != nil || r.Verdict != recovery.Intact || r.Records != a.Corpus.Lines {
		t.Errorf("the kept journal: %v %v", r, err)
	}
}

// checkStory checks that the numbers of the account fit together.
func checkStory(t *testing.T, a *account) {
	t.Helper()
	lines, found := a.Corpus.Lines, uint64(a.Recovered.Report.Last)
	if k := a.Killed.Acknowledged; k < lines/2 || found < k || found > lines*3/4 {
		t.Errorf("of %d lines, acknowledged %d, found %d", lines, k, found)
	}
	if a.Recovered.Beyond != found-a.Killed.Acknowledged || a.Recovered.Lost != 0 {
		t.Errorf("beyond %d, lost %d", a.Recovered.Beyond, a.Recovered.Lost)
	}
	if a.Resumed.From != found+1 || a.Resumed.Appended != lines-found {
		t.Errorf("resumed from %d with %d lines", a.Resumed.From, a.Resumed.Appended)
	}
	if a.Recovered.Report.End == recovery.EndClean || a.Verified.Report.End != recovery.EndClean {
		t.Errorf("ends: %s, then %s", a.Recovered.Report.End, a.Verified.Report.End)
	}
	if a.Recovered.PID == a.Killed.PID || a.Killed.PID == os.Getpid() {
		t.Errorf("processes %d and %d of %d", a.Killed.PID, a.Recovered.PID, os.Getpid())
	}
}

func TestDemoWithFewLines(t *testing.T) {
	for _, n := range []int{3, 4, 5, 18, 33} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "few.go"), strings.Repeat("line\n", n))
		code, out, errs, temp := runDemo(t, "--corpus", dir)
		want := exitIntact
		if n < 4 {
			want = exitOther
		}
		if code != want {
			t.Errorf("%d lines: exit code %d, %s\n%s", n, code, errs, out)
		}
		wantEmpty(t, temp)
	}
}

func TestDemoRefusals(t *testing.T) {
	full := t.TempDir()
	writeFile(t, filepath.Join(full, "something"), "")
	empty := t.TempDir()
	for _, c := range []struct {
		code int
		text string
		args []string
	}{
		{exitOther, "is not empty", []string{full}},
		{exitOther, "something", []string{filepath.Join(full, "something")}},
		{exitOther, "no .go files", []string{"--corpus", empty}},
		{exitUsage, "at most one directory", []string{"a", "b"}},
		{exitUsage, "no-such-flag", []string{"--no-such-flag"}},
		{exitUsage, "-o xml", []string{"-o", "xml"}},
		{exitUsage, "--sync-every", []string{demoWriterName, "--sync-every=0", empty}},
	} {
		code, _, errs, temp := runDemo(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("%q: exit code %d, %s", c.args, code, errs)
		}
		wantEmpty(t, temp)
	}
}

func TestDemoHelpShowsNoHiddenThings(t *testing.T) {
	code, out, _, _ := runDemo(t, "--help")
	if code != exitIntact || !strings.Contains(out, "Examples:") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if strings.Contains(out, demoWriterName) || strings.Contains(out, "--corpus") {
		t.Errorf("hidden things are shown:\n%s", out)
	}
}

// cancelAt cancels a context when a text is written to it.
type cancelAt struct {
	text   string
	cancel context.CancelFunc
	bytes.Buffer
}

func (c *cancelAt) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if strings.Contains(c.String(), c.text) {
		c.cancel()
	}
	return n, err
}

func TestDemoInterruptedLeavesNothing(t *testing.T) {
	corpus, _ := smallCorpus(t)
	for _, at := range []string{"Data", "Write", "Kill", "Recover", "Resume", "Verify"} {
		t.Run(at, func(t *testing.T) {
			t.Setenv(asTool, "1")
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &cancelAt{text: "\n" + at, cancel: cancel}
			var errs bytes.Buffer
			code := run(ctx, []string{"demo", "--corpus", corpus}, strings.NewReader(""), out, &errs)
			if code != exitOther || errs.String() != "journaltool: interrupted\n" {
				t.Errorf("exit code %d, %s\n%s", code, errs.String(), out.String())
			}
			wantEmpty(t, temp)
		})
	}
}

// A writer that ends by itself is not one that was killed: the demo says why it ended.
func TestDemoOfAWriterThatFails(t *testing.T) {
	t.Setenv(asTool, "1")
	corpus, _ := smallCorpus(t)
	d := &demo{app: newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})}
	d.Corpus.Lines = 3005
	d.writer = demoWriter{dir: t.TempDir(), corpus: corpus, syncEvery: 100}
	writeFile(t, filepath.Join(d.writer.dir, "something"), "")
	for _, step := range []func(context.Context) error{d.writeAndKill, d.recoverAndResume} {
		err := step(t.Context())
		if exitCode(err) != exitOther || !strings.Contains(err.Error(), "do not belong to a journal") {
			t.Errorf("%v", err)
		}
	}
}

// A journal that is corrupt when the second process opens it is a loss.
func TestDemoOfACorruptJournal(t *testing.T) {
	t.Setenv(asTool, "1")
	corpus, _ := smallCorpus(t)
	dir := filepath.Join(t.TempDir(), "journal")
	if code, _, errs, _ := runDemo(t, "--corpus", corpus, dir); code != exitIntact {
		t.Fatal(errs)
	}
	if err := os.Remove(filepath.Join(dir, "0000000000000002.seg")); err != nil {
		t.Fatal(err)
	}
	d := &demo{app: newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})}
	d.writer = demoWriter{dir: dir, corpus: corpus, syncEvery: 100}
	err := d.recoverAndResume(t.Context())
	if exitCode(err) != exitCorrupt || !strings.HasPrefix(err.Error(), "LOST") {
		t.Errorf("%v", err)
	}
}

// A demo that lost something says so, and ends with the exit code of corruption.
func TestDemoOfALoss(t *testing.T) {
	newDemo := func() (*demo, *bytes.Buffer) {
		var out bytes.Buffer
		return &demo{app: newApp(nil, &out, &out)}, &out
	}
	t.Run("acknowledged records", func(t *testing.T) {
		d, _ := newDemo()
		d.Killed.Acknowledged = 1500
		err := d.recovered(&demoOpened{Report: &recovery.Report{Last: 1498}})
		want := "LOST 2 records: records 1,499 to 1,500 had been acknowledged as durable"
		if exitCode(err) != exitCorrupt || err.Error() != want {
			t.Errorf("%v", err)
		}
	})
	t.Run("other bytes", func(t *testing.T) {
		d, out := newDemo()
		d.Directory = t.TempDir()
		j, err := journal.Open(d.Directory, &journal.Options{SegmentSize: journal.MinSegmentSize})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append([]byte("a line")); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		d.Corpus.Lines = 1
		if err := d.verify(t.Context()); exitCode(err) != exitCorrupt {
			t.Errorf("other bytes: %v\n%s", err, out)
		}
		d.Corpus.Lines = 2
		if err := d.verify(t.Context()); exitCode(err) != exitCorrupt {
			t.Errorf("too few: %v\n%s", err, out)
		}
	})
}

func TestGeneratedCorpusIsTheSameEveryTime(t *testing.T) {
	var sums [2]string
	for i := range sums {
		s := newLineSum()
		c := generatedCorpus()
		c.files = c.files[:20]
		for line, err := range c.lines(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			s.add(line)
		}
		if s.lines != 40_000 {
			t.Errorf("%d lines", s.lines)
		}
		sums[i] = s.sha256()
	}
	if sums[0] != sums[1] {
		t.Errorf("%s, then %s", sums[0], sums[1])
	}
}
