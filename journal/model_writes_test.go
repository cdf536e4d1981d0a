package journal_test

import (
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// TestModelWrites: walks crash before and after the system calls that move what is staged, and let
// them fail.
func TestModelWrites(t *testing.T) {
	modelSetup(t)
	isMove := func(op simdisk.Op) bool {
		return op.Kind == simdisk.OpWrite && filepath.Ext(op.Path) == ".seg"
	}
	for _, text := range scripts {
		if strings.Contains(text, " d ") {
			continue // an error at an operation is another one than a full disk
		}
		w := newWalk(text, 1, 0, simdisk.Options{})
		crashes, failures := 0, 0
		l := w.first(func(_ *life, op simdisk.Op) {
			if isMove(op) {
				crashes++
			}
		})
		if !l.run(parseScript(w.text)) {
			t.Fatalf("%q", w.violations)
		}
		for _, op := range w.operations() {
			if isMove(op) {
				failures++
			}
		}
		if crashes > failures || w.durability == journal.Synced && crashes == 0 {
			t.Errorf("%q: crashes at %d of %d writes", text, crashes, failures)
		}
	}
}
