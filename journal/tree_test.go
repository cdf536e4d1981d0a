package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// What tests share that have more than one directory with a journal.

// tree returns what a directory holds, by path; LOCK's content says nothing.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if e.Name() == "LOCK" {
			b = nil
		}
		all[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTree(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	if got := tree(t, dir); !maps.Equal(got, want) {
		names := func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
		var changed []string
		for name := range got {
			if _, ok := want[name]; ok && got[name] != want[name] {
				changed = append(changed, name)
			}
		}
		t.Errorf("I16: %s holds %q, changed %q; it had %q", dir, names(got), changed, names(want))
	}
}

// makeJournal makes a journal with records of several segments, of which some were dropped.
func makeJournal(t testing.TB, dir, what string) {
	t.Helper()
	j := mustOpen(t, dir, smallSegments)
	var last journal.Seq
	for i := range 60 {
		last = mustAppend(t, j, fmt.Appendf(nil, "%s %d %3000d", what, i, 0))
	}
	if err := errors.Join(j.TruncateFront(15), j.TruncateBack(last-5)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
}

func run(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// mustBeIntact reads and checks every byte of a journal.
func mustBeIntact(t testing.TB, dir string) {
	t.Helper()
	if r, err := recovery.Inspect(dir, true); err != nil || r.Verdict != recovery.Intact {
		t.Errorf("%s: %v, %v", dir, r, err)
	}
}
