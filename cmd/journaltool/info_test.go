package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// tearTail puts bytes behind the end of an abandoned journal, as a crash may.
func tearTail(t *testing.T, dir string) {
	t.Helper()
	r, err := recovery.Inspect(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Segments[len(r.Segments)-1]
	edit(t, filepath.Join(dir, s.File), func(b []byte) { copy(b[s.Used+64:], "garbage") })
}

// damageIndex damages the last bytes of a full segment: its sparse index.
func damageIndex(t *testing.T, dir string) {
	t.Helper()
	edit(t, segmentFile(dir, 1), func(b []byte) { b[len(bytes.TrimRight(b, "\x00"))-1] ^= 1 })
}

// condition is a journal in a certain condition, and the exit codes of the verbs for it.
type condition struct {
	name  string
	setup func(t *testing.T) string
	look  int // info and segments
	check int // verify
	cat   int
	write int // truncate
	msg   string
}

var conditions = []condition{
	{name: "intact", setup: func(t *testing.T) string { return newJournal(t, 10) }},
	{name: "empty", setup: func(t *testing.T) string { return newJournal(t, 0) }},
	{name: "open", setup: func(t *testing.T) string { return abandoned(t, 10) }},
	{name: "torn", setup: func(t *testing.T) string {
		dir := abandoned(t, 10)
		tearTail(t, dir)
		return dir
	}},
	{"foreign-file", func(t *testing.T) string { // nothing writes where other files are
		dir := newJournal(t, 10)
		if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}, 0, 0, 0, 3, "notes.txt"},
	{"corrupt-record", func(t *testing.T) string {
		dir := newJournal(t, 10)
		flip(t, dir, 1, "record 5")
		return dir
	}, 1, 1, 1, 1, "0000000000000001.seg"},
	{"corrupt-sealed", func(t *testing.T) string { // a quick look does not read what is durable
		dir := newJournal(t, 6000)
		flip(t, dir, 1, "record 5")
		return dir
	}, 0, 1, 1, 0, "0000000000000001.seg"},
	{"missing-segment", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		if err := os.Remove(segmentFile(dir, 2)); err != nil {
			t.Fatal(err)
		}
		return dir
	}, 1, 1, 1, 1, "0000000000000002.seg"},
	{"damaged-index", func(t *testing.T) string { // nor does it read what lookups need
		dir := newJournal(t, 6000)
		damageIndex(t, dir)
		return dir
	}, 0, 1, 0, 0, "no live record lost"},
	{"no-journal-file", func(t *testing.T) string {
		dir := newJournal(t, 10)
		if err := os.Remove(filepath.Join(dir, "JOURNAL")); err != nil {
			t.Fatal(err)
		}
		return dir
	}, 1, 1, 0, 0, "no live record lost"},
	{"missing-directory", func(t *testing.T) string {
		return filepath.Join(t.TempDir(), "nothing")
	}, 3, 3, 3, 3, "no journal here"},
	{"empty-directory", func(t *testing.T) string {
		return t.TempDir()
	}, 3, 3, 3, 3, "no journal here"},
	{"not-a-journal", func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}, 3, 3, 3, 3, "not a journal"},
}

// TestExitCodes runs each verb on a journal in each condition.
func TestExitCodes(t *testing.T) {
	for _, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			for _, verb := range []struct {
				code int
				args []string
			}{
				{c.look, []string{"info"}}, {c.look, []string{"info", "-o", "json"}},
				{c.look, []string{"segments"}}, {c.look, []string{"segments", "-o", "json"}},
				{c.check, []string{"verify"}}, {c.check, []string{"verify", "-o", "json"}},
				{c.cat, []string{"cat"}}, {c.cat, []string{"cat", "-o", "json"}},
				{c.write, []string{"truncate", "--front", "1"}},
			} {
				msg := c.msg
				if verb.code == exitIntact {
					msg = ""
				}
				dir := c.setup(t)
				before := snapshot(t, dir)
				r := tool("", append(verb.args, dir)...)
				if r.code != verb.code || !strings.Contains(r.stdout+r.stderr, msg) {
					t.Errorf("journaltool %q: exit code %d, want %d and %q\n%s%s",
						verb.args, r.code, verb.code, msg, r.stdout, r.stderr)
				}
				if verb.args[0] != "truncate" {
					if after := snapshot(t, dir); after != before {
						t.Errorf("%q changed files:\n%s\nbefore:\n%s", verb.args, after, before)
					}
				}
				if len(verb.args) > 1 && verb.args[1] == "-o" && verb.code < exitUsage {
					checkJSON(t, r.stdout)
				}
			}
		})
	}
}

// checkJSON checks that s is JSON documents.
func checkJSON(t *testing.T, s string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	for d.More() {
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %q", err, s)
		}
	}
}

// snapshot describes everything in a directory that a look must not change.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var sum [sha256.Size]byte
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(data)
		}
		fmt.Fprintf(&b, "%s %v %d %v %x\n", path, info.Mode(), info.Size(), info.ModTime(), sum)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return b.String()
}

// TestInspectionOfLiveJournal looks at a journal that is open for writing.
func TestInspectionOfLiveJournal(t *testing.T) {
	dir := newJournal(t, 10)
	j, err := journal.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.Append([]byte("record 11")); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	if got := mustTool(t, "", "cat", dir); got != numbered(1, 11) {
		t.Errorf("cat: %q", got)
	}
	for _, verb := range []string{"info", "segments", "verify"} {
		mustTool(t, "", verb, dir)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
	}
	pid := fmt.Sprint("process ", os.Getpid())
	wantCode(t, exitOther, pid, "append", dir)
	wantCode(t, exitOther, pid, "truncate", "--front", "2", dir)
}

// TestTranscripts shows what each verb prints for a journal in each condition.
func TestTranscripts(t *testing.T) {
	for _, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			dir := c.setup(t)
			tr := &transcript{dir: dir}
			for _, verb := range []string{"info", "segments", "verify"} {
				tr.run("", verb, dir)
			}
			tr.run("", "cat", "-n", "2", dir)
			tr.run("", "append", dir)
			tr.check(t, c.name)
		})
	}
}

func TestTranscriptJSON(t *testing.T) {
	dir := newJournal(t, 3)
	tr := &transcript{dir: dir}
	for _, verb := range []string{"info", "segments", "verify", "cat"} {
		tr.run("", verb, dir, "-o", "json")
	}
	tr.run("four\nfive", "append", dir, "-o", "json")
	tr.run("", "truncate", "--front", "2", dir, "-o", "json")
	tr.check(t, "json")
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB",
		16 << 30: "16 GiB", 3 << 40: "3 TiB", 5000 << 40: "5000 TiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
