package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestNobodyRolls: within what an unsynced run may append no implementation begins another file.
func TestNobodyRolls(t *testing.T) {
	for _, impl := range withCaps(canAppend) {
		for _, size := range []int{16, 128, 16384} {
			dir := t.TempDir()
			l, err := impl.start(dir, OpenOptions{Segment: mib}, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := warm(l, mib); err != nil {
				t.Fatal(err)
			}
			before := logFiles(t, dir)
			w := load{goroutines: 1, size: size, most: roomFor(mib, size), chunk: 1}
			if m, err := drive(l, w); err != nil || m["ops"] != float64(w.most) {
				t.Fatalf("%s: %v, %v", impl.Name, m, err)
			}
			if after := logFiles(t, dir); after != before {
				t.Errorf("%s, %d bytes: from %s to %s", impl.Name, size, before, after)
			}
		}
	}
}

// logFiles names the files below a directory, but for those that are made to be renamed.
func logFiles(t *testing.T, dir string) string {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) != ".tmp" {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}
