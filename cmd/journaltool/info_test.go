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
