package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// TestDamageTable is the project's row in the README's table "How other logs handle damage": 100
// records of 100 bytes, each synced, the process gone without Close; one damage; reopened, 5
// records appended, reopened.
func TestDamageTable(t *testing.T) {
	record := func(seq int) []byte { return bytes.Repeat([]byte{byte(seq)}, 100) }
	at := func(b []byte, seq int) int { return bytes.Index(b, record(seq)) }
	for _, c := range []struct {
		name    string
		damage  func(b []byte)
		refused journal.Seq // 0: not refused
		left    int
	}{
		{"T", func(b []byte) { clear(b[at(b, 100)+50 : at(b, 100)+100]) }, 0, 99},
		{"P", func(b []byte) { b[at(b, 50)+10] ^= 1 }, 50, 0},
		{"L", func(b []byte) { b[at(b, 50)-16] ^= 1 }, 50, 0},
		{"Z", func(b []byte) { clear(b[at(b, 50)&^511 : at(b, 50)&^511+512]) }, 50, 0},
		{"R", func(b []byte) { clear(b[at(b, 90)+50 : at(b, 90)+100]) }, 90, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := abandoned(t, record)
			path := filepath.Join(dir, segment.FileName(1))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := journal.Open(dir, smallSegments)
			if c.refused > 0 {
				var corrupt *journal.CorruptError
				if !errors.As(err, &corrupt) || corrupt.Seq > c.refused || corrupt.Seq+3 < c.refused {
					t.Fatalf("Open: %v; want a refusal at seq %d", err, c.refused)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Log(j.Report().Tail)
			var want []string
			for i := range c.left {
				want = append(want, string(record(i+1)))
			}
			for i := range 5 {
				p := fmt.Appendf(nil, "later %d", i)
				mustAppend(t, j, p)
				want = append(want, string(p))
			}
			mustClose(t, j)
			expect(t, mustOpen(t, dir, smallSegments), 1, want...)
		})
	}
}

// abandoned returns the directory of a journal as a crash leaves it, after 100 synced records.
func abandoned(t *testing.T, record func(int) []byte) string {
	t.Helper()
	live := t.TempDir()
	j := mustOpen(t, live, smallSegments)
	for i := range 100 {
		mustAppend(t, j, record(i+1))
	}
	dir := t.TempDir()
	for _, name := range []string{segment.JournalName, segment.FileName(1)} {
		b, err := os.ReadFile(filepath.Join(live, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
