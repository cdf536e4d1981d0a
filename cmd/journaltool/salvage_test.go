package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// fill makes a journal of n records of about 1,000 bytes in segments of 64 KiB, does something to
// it, and closes it. Each record says its seq and who wrote it.
func fill(t *testing.T, dir string, n int, change func(j *journal.Journal)) string {
	t.Helper()
	o := &journal.Options{SegmentSize: 64 << 10, Durability: journal.Published}
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, n, "record")
	if change != nil {
		change(j)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func add(t *testing.T, j *journal.Journal, n int, who string) {
	t.Helper()
	for range n {
		p := fmt.Sprintf("%s %d", who, j.Last()+1)
		if _, err := j.Append(fmt.Appendf(nil, "%-1000s", p)); err != nil {
			t.Fatal(err)
		}
	}
}

// salvagedRecords reads the journals that salvage has written, and returns what each holds in a
// line.
func salvagedRecords(t *testing.T, out string) (runs []string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		var first, last journal.Seq
		if n, err := fmt.Sscanf(e.Name(), "%d-%d", &first, &last); n != 2 || err != nil {
			t.Errorf("directory %s", e.Name())
		}
		dir := filepath.Join(out, e.Name())
		mustTool(t, "", "verify", dir)
		text := mustTool(t, "", "cat", dir)
		who := map[string]int{}
		next := first
		for line := range strings.Lines(text) {
			var name string
			var seq journal.Seq
			if _, err := fmt.Sscan(line, &name, &seq); err != nil || seq != next {
				t.Errorf("%s: %.30q where record %d is next: %v", dir, line, next, err)
			}
			who[name]++
			next++
		}
		if next != last+1 {
			t.Errorf("%s ends before %d", dir, next)
		}
		run := e.Name()
		for _, name := range slices.Sorted(maps.Keys(who)) {
			run += fmt.Sprintf(" %s:%d", name, who[name])
		}
		runs = append(runs, run)
	}
	return runs
}

func removeSegment(t *testing.T, dir string, ordinal int) {
	t.Helper()
	if err := os.Remove(segmentFile(dir, ordinal)); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSalvage damages a journal of 320 records in six segments: 59 records fit into each.
func TestSalvage(t *testing.T) {
	back := func(j *journal.Journal) {
		if err := j.TruncateBack(50); err != nil {
			panic(err)
		}
	}
	for _, c := range []struct {
		name   string
		n      int
		change func(t *testing.T, j *journal.Journal)
		damage func(t *testing.T, dir string)
		code   int
		want   []string
		text   string // in the output
	}{
		{name: "nothing is wrong", n: 320, want: []string{"1-320 record:320"}},
		{name: "no record", n: 0},
		{name: "the oldest segment is missing", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) { removeSegment(t, dir, 1) },
			want:   []string{"60-320 record:261"}, text: "missing   1 to 59, acknowledged: yes"},
		{name: "a copy under a higher number", n: 320,
			damage: func(t *testing.T, dir string) { copyFile(t, segmentFile(dir, 3), segmentFile(dir, 9)) },
			want:   []string{"1-320 record:320"}, text: "a copy of segment 3 under the name of 9"},
		{name: "a segment of another journal", n: 320,
			damage: func(t *testing.T, dir string) {
				other := fill(t, filepath.Join(t.TempDir(), "other"), 100, nil)
				copyFile(t, segmentFile(other, 2), segmentFile(dir, 9))
			},
			want: []string{"1-320 record:320"}, text: "(foreign): a segment of the journal "},
		{name: "a segment in the middle is missing", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) { removeSegment(t, dir, 3) },
			want:   []string{"1-118 record:118", "178-320 record:143"},
			text:   "may have been dropped: 0000000000000003.seg: the file is missing"},
		{name: "a bit of a full segment", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) { flip(t, dir, 2, "record 100") },
			want:   []string{"1-99 record:99", "101-320 record:220"},
			text:   "missing   100, acknowledged: yes"},
		{name: "a bit of the newest segment", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) { flip(t, dir, 6, "record 318") },
			want:   []string{"1-317 record:317", "319-320 record:2"}},
		{name: "an identity", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) {
				edit(t, segmentFile(dir, 2), func(b []byte) { b[100] ^= 1 })
			},
			want: []string{"1-59 record:59", "119-320 record:202"}, text: "bad identity"},
		{name: "a file cut short", n: 320, code: exitCorrupt,
			damage: func(t *testing.T, dir string) {
				if err := os.Truncate(segmentFile(dir, 2), 20_000); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"1-74 record:74", "119-320 record:202"},
			text: "missing   75 to 118, acknowledged: yes"},
		{name: "JOURNAL is missing", n: 100,
			damage: func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, segment.JournalName)); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"1-100 record:100"}, text: "may have been dropped: JOURNAL is missing"},
		{name: "a truncation, and other records", n: 55,
			change: func(t *testing.T, j *journal.Journal) { back(j); add(t, j, 5, "new") },
			want:   []string{"1-55 new:5 record:50"}},
		{name: "a truncation, and nothing says so any more", n: 55, code: exitCorrupt,
			change: func(t *testing.T, j *journal.Journal) { back(j); add(t, j, 5, "new") },
			damage: func(t *testing.T, dir string) { removeSegment(t, dir, 2) },
			want:   []string{"1-55 record:55"}, text: "may have been dropped: 0000000000000002.seg"},
		{name: "a truncation, and its segment is lost, but not the next one", n: 55, code: exitCorrupt,
			change: func(t *testing.T, j *journal.Journal) { back(j); add(t, j, 80, "new") },
			damage: func(t *testing.T, dir string) { removeSegment(t, dir, 2) },
			want:   []string{"1-55 record:55", "110-130 new:21"}},
		{name: "a reset to a lower seq", n: 60,
			change: func(t *testing.T, j *journal.Journal) {
				if err := j.Reset(10); err != nil {
					t.Fatal(err)
				}
				add(t, j, 5, "new")
			},
			want: []string{"10-14 new:5"}},
		{name: "a reset to a higher seq", n: 60,
			change: func(t *testing.T, j *journal.Journal) {
				if err := j.Reset(1000); err != nil {
					t.Fatal(err)
				}
				add(t, j, 5, "new")
			},
			want: []string{"1000-1004 new:5"}},
		{name: "records dropped at the front", n: 60,
			change: func(t *testing.T, j *journal.Journal) {
				if err := j.TruncateFront(30); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"30-60 record:31"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, out := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "out")
			fill(t, dir, c.n, func(j *journal.Journal) {
				if c.change != nil {
					c.change(t, j)
				}
			})
			if c.damage != nil {
				c.damage(t, dir)
			}
			before := contents(t, dir)
			r := wantCode(t, c.code, "", "salvage", dir, "--to", out)
			if !maps.Equal(before, contents(t, dir)) {
				t.Error("the journal has changed")
			}
			if got := salvagedRecords(t, out); !slices.Equal(got, c.want) {
				t.Errorf("salvaged %q, want %q\n%s%s", got, c.want, r.stdout, r.stderr)
			}
			if !strings.Contains(r.stdout, c.text) {
				t.Errorf("%q is not in\n%s", c.text, r.stdout)
			}
			checkManifest(t, dir, out, c.code)
		})
	}
}

