package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// codes are the exit codes of the verbs: info and segments; verify; cat; append; truncate; salvage.
type codes struct{ info, verify, cat, append, truncate, salvage int }

// condition is a journal in a certain condition, and what the verbs make of it.
type condition struct {
	name  string // of its transcript
	what  string // in docs/exit-codes.md
	setup func(t *testing.T) string
	codes codes
	msg   string // in the output of a verb whose code is not 0

	// The verdicts of the quick check and of the full one; "" if there is none.
	quick, full string
}

const (
	intactWord, noDamage = "intact", "no damage found"
	damagedWord, corrupt = "damaged", "corrupt"
)

// conditions are in the order of docs/exit-codes.md.
var conditions = []condition{
	{"intact", "closed", func(t *testing.T) string { return newJournal(t, 10) },
		codes{}, "", intactWord, intactWord},
	{"several", "closed, several segments", func(t *testing.T) string { return newJournal(t, 6000) },
		codes{}, "", noDamage, intactWord},
	{"empty", "no record yet", func(t *testing.T) string { return newJournal(t, 0) },
		codes{}, "", intactWord, intactWord},
	{"open", "not closed", func(t *testing.T) string { return abandoned(t, 10) },
		codes{}, "", intactWord, intactWord},
	{"in-use", "a writer is active", func(t *testing.T) string {
		dir := newJournal(t, 10)
		j, err := journal.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { j.Close() })
		return dir
	}, codes{0, 0, 0, 3, 3, 0}, "journal is in use", intactWord, intactWord},
	{"torn", "torn tail", func(t *testing.T) string {
		dir := abandoned(t, 10)
		tearTail(t, dir)
		return dir
	}, codes{}, "", intactWord, intactWord},

	{"foreign-file", "a file of others: notes.txt, core", func(t *testing.T) string {
		dir := newJournal(t, 10)
		put(t, dir, "notes.txt", nil)
		return dir
	}, codes{}, "notes.txt", intactWord, intactWord},
	{"suspect-file", "a name like the journal's own: 1.seg, JOURNAL.bak", func(t *testing.T) string {
		dir := newJournal(t, 10)
		put(t, dir, "1.seg", nil)
		return dir
	}, codes{0, 0, 0, 3, 3, 0}, "1.seg", intactWord, intactWord},
	{"stray-copy", "a copy of a segment under a higher number", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		put(t, dir, segment.FileName(9), get(t, segmentFile(dir, 2)))
		return dir
	}, codes{0, 0, 0, 3, 3, 0}, "a copy of segment 2", noDamage, intactWord},
	{"stray-segment", "a segment of another journal, above the newest", func(t *testing.T) string {
		dir := newJournal(t, 10)
		put(t, dir, segment.FileName(9), get(t, segmentFile(newJournal(t, 10), 1)))
		return dir
	}, codes{0, 0, 0, 3, 3, 0}, "segment 1 of another journal", intactWord, intactWord},

	{"damaged-copy", "one copy in JOURNAL", func(t *testing.T) string {
		dir := newJournal(t, 10)
		edit(t, filepath.Join(dir, "JOURNAL"), func(b []byte) { b[4096+20] ^= 1 })
		return dir
	}, codes{}, "JOURNAL", intactWord, intactWord},
	{"no-journal-file", "JOURNAL is missing, or both copies are damaged", func(t *testing.T) string {
		dir := newJournal(t, 10)
		remove(t, filepath.Join(dir, "JOURNAL"))
		return dir
	}, codes{1, 1, 0, 0, 0, 0}, "no live record lost", damagedWord, damagedWord},
	{"damaged-index", "a sparse index", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		damageIndex(t, dir)
		return dir
	}, codes{0, 1, 0, 0, 0, 0}, "no live record lost", noDamage, damagedWord},
	{"damaged-seal", "a seal", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		edit(t, segmentFile(dir, 1), func(b []byte) { b[sealAt(b)+20] ^= 1 })
		return dir
	}, codes{1, 1, 0, 0, 0, 0}, "no live record lost", damagedWord, damagedWord},
	{"dropped-record", "a dropped record", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		mustTool(t, "", "truncate", "--front", "100", dir)
		flip(t, dir, 1, "record 5")
		return dir
	}, codes{0, 1, 0, 0, 0, 0}, "no live record lost", noDamage, damagedWord},

	{"corrupt-record", "a record in the newest segment", func(t *testing.T) string {
		dir := newJournal(t, 10)
		flip(t, dir, 1, "record 5")
		return dir
	}, codes{1, 1, 1, 1, 1, 1}, segment.FileName(1), corrupt, corrupt},
	{"corrupt-sealed", "a record in an earlier segment", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		flip(t, dir, 1, "record 5")
		return dir
	}, codes{0, 1, 1, 0, 0, 1}, segment.FileName(1), noDamage, corrupt},
	{"missing-segment", "a missing segment", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		remove(t, segmentFile(dir, 2))
		return dir
	}, codes{1, 1, 1, 1, 1, 1}, segment.FileName(2), corrupt, corrupt},
	{"replaced-segment", "a segment of another journal in place of one", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		put(t, dir, segment.FileName(2), get(t, segmentFile(newJournal(t, 6000), 2)))
		return dir
	}, codes{1, 1, 1, 1, 1, 1}, segment.FileName(2), corrupt, corrupt},
	{"linked-segment", "a symbolic link in place of a segment", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		path := segmentFile(dir, 2)
		if err := os.Rename(path, filepath.Join(dir, ".moved")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(".moved", path); err != nil {
			t.Skip(err)
		}
		return dir
	}, codes{1, 1, 1, 3, 3, 1}, segment.FileName(2), corrupt, corrupt},
	{"bad-identity", "a bad file above the newest segment", func(t *testing.T) string {
		dir := newJournal(t, 10)
		put(t, dir, segment.FileName(2), []byte("garbage"))
		return dir
	}, codes{1, 1, 1, 1, 1, 1}, segment.FileName(2), corrupt, corrupt},

	{"newer-file", "a file of a newer version", func(t *testing.T) string {
		dir := newJournal(t, 10)
		edit(t, segmentFile(dir, 1), func(b []byte) {
			binary.LittleEndian.PutUint32(b[8:], 2)
			binary.LittleEndian.PutUint32(b[12:], segment.Checksum(b[:12]))
		})
		return dir
	}, codes{3, 3, 3, 3, 3, 3}, "newer", "", ""},
	{"newer-frame", "a frame of newer software in an earlier segment", func(t *testing.T) string {
		dir := newJournal(t, 6000)
		edit(t, segmentFile(dir, 1), func(b []byte) {
			putNewer(b, bytes.Index(b, []byte("record 5"))-16, 5)
		})
		return dir
	}, codes{0, 3, 3, 0, 0, 3}, "newer", noDamage, ""},

	{"missing-directory", "no directory", func(t *testing.T) string {
		return filepath.Join(t.TempDir(), "nothing")
	}, codes{3, 3, 3, 0, 3, 3}, "no journal here", "", ""},
	{"empty-directory", "an empty directory", func(t *testing.T) string { return t.TempDir() },
		codes{3, 3, 3, 0, 3, 3}, "no journal here", "", ""},
	{"not-a-journal", "a directory with other files, and no journal", func(t *testing.T) string {
		dir := t.TempDir()
		put(t, dir, "notes.txt", nil)
		return dir
	}, codes{3, 3, 3, 3, 3, 3}, "do not belong to a journal", "", ""},
}

