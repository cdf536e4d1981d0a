package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mmjournal/journal"
)

func TestAppendLines(t *testing.T) {
	limit := int(journal.MaxRecord(64 << 10))
	for _, c := range []struct{ name, in, out, said string }{
		{"none", "", "", "appended 0 first 1 last 0\n"},
		{"one", "a\n", "a\n", "appended 1 first 1 last 1\n"},
		{"no newline at the end", "a\nb", "a\nb\n", "appended 2 first 1 last 2\n"},
		{"empty lines", "\n\n\n", "\n\n\n", "appended 3 first 1 last 3\n"},
		{"carriage returns and zeros", "a\r\n\x00\n", "a\r\n\x00\n", "appended 2 first 1 last 2\n"},
		{"the largest", strings.Repeat("x", limit) + "\ny\n", strings.Repeat("x", limit) + "\ny\n",
			"appended 2 first 1 last 2\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			got := mustTool(t, c.in, "append", "--segment-size", "64KiB", dir)
			if got != c.said {
				t.Errorf("append says %q, want %q", got, c.said)
			}
			if got := mustTool(t, "", "cat", dir); got != c.out {
				t.Errorf("cat: %d bytes, want %d", len(got), len(c.out))
			}
		})
	}
}

// TestAppendRoundsSizesUp has a record that fits a segment only because Open rounds its size up.
func TestAppendRoundsSizesUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	in := strings.Repeat("x", int(journal.MaxRecord(64<<10+4096)))
	mustTool(t, in, "append", "--whole", "--segment-size", "65537", dir)
	if got := mustTool(t, "", "cat", "--format", "raw", dir); got != in {
		t.Errorf("cat: %d bytes, want %d", len(got), len(in))
	}
	r := tool(in+"x", "append", "--whole", "--segment-size", "65537", dir)
	if r.code != exitOther || !strings.Contains(r.stderr, "segments of 68 KiB") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

// TestAdvice checks that the error of a write that can be helped says how.
func TestAdvice(t *testing.T) {
	for err, want := range map[error]string{
		journal.ErrLocked:  "stop it",
		journal.ErrNoSpace: "journaltool truncate --front SEQ DIR",
		journal.ErrCorrupt: "journaltool salvage DIR --to OUT copies every intact record",
	} {
		got := advise(fmt.Errorf("outer: %w", err), "DIR")
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v; want %q", got, want)
		}
	}
	if err := advise(nil, "DIR"); err != nil {
		t.Error(err)
	}
}

// TestAppendLongLines has lines around the size of the input's buffer, and far above it.
func TestAppendLongLines(t *testing.T) {
	var b strings.Builder
	for _, n := range []int{1, inputSize - 2, inputSize - 1, inputSize, inputSize + 1, 0,
		2*inputSize - 1, 2 * inputSize, 5, 7<<20 + 3} {
		b.WriteString(strings.Repeat(string(rune('a'+n%26)), n) + "\n")
	}
	dir := filepath.Join(t.TempDir(), "log")
	mustTool(t, b.String(), "append", "--lines", dir)
	if got := mustTool(t, "", "cat", dir); got != b.String() {
		t.Error("cat prints other lines than were appended")
	}
}

// TestAppendRefuses has input that cannot be appended; what precedes it is.
func TestAppendRefuses(t *testing.T) {
	framed := framedItems([]byte("record 1"), []byte("record 2"))
	huge := framed + "\xff\xff\xff\xff"
	for _, c := range []struct {
		name, flag, size, in, want string
		records                    int
	}{
		{"line", "--lines", "64K", numbered(1, 2) + strings.Repeat("x", 65<<10),
			"line 3: 66560 bytes", 2},
		{"long line", "--lines", "1MiB", numbered(1, 2) + strings.Repeat("x", 3<<20),
			"line 3: 1048576 bytes so far; the largest record is 1040", 2},
		{"whole", "--whole", "64K", strings.Repeat("x", 70<<10), "bytes so far; the largest record", 0},
		{"length", "--framed", "64K", huge, "item 3, at byte 24: a length of 4294967295 bytes", 2},
		{"cut length", "--framed", "64K", framed + "\x01\x00", "item 3, at byte 24", 2},
		{"cut item", "--framed", "64K", framed + "\x05\x00\x00\x00abc", "it has 3 of 5 bytes", 2},
		{"missing item", "--framed", "64K", framed + "\x05\x00\x00\x00", "it has 0 of 5 bytes", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			r := tool(c.in, "append", c.flag, "--segment-size", c.size, dir)
			if r.code != exitOther || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit code %d, %q; want %q", r.code, r.stderr, c.want)
			}
			said := fmt.Sprintf("appended %d first 1 last %d\n", c.records, c.records)
			if r.stdout != said {
				t.Errorf("output %q, want %q", r.stdout, said)
			}
			if got := mustTool(t, "", "cat", dir); got != numbered(1, c.records) {
				t.Errorf("cat: %q", got)
			}
		})
	}
}

