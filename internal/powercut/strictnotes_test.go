//go:build linux

package powercut

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestNotesOfKilled: notes go on behind those of a process that was killed as it wrote one.
func TestNotesOfKilled(t *testing.T) {
	var all bytes.Buffer
	notes := json.NewEncoder(&all)
	if err := notes.Encode(strictAllowed{Op: "first"}); err != nil {
		t.Fatal(err)
	}
	whole := all.Len()
	if err := notes.Encode(strictAllowed{Op: "second"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "notes")
	for n := whole; n < all.Len(); n++ {
		torn := bytes.Clone(all.Bytes()[:n])
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readNotes(path)
		want := 1
		if n == all.Len()-1 { // all but the end of the line
			want = 2
		}
		if err != nil || len(got) != want {
			t.Fatalf("%d bytes: %d notes, %v", n, len(got), err)
		}
		left, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(left, all.Bytes()...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err = readNotes(path); err != nil || len(got) != want+2 {
			t.Fatalf("%d bytes and two notes: %d notes, %v", n, len(got), err)
		}
	}
}
