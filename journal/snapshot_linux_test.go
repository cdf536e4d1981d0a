package journal_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/recovery"
)

// A snapshot by hard links (cp -al, rsync --link-dest) shares the files of a journal. Neither of
// the two may write to one that the other sees.

// snapshot makes a copy of a directory by hard links.
func snapshot(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(from)
	run(t, err)
	for _, e := range list {
		err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a segment's preparation may have ended
			t.Fatal(err)
		}
	}
}

// contents returns the files of a directory. One that a journal prepares may be renamed meanwhile.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	run(t, err)
	all := map[string][]byte{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		run(t, err)
		all[e.Name()] = b
	}
	return all
}

// modified returns the times of modification of a directory's files.
func modified(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	list, err := os.ReadDir(dir)
	run(t, err)
	all := map[string]time.Time{}
	for _, e := range list {
		fi, err := e.Info()
		run(t, err)
		all[e.Name()] = fi.ModTime()
	}
	return all
}

func openSmall(t *testing.T, dir string, d journal.Durability) *journal.Journal {
	t.Helper()
	return mustOpen(t, dir, &journal.Options{Durability: d, SegmentSize: 64 << 10})
}

// appendText appends n records that begin with a word, ten at a time.
func appendText(t *testing.T, j *journal.Journal, word string, n int) {
	t.Helper()
	var batch [][]byte
	for i := range n {
		batch = append(batch, fmt.Appendf(nil, "%s %d %s", word, i, strings.Repeat("x", 900)))
		if len(batch) == 10 || i == n-1 {
			_, err := j.AppendBatch(batch)
			run(t, err)
			batch = nil
		}
	}
}

// checkText opens a journal for reading and checks that it is intact and holds n records of each
// word in turn, from first on.
func checkText(t *testing.T, dir string, first journal.Seq, words ...string) {
	t.Helper()
	r, err := recovery.Inspect(dir, true)
	if err != nil || r.Verdict != recovery.Intact {
		t.Fatalf("%s: %v, %v", dir, r, err)
	}
	j, err := journal.OpenReadOnly(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if j.First() != first || int(j.Last()-first)+1 != len(words) {
		t.Fatalf("%s: %d to %d, want %d records from %d", dir, j.First(), j.Last(), len(words), first)
	}
	for rec, err := range j.Records(first) {
		if err != nil {
			t.Fatal(err)
		}
		if w := words[rec.Seq-first]; !bytes.HasPrefix(rec.Payload, []byte(w+" ")) {
			t.Fatalf("%s: record %d is %.20q, not of %s", dir, rec.Seq, rec.Payload, w)
		}
	}
}

func repeat(n int, words ...string) (all []string) {
	for _, w := range words {
		for range n {
			all = append(all, w)
		}
	}
	return all
}

// TestHardLinkedSnapshot: a closed journal and its snapshot both go on; neither shows the other's
// records or has a file changed, whichever is written to first, and whatever it does.
func TestHardLinkedSnapshot(t *testing.T) {
	works := []struct {
		name string
		do   func(t *testing.T, j *journal.Journal)
	}{
		{"append", func(*testing.T, *journal.Journal) {}},
		{"truncate front", func(t *testing.T, j *journal.Journal) { run(t, j.TruncateFront(150)) }},
		{"truncate back", func(t *testing.T, j *journal.Journal) { run(t, j.TruncateBack(199)) }},
		{"truncate back far", func(t *testing.T, j *journal.Journal) { run(t, j.TruncateBack(10)) }},
		{"reset", func(t *testing.T, j *journal.Journal) { run(t, j.Reset(1)) }},
		{"sync", func(t *testing.T, j *journal.Journal) { run(t, j.Sync(context.Background())) }},
	}
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, closed := range []bool{true, false} {
			for _, w := range works {
				t.Run(fmt.Sprintf("%v, closed %v, %s", d, closed, w.name), func(t *testing.T) {
					testSnapshot(t, d, closed, w.do)
				})
			}
		}
	}
}