func put(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// sealAt returns where the seal of a full segment starts: the sparse index follows it.
func sealAt(b []byte) int {
	for at := len(b) - 8; at > 0; at -= 8 {
		if binary.LittleEndian.Uint32(b[at:]) == uint32(segment.SealSize) &&
			b[at+8] == byte(segment.KindSeal) {
			return at
		}
	}
	panic("no seal")
}

// putNewer writes a frame of a kind that this software does not know.
func putNewer(b []byte, at int, seq uint64) {
	const length, kind = 16, 9
	le := binary.LittleEndian
	le.PutUint64(b[at+8:], seq<<8|kind)
	sum := le.AppendUint64(nil, le.Uint64(b[40:])^(uint64(at)<<29|length))
	le.PutUint32(b[at:], length)
	le.PutUint32(b[at+4:], segment.Checksum(append(sum, b[at+8:at+16]...)))
}

// TestExitCodes runs each verb on a journal in each condition: its exit code, its verdict, and what
// it says are those of the table.
func TestExitCodes(t *testing.T) {
	for _, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			read := c.setup(t) // by all verbs that change nothing
			for _, verb := range []struct {
				code    int
				verdict string
				args    []string
			}{
				{c.codes.info, "", []string{"info"}},
				{c.codes.info, c.quick, []string{"info", "-o", "json"}},
				{c.codes.info, "", []string{"segments"}},
				{c.codes.info, c.quick, []string{"segments", "-o", "json"}},
				{c.codes.verify, "", []string{"verify"}},
				{c.codes.verify, c.full, []string{"verify", "-o", "json"}},
				{c.codes.cat, "", []string{"cat"}}, {c.codes.cat, "", []string{"cat", "-o", "json"}},
				{c.codes.append, "", []string{"append"}},
				{c.codes.truncate, "", []string{"truncate", "--front", "1"}},
				{c.codes.salvage, "", []string{"salvage", "--to", filepath.Join(t.TempDir(), "out")}},
			} {
				dir, args := read, verb.args
				writes := args[0] == "append" || args[0] == "truncate"
				if writes {
					dir = c.setup(t)
				}
				if args[0] == "truncate" {
					args = []string{"truncate", "--front", firstSeq(t, dir)}
				}
				msg := c.msg
				if verb.code == exitIntact {
					msg = ""
				}
				before := snapshot(t, dir)
				r := tool("", append(args, dir)...)
				if r.code != verb.code || !strings.Contains(r.stdout+r.stderr, msg) {
					t.Errorf("journaltool %q: exit code %d, want %d and %q\n%s%s",
						args, r.code, verb.code, msg, r.stdout, r.stderr)
				}
				if after := snapshot(t, dir); !writes && after != before {
					t.Errorf("%q changed files:\n%s\nbefore:\n%s", args, after, before)
				}
				if args[0] != "cat" && len(args) > 1 && args[1] == "-o" {
					checkVerdict(t, r.stdout, verb.verdict)
				}
			}
		})
	}
}