// framedItems returns payloads as append --framed reads them.
func framedItems(payloads ...[]byte) string {
	var b []byte
	for _, p := range payloads {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return string(b)
}

func TestAppendFramed(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	sizes := []int{0, 1, 1 << 20, 0, 0}
	for range 40 {
		sizes = append(sizes, int(r.Uint64()%(1<<20+1)), int(r.Uint64()%300))
	}
	var payloads [][]byte
	for _, n := range sizes {
		p := make([]byte, n)
		if _, err := r.Read(p); err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, p)
	}
	in := framedItems(payloads...)
	dir := filepath.Join(t.TempDir(), "log")
	said := mustTool(t, in, "append", "--framed", dir)
	if want := fmt.Sprintf("appended %d first 1 last %[1]d\n", len(payloads)); said != want {
		t.Errorf("append says %q, want %q", said, want)
	}
	if mustTool(t, "", "cat", "--format", "framed", dir) != in {
		t.Error("cat --format framed is not what was appended")
	}
	if mustTool(t, "", "cat", "--format", "raw", dir) != string(bytes.Join(payloads, nil)) {
		t.Error("cat --format raw is not what was appended")
	}
	again := filepath.Join(t.TempDir(), "again")
	mustTool(t, in, "append", "--framed", "--segment-size", "2M", again)
	if mustTool(t, "", "cat", "--format", "framed", again) != in {
		t.Error("with segments of 2 MiB, cat --format framed is not what was appended")
	}
}

func TestAppendWhole(t *testing.T) {
	for _, in := range []string{"", "a\nb\n", strings.Repeat("long ", 1<<20)} {
		dir := filepath.Join(t.TempDir(), "log")
		if said := mustTool(t, in, "append", "--whole", dir); said != "appended 1 first 1 last 1\n" {
			t.Errorf("append says %q", said)
		}
		if got := mustTool(t, "", "cat", "--format", "raw", dir); got != in {
			t.Errorf("cat: %d bytes, want %d", len(got), len(in))
		}
	}
}

// TestAppendAgain appends in several runs, with other segment sizes.
func TestAppendAgain(t *testing.T) {
	dir := newJournal(t, 5000)
	said := mustTool(t, numbered(5001, 30000), "append", "--segment-size", "1MiB", dir)
	if said != "appended 30000 first 5001 last 35000\n" {
		t.Errorf("append says %q", said)
	}
	mustTool(t, numbered(35001, 5000), "append", "--segment-size", "65536", dir)
	if mustTool(t, "", "cat", dir) != numbered(1, 40000) {
		t.Error("cat prints other lines than were appended")
	}
	mustTool(t, "", "verify", dir)
}

func TestAppendProgress(t *testing.T) {
	for _, level := range []string{"synced", "published", "interval=1ms", "interval"} {
		t.Run(level, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			said := mustTool(t, numbered(1, 300), "append", "--progress", "--durability", level,
				"--segment-size", "64K", dir)
			lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
			last, n := 0, len(lines)-1
			for _, line := range lines[:n] {
				seq := 0
				if _, err := fmt.Sscanf(line, "durable %d", &seq); err != nil || seq <= last {
					t.Fatalf("%q after %d", line, last)
				}
				last = seq
			}
			if last != 300 || lines[n] != "appended 300 first 1 last 300" {
				t.Errorf("the last lines are durable %d, %q", last, lines[n])
			}
			if level == "synced" && n != 300 {
				t.Errorf("%d lines of progress for 300 records", n)
			}
		})
	}
}

func TestAppendProgressJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	said := mustTool(t, "a\nb\n", "append", "--progress", "--durability", "synced", "-o", "json", dir)
	want := "{\"durable\":1}\n{\"durable\":2}\n{\"count\":2,\"first\":1,\"last\":2}\n"
	if said != want {
		t.Errorf("%q, want %q", said, want)
	}
}

