package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/journal"
)

func TestCatRange(t *testing.T) {
	dir := newJournal(t, 5000) // several segments
	mustTool(t, "", "truncate", "--front", "11", dir)
	for _, c := range []struct {
		args     string
		first, n int
	}{
		{"", 11, 4990}, {"--from 11", 11, 4990}, {"--from 2000", 2000, 3001},
		{"--to 11", 11, 1}, {"--to 2000", 11, 1990}, {"--to 9999", 11, 4990},
		{"--from 100 --to 100", 100, 1}, {"--from 100 --to 4000", 100, 3901},
		{"-n 0", 0, 0}, {"-n 1", 11, 1}, {"-n 9999", 11, 4990}, {"--from 1900 -n 50", 1900, 50},
		{"--from 4999 -n 50", 4999, 2}, {"--from 100 --to 102 -n 50", 100, 3},
		{"--from 100 --to 200 -n 2", 100, 2}, {"--from 5000", 5000, 1}, {"--from 5001", 0, 0},
		{"--from 9999", 0, 0}, {"--from 18446744073709551615", 0, 0}, {"--from 6000 --to 7000", 0, 0},
	} {
		got := mustTool(t, "", append([]string{"cat", dir}, strings.Fields(c.args)...)...)
		if want := numbered(c.first, c.n); got != want {
			t.Errorf("cat %s: %d bytes, want %d", c.args, len(got), len(want))
		}
	}
	const have = "the journal has 11 to 5000"
	wantCode(t, exitOther, have, "cat", dir, "--from", "10")
	wantCode(t, exitOther, have, "cat", dir, "--to", "10")
	mustTool(t, "", "truncate", "--front", "5001", dir)
	const empty = "the journal is empty, and its next seq is 5001"
	wantCode(t, exitOther, empty, "cat", dir, "--from", "10")
	if got := mustTool(t, "", "cat", dir); got != "" {
		t.Errorf("cat of an empty journal: %q", got)
	}
}

func TestCatFormats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	in := framedItems([]byte("a<b"), nil, []byte("\xff\n"), []byte("zwölf\n"))
	mustTool(t, in, "append", "--framed", "--segment-size", "64K", dir)
	for format, want := range map[string]string{
		"lines":  "a<b\n\n\xff\n\nzwölf\n\n",
		"raw":    "a<b\xff\nzwölf\n",
		"hex":    "1\t613c62\n2\t\n3\tff0a\n4\t7a77c3b66c660a\n",
		"framed": in,
		"json": `{"seq":1,"payload":"YTxi","text":"a<b"}
{"seq":2,"payload":"","text":""}
{"seq":3,"payload":"/wo="}
{"seq":4,"payload":"enfDtmxmCg==","text":"zwölf\n"}
`,
	} {
		if got := mustTool(t, "", "cat", "--format", format, dir); got != want {
			t.Errorf("cat --format %s: %q, want %q", format, got, want)
		}
	}
	if mustTool(t, "", "cat", "-o", "json", dir) != mustTool(t, "", "cat", "--format", "json", dir) {
		t.Error("-o json and --format json differ")
	}
}

// TestCatDamaged reads a journal up to a damage in a segment that is known to be durable.
func TestCatDamaged(t *testing.T) {
	dir := newJournal(t, 6000)
	flip(t, dir, 2, "record 2000")
	r := wantCode(t, exitCorrupt, "0000000000000002.seg: corrupt at offset ", "cat", dir)
	if r.stdout != numbered(1, 1999) {
		t.Errorf("cat prints %d bytes before the damage", len(r.stdout))
	}
	if got := mustTool(t, "", "cat", dir, "--from", "2001", "-n", "3"); got != numbered(2001, 3) {
		t.Errorf("behind the damage: %q", got)
	}
}

// TestCatClosedPipe has an output that nobody reads any more.
func TestCatClosedPipe(t *testing.T) {
	dir := newJournal(t, 6000)
	for _, verb := range [][]string{{"cat"}, {"info"}, {"segments", "-o", "json"}, {"verify"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var errs bytes.Buffer
		code := run(context.Background(), append(verb, dir), strings.NewReader(""), w, &errs)
		if code != exitIntact || errs.Len() > 0 {
			t.Errorf("%s: exit code %d, %q", verb, code, errs.String())
		}
		w.Close()
	}
}

// TestCatClosedStdout is the same in a process of its own, where SIGPIPE would kill.
func TestCatClosedStdout(t *testing.T) {
	dir := newJournal(t, 6000)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := toolCommand(t, "cat", dir)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%v, %q", err, errs.String())
	}
}

func TestCatFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var errs bytes.Buffer
	args := []string{"cat", newJournal(t, 10)}
	code := run(context.Background(), args, strings.NewReader(""), full, &errs)
	if code != exitOther || !strings.Contains(errs.String(), "no space") {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

func TestCatInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := newJournal(t, 10)
	for _, verb := range []string{"cat", "verify"} {
		var out, errs bytes.Buffer
		code := run(ctx, []string{verb, dir}, strings.NewReader(""), &out, &errs)
		if verb == "cat" && code != exitOther { // a quick verify may have ended before
			t.Errorf("%s: exit code %d, %q", verb, code, errs.String())
		}
	}
}

// TestCatBesideWriter reads while another goroutine appends, rolls and truncates the front: records
// come in order, without a gap, up to at least what was durable before.
func TestCatBesideWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	o := &journal.Options{SegmentSize: 64 << 10, Durability: journal.Interval}
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	done := make(chan error, 1)
	go func() { done <- fillAndTruncate(j) }()
	for range 100 {
		atLeast := j.Durable()
		out := mustTool(t, "", "cat", "-o", "json", dir)
		last, err := checkOrder(out)
		if err != nil {
			t.Fatal(err)
		}
		if last < atLeast {
			t.Fatalf("cat ends at %d, %d was durable before", last, atLeast)
		}
		mustTool(t, "", "verify", dir)
		mustTool(t, "", "info", dir)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func fillAndTruncate(j *journal.Journal) error {
	for i := range 60000 {
		if _, err := j.Append(fmt.Appendf(nil, "record %d", i+1)); err != nil {
			return err
		}
		if i%5000 == 4999 {
			if err := j.TruncateFront(journal.Seq(i - 4000)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkOrder checks that JSON lines hold numbered records in order, and returns the last one's seq.
func checkOrder(out string) (last journal.Seq, err error) {
	for line := range strings.Lines(out) {
		var r struct {
			Seq  journal.Seq
			Text string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return 0, err
		}
		if last > 0 && r.Seq != last+1 || r.Text != fmt.Sprintf("record %d", r.Seq) {
			return 0, fmt.Errorf("%q after %d", line, last)
		}
		last = r.Seq
	}
	return last, nil
}
