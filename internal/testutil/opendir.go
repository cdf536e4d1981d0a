package testutil

import (
	"testing"

	"mmjournal/segment"
)

// OpenDir opens a directory for the duration of a test.
func OpenDir(tb testing.TB, path string) segment.FS {
	tb.Helper()
	d, err := segment.OpenDir(path, segment.DirOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}
