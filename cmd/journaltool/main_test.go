package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// asTool makes the test binary run as the tool. An argument that is no flag does so too: tests that
// run the binary by mistake would run themselves, without end.
const asTool = "JOURNALTOOL_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	verb := len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-")
	if verb || os.Getenv(asTool) != "" {
		main()
	}
	os.Exit(m.Run())
}

// toolCommand returns a command that runs the tool in a process of its own.
func toolCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asTool+"=1")
	return cmd
}

// result is what a run of the tool left.
type result struct {
	code           int
	stdout, stderr string
}

// tool runs the tool in this process.
func tool(stdin string, args ...string) result {
	var out, errs bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// mustTool is tool where exit code 0 is expected; it returns the output.
func mustTool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := tool(stdin, args...)
	if r.code != exitIntact {
		t.Fatalf("journaltool %q: exit code %d\n%s", args, r.code, r.stderr)
	}
	return r.stdout
}

// wantCode runs the tool and checks its exit code and that stderr contains want.
func wantCode(t *testing.T, code int, want string, args ...string) result {
	t.Helper()
	r := tool("", args...)
	if r.code != code || !strings.Contains(r.stderr, want) {
		t.Errorf("journaltool %q: exit code %d, stderr %q; want %d and %q",
			args, r.code, r.stderr, code, want)
	}
	return r
}

// numbered returns n lines "record 1", "record 2", … that begin with number first.
func numbered(first, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "record %d\n", first+i)
	}
	return b.String()
}

// newJournal returns the directory of a journal with n numbered records, closed cleanly.
func newJournal(t *testing.T, n int, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	args := append([]string{"append", dir, "--segment-size", "64KiB"}, flags...)
	mustTool(t, numbered(1, n), args...)
	return dir
}

// abandoned returns a copy of a journal with n numbered records whose writer never closed it.
func abandoned(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	o := &journal.Options{SegmentSize: 64 << 10, Durability: journal.Published}
	j, err := journal.Open(filepath.Join(dir, "live"), o)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range n {
		if _, err := j.Append(fmt.Appendf(nil, "record %d", i+1)); err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			if err := j.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := filepath.Join(dir, "log")
	if err := os.CopyFS(log, os.DirFS(filepath.Join(dir, "live"))); err != nil {
		t.Fatal(err)
	}
	return log
}

// edit changes the bytes of a file.
func edit(t *testing.T, path string, change func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip damages the first occurrence of text in a segment of a journal.
func flip(t *testing.T, dir string, ordinal int, text string) {
	t.Helper()
	edit(t, segmentFile(dir, ordinal), func(b []byte) {
		i := bytes.Index(b, []byte(text))
		if i < 0 {
			t.Fatalf("%q is not in segment %d", text, ordinal)
		}
		b[i] ^= 1
	})
}

func segmentFile(dir string, ordinal int) string {
	return filepath.Join(dir, segment.FileName(uint64(ordinal)))
}

// transcript records what a user sees in a terminal.
type transcript struct {
	b   strings.Builder
	dir string
}

func (tr *transcript) run(stdin string, args ...string) {
	r := tool(stdin, args...)
	fmt.Fprintf(&tr.b, "$ journaltool %s\n%s", strings.Join(args, " "), r.stdout)
	for line := range strings.Lines(r.stderr) {
		tr.b.WriteString("stderr: " + line)
	}
	fmt.Fprintf(&tr.b, "exit code %d\n\n", r.code)
}

var (
	uuidPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	timePattern = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
)

// check compares the transcript, without what differs each time, with the golden file.
func (tr *transcript) check(t *testing.T, name string) {
	t.Helper()
	got := strings.ReplaceAll(tr.b.String(), tr.dir, "log")
	got = uuidPattern.ReplaceAllString(got, "UUID")
	got = timePattern.ReplaceAllString(got, "TIME")
	got = strings.ReplaceAll(got, fmt.Sprint("process ", os.Getpid()), "process PID")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test -update and read the diff. Got:\n%s", path, got)
	}
}

// TestVersion: --version says which source and which format.
func TestVersion(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"--version"}, strings.NewReader(""), &out, &errs)
	if code != exitIntact || errs.Len() > 0 || !strings.Contains(out.String(), "format version 1,") {
		t.Errorf("exit code %d\n%s%s", code, &out, &errs)
	}
}

func TestHelpHasExamples(t *testing.T) {
	verbs := []string{"append", "cat", "info", "segments", "verify", "truncate", "salvage"}
	for _, verb := range verbs {
		if out := mustTool(t, "", verb, "--help"); !strings.Contains(out, "Examples:\n  journaltool") {
			t.Errorf("%s --help has no example:\n%s", verb, out)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	dir := newJournal(t, 3)
	for _, args := range [][]string{
		{}, {"bogus"}, {"--bogus"}, {"help", "bogus"}, {"help", "cat", "bogus"},
		{"info"}, {"info", dir, dir}, {"info", "-o", "xml", dir},
		{"cat", dir, "--format", "xml"}, {"cat", dir, "-o", "json", "--format", "raw"},
		{"cat", dir, "--from", "0"}, {"cat", dir, "--to", "0"}, {"cat", dir, "--from", "-1"},
		{"cat", dir, "--from", "3", "--to", "2"}, {"cat", dir, "-n", "x"},
		{"truncate", dir}, {"truncate", dir, "--front", "1", "--back", "2"},
		{"truncate", dir, "--front", "x"},
		{"salvage", dir}, {"salvage", "--to", dir + ".out"},
		{"salvage", dir, "--to", dir + ".out", "--id", "x"},
		{"append", dir, "--lines", "--framed"}, {"append", dir, "--durability", "never"},
		{"append", dir, "--durability", "interval=0s"}, {"append", dir, "--durability", "synced=1"},
		{"append", dir, "--segment-size", "12Q"}, {"append", dir, "--segment-size", "-1"},
		{"append", dir, "--segment-size", "1K"}, {"append", dir, "--segment-size", "99999999999G"},
	} {
		r := wantCode(t, exitUsage, "journaltool: ", args...)
		if r.stdout != "" {
			t.Errorf("journaltool %q: output %q", args, r.stdout)
		}
	}
	if got := mustTool(t, "", "cat", dir); got != numbered(1, 3) {
		t.Errorf("after usage errors the journal holds %q", got)
	}
}

// TestErrorsSayWhatIsWrong: no error shows the words of the standard library's parsers, and one
// about a directory names it and the verb.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	dir := newJournal(t, 3)
	for _, args := range [][]string{
		{"truncate", dir, "--front", "-1"}, {"truncate", dir, "--back", "x"},
		{"cat", dir, "--from", "-1"}, {"cat", dir, "--to", "1e3"}, {"cat", dir, "-n", "-2"},
		{"append", dir, "--segment-size", "x"}, {"append", dir, "--progress=x"},
	} {
		r := wantCode(t, exitUsage, "want ", args...)
		if strings.Contains(r.stderr, "strconv") || strings.Contains(r.stderr, "parsing") {
			t.Errorf("%q: %s", args, r.stderr)
		}
	}
	file := filepath.Join(dir, "JOURNAL")
	for _, args := range [][]string{
		{"info"}, {"segments"}, {"verify"}, {"cat"}, {"append"}, {"truncate", "--front", "1"}, {"demo"},
	} {
		verb := args[0]
		wantCode(t, exitUsage, verb+": the name of the directory is empty", append(args, "")...)
		wantCode(t, exitOther, verb+" "+file+": not a directory", append(args, file)...)
	}
}
