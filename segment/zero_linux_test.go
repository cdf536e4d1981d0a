package segment

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestZeroRange: the bytes of the range are zero, others stay as they are, and so does the size,
// wherever it begins and ends.
func TestZeroRange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	full := bytes.Repeat([]byte("x"), 5*ZeroFolio+100)
	for _, c := range []struct{ from, to int64 }{
		{0, int64(len(full))}, {4096, 5 * ZeroFolio}, {4096, 8192}, {1, ZeroFolio + 1},
		{ZeroFolio, 2 * ZeroFolio}, {ZeroFolio - 1, ZeroFolio}, {7, 7}, {4096, 0},
	} {
		if err := os.WriteFile(path, full, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := OS.Open(path, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Zero(c.from, c.to); err != nil {
			t.Fatalf("%d to %d: %v", c.from, c.to, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(full)
		if c.from < c.to {
			clear(want[c.from:c.to])
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := firstDifference(got, want); d != "" {
			t.Errorf("%d to %d: %s", c.from, c.to, d)
		}
		if err := f.Zero(0, 1); c.from < c.to && err == nil {
			t.Error("a closed file is filled")
		}
	}
	f, err := OS.Open(path, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Zero(0, 1); err == nil {
		t.Error("a file that is open for reading is filled")
	}
}
