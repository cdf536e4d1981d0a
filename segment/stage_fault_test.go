//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"os"
	"runtime/debug"
	"testing"
)

// TestMoveFaults: a file that is cut short while frames are staged makes Move, or the sync after
// it, return ErrShort. Neither changes what SetPanicOnFault says.
func TestMoveFaults(t *testing.T) {
	for _, setting := range []bool{false, true} {
		w := realWriter(t, 0)
		s := w.Segment()
		w.use(&Stage{})
		mustAppend(t, w, "one", "two")
		if err := os.Truncate(s.Path(), 0); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, "staged all the same")
		was := debug.SetPanicOnFault(setting)
		err := w.Take().Move()
		if now := debug.SetPanicOnFault(was); now != setting {
			t.Errorf("SetPanicOnFault is %v, it was %v", now, setting)
		}
		if err = errors.Join(err, s.Sync()); !errors.Is(err, ErrShort) {
			t.Errorf("Move and Sync: %v", err)
		}
	}
}