// TestAppendInterrupted ends the context while the input blocks in the middle of a line.
func TestAppendInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, feed := io.Pipe()
	defer in.Close()
	out, say := io.Pipe()
	args := []string{"append", "--progress", "--durability", "synced", dir}
	var errs bytes.Buffer
	code := make(chan int)
	go func() {
		code <- run(ctx, args, in, say, &errs)
	}()
	go func() {
		_, _ = io.WriteString(feed, "record 1\nrecord 2\nhalf of re") // never read whole
	}()
	lines := bufio.NewScanner(out)
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
		if lines.Text() == "durable 2" {
			cancel()
		}
		if strings.HasPrefix(lines.Text(), "appended") {
			break
		}
	}
	if got[len(got)-1] != "appended 2 first 1 last 2" {
		t.Errorf("output %q", got)
	}
	if c := <-code; c != exitIntact || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit code %d, stderr %q", c, errs.String())
	}
	if got := mustTool(t, "", "cat", dir); got != numbered(1, 2) {
		t.Errorf("cat: %q", got)
	}
}

const killLines = 300000

// TestAppendKilled kills a process that appends lines, again and again, and goes on after the last
// one that is there: none that was reported as durable is missing, none is there twice.
func TestAppendKilled(t *testing.T) {
	for level, step := range map[string]int{"published": 1, "synced": 40, "interval=1ms": 1} {
		t.Run(level, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			all := strings.SplitAfter(strings.TrimSuffix(numbered(1, killLines), "\n"), "\n")
			args := []string{"append", dir, "--lines", "--progress", "--durability", level,
				"--segment-size", "64K"}
			last := 0
			for life := 0; life < 6 && last < killLines/2; life++ {
				promised := killedAppend(t, all[last:], 1+step*life, args)
				if last = lastOf(t, dir); last < promised {
					t.Fatalf("durable %d was promised, the last one is %d", promised, last)
				}
				if mustTool(t, "", "cat", dir) != strings.Join(all[:last], "") {
					t.Fatalf("cat prints other lines than the first %d", last)
				}
			}
			mustTool(t, strings.Join(all[last:], ""), "append", dir, "--segment-size", "64K")
			if mustTool(t, "", "cat", dir) != strings.Join(all, "")+"\n" {
				t.Error("at the end, cat prints other lines than were appended")
			}
			mustTool(t, "", "verify", dir)
		})
	}
}

// startPiped starts a command, and returns its input and its output.
func startPiped(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, out io.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err = cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return in, out
}

// killedAppend runs the tool with lines as its input, which does not end, kills it after so many
// lines of its output, or when almost all is durable, and returns the last seq that it reported as
// durable.
func killedAppend(t *testing.T, lines []string, after int, args []string) (promised int) {
	t.Helper()
	cmd := toolCommand(t, args...)
	in, out := startPiped(t, cmd)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = io.WriteString(in, strings.Join(lines, "")) // the reader is killed
	}()
	s := bufio.NewScanner(out)
	for n := 0; s.Scan(); {
		if _, err := fmt.Sscanf(s.Text(), "durable %d", &promised); err != nil {
			t.Fatalf("output %q", s.Text())
		}
		if n++; n == after || promised >= killLines*9/10 {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for s.Scan() { // what it said before it died counts
		_, _ = fmt.Sscanf(s.Text(), "durable %d", &promised)
	}
	<-fed
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	return promised
}

// lastOf returns the seq of a journal's last record.
func lastOf(t *testing.T, dir string) int {
	t.Helper()
	var doc struct{ Last int }
	if err := json.Unmarshal([]byte(mustTool(t, "", "info", "-o", "json", dir)), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Last
}

// TestAppendTerminated sends SIGTERM to a process whose input has nothing more to read.
func TestAppendTerminated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	cmd := toolCommand(t, "append", dir, "--progress", "--segment-size", "64K")
	in, out := startPiped(t, cmd)
	if err := write(in, numbered(1, 3)); err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(out)
	var last string
	for s.Scan() {
		if last = s.Text(); last == "durable 3" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || last != "appended 3 first 1 last 3" {
		t.Errorf("%v, the last line is %q", err, last)
	}
}

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "65536": 65536, "64K": 64 << 10, "64KiB": 64 << 10, "1M": 1 << 20, "3MiB": 3 << 20,
		"16G": 16 << 30, "1GiB": 1 << 30,
	} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0", "K", "1k", "1 K", "-1", "+1", "1.5M", "1T", "1KB",
		"9223372036854775808", "9007199254740992K", "99999999999G"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", s, got)
		}
	}
}