// contents returns what is in each file of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// checkManifest holds the manifest against the journals beside it.
func checkManifest(t *testing.T, dir, out string, code int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(out, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Schema  int
		Source  string
		Records int
		Runs    []struct {
			Directory      string
			First, Last    int
			Records        int
			MayHaveDropped bool `json:"may_have_been_dropped"`
		}
		Missing []struct {
			First, Last  int
			Acknowledged string
			Causes       []struct{ Kind, File, Why string }
		}
		Files []struct{ File, State string }
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	var directories []string
	total := 0
	for _, run := range m.Runs {
		directories = append(directories, run.Directory)
		total += run.Records
		if run.Directory != fmt.Sprintf("%d-%d", run.First, run.Last) {
			t.Errorf("run %+v", run)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() != slices.Contains(directories, e.Name()) {
			t.Errorf("%s is not in the manifest", e.Name())
		}
	}
	lost := false
	for _, r := range m.Missing {
		lost = lost || r.Acknowledged != "no"
		if len(r.Causes) == 0 || r.Causes[0].Why == "" {
			t.Errorf("no reason: %+v", r)
		}
	}
	if m.Schema != 1 || m.Source != dir || m.Records != total || lost != (code == exitCorrupt) {
		t.Errorf("exit code %d, manifest %+v", code, m)
	}
}

// TestSalvageBatches: a batch is written as a batch.
func TestSalvageBatches(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "out")
	batch := func(n int) (list [][]byte) {
		for i := range n {
			list = append(list, fmt.Appendf(nil, "b %d", i))
		}
		return list
	}
	fill(t, dir, 2, func(j *journal.Journal) {
		for _, n := range []int{2, 3, 5} {
			if _, err := j.AppendBatch(batch(n)); err != nil {
				t.Fatal(err)
			}
		}
		add(t, j, 1, "record")
	})
	structure := func(dir string) (text string) {
		s, err := journal.Salvage(dir, journal.SalvageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, run := range s.Runs {
			for rec, err := range run.Records() {
				if err != nil {
					t.Fatal(err)
				}
				text += map[bool]string{true: "+", false: "."}[rec.More]
			}
			text += " "
		}
		return text
	}
	if got, want := structure(dir), "..+.++.++++.. "; got != want {
		t.Fatalf("batches %s, want %s", got, want)
	}
	flip(t, dir, 1, "b 2") // the last of the second batch
	wantCode(t, exitCorrupt, "", "salvage", dir, "--to", out)
	got := structure(filepath.Join(out, "1-6")) + structure(filepath.Join(out, "8-13"))
	if want := "..+.+. ++++.. "; got != want {
		t.Errorf("batches %s, want %s", got, want)
	}
}

// TestSalvageLarge: what only fits into a large segment is salvaged, too; what is small gets a
// small one.
func TestSalvageLarge(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "out")
	j, err := journal.Open(dir, &journal.Options{SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{10, journal.MaxRecord(1 << 20), 10} {
		if _, err := j.Append([]byte(strings.Repeat("x", int(n)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustTool(t, "", "salvage", dir, "--to", out)
	got, want := mustTool(t, "", "cat", filepath.Join(out, "1-3")), mustTool(t, "", "cat", dir)
	if got != want {
		t.Errorf("%d bytes instead of %d", len(got), len(want))
	}
	small := filepath.Join(t.TempDir(), "out")
	edit(t, segmentFile(dir, 1), func(b []byte) { b[5000] ^= 1 })
	edit(t, segmentFile(dir, 2), func(b []byte) { b[5000] ^= 1 })
	wantCode(t, exitCorrupt, "", "salvage", dir, "--to", small)
	runs, err := filepath.Glob(filepath.Join(small, "*-*", "*1.seg"))
	if err != nil || len(runs) == 0 {
		t.Fatal(runs, err)
	}
	for _, path := range runs {
		if fi, err := os.Stat(path); err != nil || fi.Size() > 256<<10 {
			t.Errorf("%s: %v, %v", path, fi, err)
		}
	}
}

// TestSalvageTarget: nothing is written where anything is, nor in the journal's directory.
func TestSalvageTarget(t *testing.T) {
	dir := newJournal(t, 5)
	before := contents(t, dir)
	base := t.TempDir()
	full, link := filepath.Join(base, "full"), filepath.Join(base, "link")
	out := filepath.Join(base, "out")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		msg  string
		args []string
		code int
	}{
		{"is not empty", []string{dir, "--to", full}, exitOther},
		{"is not empty", []string{dir, "--to", dir}, exitOther},
		{"not a directory", []string{dir, "--to", filepath.Join(full, "file")}, exitOther},
		{"lies in", []string{dir, "--to", filepath.Join(dir, "out")}, exitOther},
		{"lies in", []string{dir, "--to", filepath.Join(dir, "a", "b")}, exitOther},
		{"lies in", []string{dir, "--to", filepath.Join(link, "out")}, exitOther},
		{"lies in", []string{link, "--to", filepath.Join(dir, "out")}, exitOther},
		{"no journal here", []string{filepath.Join(base, "nothing"), "--to", out}, exitOther},
		{"--to is needed", []string{dir}, exitUsage},
		{"one directory", []string{"--to", out}, exitUsage},
		{"not a journal's id", []string{dir, "--to", out, "--id", "5"}, exitUsage},
	} {
		wantCode(t, c.code, c.msg, append([]string{"salvage"}, c.args...)...)
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("the journal has changed")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a directory was made")
	}
	empty := filepath.Join(base, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	mustTool(t, "", "salvage", dir, "--to", empty)
}

// TestSalvageConditions: salvage exits as verify does, but for damage that has cost no record.
func TestSalvageConditions(t *testing.T) {
	for _, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			code := c.codes.verify
			if strings.Contains(c.msg, "no live record lost") {
				code = exitIntact
			}
			dir := c.setup(t)
			before := snapshot(t, dir)
			wantCode(t, code, "", "salvage", dir, "--to", filepath.Join(t.TempDir(), "out"))
			if after := snapshot(t, dir); after != before {
				t.Errorf("files have changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// TestSalvageInterrupted: without a manifest, what is there is not complete.
func TestSalvageInterrupted(t *testing.T) {
	dir, out := newJournal(t, 5), filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs strings.Builder
	code := run(ctx, []string{"salvage", dir, "--to", out}, nil, &strings.Builder{}, &errs)
	if code != exitOther || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	if _, err := os.Stat(filepath.Join(out, manifestName)); err == nil {
		t.Error("there is a manifest")
	}
}

// TestSalvageTranscript is what a user sees.
func TestSalvageTranscript(t *testing.T) {
	base := t.TempDir()
	dir, out := filepath.Join(base, "damaged"), filepath.Join(base, "out")
	fill(t, dir, 320, nil)
	flip(t, dir, 2, "record 100")
	removeSegment(t, dir, 4)
	copyFile(t, segmentFile(dir, 3), segmentFile(dir, 9))
	tr := &transcript{dir: base}
	tr.run("", "salvage", dir, "--to", out)
	tr.run("", "salvage", dir, "--to", out)
	tr.run("", "salvage", dir, "--to", filepath.Join(base, "again"), "-o", "json")
	tr.run("", "verify", filepath.Join(out, "1-99"))
	tr.check(t, "salvage")
}
