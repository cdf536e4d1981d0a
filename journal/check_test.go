package journal_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// TestNoMapping: where files cannot be mapped to be written to, Open fails, and not the first
// append; with a new journal and with one that is there.
func TestNoMapping(t *testing.T) {
	for _, exists := range []bool{false, true} {
		d := simdisk.New(simdisk.Options{})
		run(t, d.MkdirAll(modelDir))
		if exists {
			j, err := journal.OpenFS(d, modelDir, nil)
			run(t, err, j.Close())
		}
		maps := 0
		d.OnOp = func(op simdisk.Op) error {
			if op.Kind == simdisk.OpMap {
				maps++
				return syscall.ENODEV
			}
			return nil
		}
		_, err := journal.OpenFS(d, modelDir, nil)
		if !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "shared mappings") {
			t.Errorf("exists %v: %v", exists, err)
		}
		if maps != 1 {
			t.Errorf("exists %v: tried to map %d times", exists, maps)
		}
		if h, n := d.Leaks(); h != 0 || n != 0 {
			t.Errorf("I12: %d handles and %d mappings are open", h, n)
		}
		d.OnOp = nil
		j, err := journal.OpenFS(d, modelDir, nil)
		run(t, err)
		mustAppend(t, j, []byte("x"))
		mustClose(t, j)
	}
}