func testSnapshot(
	t *testing.T, d journal.Durability, closed bool, work func(*testing.T, *journal.Journal),
) {
	base := t.TempDir()
	dir, snap := filepath.Join(base, "wal"), filepath.Join(base, "snapshot")
	j := openSmall(t, dir, d)
	appendText(t, j, "common", 200)
	run(t, j.Sync(context.Background()))
	if closed {
		mustClose(t, j)
		snapshot(t, dir, snap)
	} else { // what kill -9 leaves
		killed := filepath.Join(base, "killed")
		copyFiles(t, dir, killed)
		mustClose(t, j)
		dir = killed
		snapshot(t, dir, snap)
	}
	before := contents(t, snap)

	j = openSmall(t, dir, d)
	work(t, j)
	appendText(t, j, "ours", 150)
	appendText(t, j, "ours", 150)
	mustClose(t, j)
	if now := contents(t, snap); !maps.EqualFunc(now, before, bytes.Equal) {
		for name := range before {
			if !bytes.Equal(now[name], before[name]) {
				t.Errorf("the snapshot's %s has changed", name)
			}
		}
	}
	checkText(t, snap, 1, repeat(200, "common")...)

	before = contents(t, dir)
	j = openSmall(t, snap, d)
	work(t, j)
	appendText(t, j, "theirs", 300)
	mustClose(t, j)
	if now := contents(t, dir); !maps.EqualFunc(now, before, bytes.Equal) {
		t.Error("the first journal has changed")
	}
	for name, word := range map[string]string{dir: "ours", snap: "theirs"} {
		j, err := journal.OpenReadOnly(name, nil)
		run(t, err)
		b, err := j.Read(j.Last(), nil)
		run(t, err)
		if !bytes.HasPrefix(b, []byte(word)) {
			t.Errorf("%s: the last record is %.20q", name, b)
		}
		run(t, j.Close())
		mustBeIntact(t, name)
	}
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	run(t, os.Mkdir(to, 0o700))
	for name, b := range contents(t, from) {
		run(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
	}
}

// TestLinkWhileOpen: a second link appears while the journal is open. From the next sync or
// structural change on its segment is not written to again, and the journal goes on in a new one.
func TestLinkWhileOpen(t *testing.T) {
	changes := []struct {
		name string
		do   func(j *journal.Journal) error
	}{
		{"sync", func(j *journal.Journal) error {
			_, err := j.Append([]byte("noticed after this one"))
			return cmp.Or(err, j.Sync(context.Background()))
		}},
		{"truncate front", func(j *journal.Journal) error { return j.TruncateFront(2) }},
		{"truncate back", func(j *journal.Journal) error { return j.TruncateBack(j.Last() - 1) }},
		{"reset", func(j *journal.Journal) error { return j.Reset(1) }},
		{"close", func(j *journal.Journal) error { return nil }},
	}
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, c := range changes {
			t.Run(fmt.Sprintf("%v, %s", d, c.name), func(t *testing.T) {
				base := t.TempDir()
				dir, snap := filepath.Join(base, "wal"), filepath.Join(base, "snapshot")
				j := openSmall(t, dir, d)
				appendText(t, j, "common", 100)
				run(t, j.Sync(context.Background()))
				run(t, journal.Prepare(j, 1)) // nothing is being prepared then
				snapshot(t, dir, snap)
				run(t, c.do(j))
				before, times := contents(t, snap), modified(t, snap)
				if c.name != "close" {
					appendText(t, j, "ours", 200)
				}
				mustClose(t, j)
				for name, b := range contents(t, snap) {
					if !bytes.Equal(before[name], b) {
						t.Errorf("the snapshot's %s has changed", name)
					}
				}
				if now := modified(t, snap); !maps.Equal(now, times) {
					t.Errorf("times of the snapshot's files: %v, then %v", times, now)
				}
				mustBeIntact(t, dir)
				last := openSmall(t, dir, d)
				appendText(t, last, "more", 10)
				mustClose(t, last)
			})
		}
	}
}

// TestLinkWhileAppending: the second link appears while several goroutines append: records are
// buffered when the sync before them notices it. All of them are acknowledged, and are there.
func TestLinkWhileAppending(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "wal")
	j := openSmall(t, dir, journal.Synced)
	var wg sync.WaitGroup
	var enough atomic.Bool
	for range 8 {
		wg.Go(func() {
			for !enough.Load() {
				if _, err := j.Append([]byte("x a record")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		snapshot(t, dir, filepath.Join(base, fmt.Sprint(i)))
		seen := j.Last()
		wait.Until(t, "another record", func() bool { return j.Last() > seen+100 || t.Failed() })
	}
	enough.Store(true)
	wg.Wait()
	last := int(j.Last())
	mustClose(t, j)
	checkText(t, dir, 1, repeat(last, "x")...)
}
