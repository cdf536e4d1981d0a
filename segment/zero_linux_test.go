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
	probe, err := OS.Open(path, Create)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	if !probe.Zero(0, 1) {
		t.Skip("this kernel does not fill files")
	}
	full := bytes.Repeat([]byte("x"), 5*zeroFolio+100)
	for _, c := range []struct{ from, to int64 }{
		{0, int64(len(full))}, {4096, 5 * zeroFolio}, {4096, 8192}, {1, zeroFolio + 1},
		{zeroFolio, 2 * zeroFolio}, {zeroFolio - 1, zeroFolio}, {7, 7}, {4096, 0},
	} {
		if err := os.WriteFile(path, full, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := OS.Open(path, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Zero(c.from, c.to) {
			t.Fatalf("%d to %d are not filled", c.from, c.to)
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
		if f.Zero(0, 1) {
			t.Error("a closed file is filled")
		}
	}
	f, err := OS.Open(path, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Zero(0, 1) {
		t.Error("a file that is open for reading is filled")
	}
}
