//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"os"
	"runtime/debug"
	"testing"
)

// TestMoveFaults: a file that is cut short while frames are staged makes Move return a FaultError
// where it stores, and the sync after it an error where it writes. Later groups fail, too.
func TestMoveFaults(t *testing.T) {
	for _, how := range movedBy {
		t.Run(how.name, func(t *testing.T) {
			for _, setting := range []bool{false, true} {
				w := realWriter(t, 0)
				s := w.Segment()
				w.Use(&Stage{Least: how.least})
				end := s.End()
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
				if how.least == 0 {
					if err = errors.Join(err, s.Sync()); !errors.Is(err, ErrShort) {
						t.Errorf("Move and Sync: %v", err)
					}
					continue
				}
				expectFault(t, err, s, "append", end)
				mustAppend(t, w, "three")
				expectFault(t, w.Take().Move(), s, "append", end)
				if s.End() != end {
					t.Errorf("published to %d, want %d", s.End(), end)
				}
			}
		})
	}
}