// firstSeq returns the first seq of a journal, 1 if there is none.
func firstSeq(t *testing.T, dir string) string {
	t.Helper()
	var r struct{ First journal.Seq }
	if out := tool("", "info", "-o", "json", dir).stdout; out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprint(max(r.First, 1))
}

// checkVerdict checks that out is one JSON document with that verdict, or nothing if it is "".
func checkVerdict(t *testing.T, out, want string) {
	t.Helper()
	checkJSON(t, out)
	var r struct{ Verdict string }
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
	}
	if r.Verdict != want {
		t.Errorf("verdict %q, want %q\n%s", r.Verdict, want, out)
	}
}

// TestExitCodeTable holds the tables of exit codes in the documents against the code.
func TestExitCodeTable(t *testing.T) {
	var all strings.Builder
	all.WriteString("| code | means |\n|--:|---|\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&all, "| %d | %s |\n", e.code, e.means)
	}
	checkBetween(t, "README.md", "exit codes", all.String())
	checkBetween(t, "docs/exit-codes.md", "exit codes", all.String())
	if help := mustTool(t, "", "--help"); !strings.Contains(help, exitHelp()) {
		t.Errorf("--help has no exit codes:\n%s", help)
	}
	var b strings.Builder
	b.WriteString("| the journal | info, segments | verify | cat | append | truncate " +
		"| salvage | quick check says | verify says |\n|---|--:|--:|--:|--:|--:|--:|---|---|\n")
	for _, c := range conditions {
		k := c.codes
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %s | %s |\n", c.what, k.info, k.verify,
			k.cat, k.append, k.truncate, k.salvage, orDash(c.quick), orDash(c.full))
	}
	checkBetween(t, "docs/exit-codes.md", "conditions", b.String())
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// checkBetween compares the text between two comments of a document with what it should be.
func checkBetween(t *testing.T, file, mark, want string) {
	t.Helper()
	path := filepath.Join("..", "..", filepath.FromSlash(file))
	from, to := "<!-- "+mark+" -->\n", "<!-- end of "+mark+" -->\n"
	text := string(get(t, path))
	head, rest, ok := strings.Cut(text, from)
	old, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, from, to)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+from+want+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != want {
		t.Errorf("%s has another table; run go test -update and read the diff:\n%s", file, want)
	}
}
