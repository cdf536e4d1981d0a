//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"bytes"
	"os"
	"testing"
)

// TestWriterStandsAfterFault: an append that ends in a fault leaves the writer where it was, staged
// or not, in a single record or in a batch: who takes what is staged then, or looks how far the
// appends have come, finds what was appended before and nothing else.
func TestWriterStandsAfterFault(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 6<<10)
	for _, c := range []struct {
		name   string
		staged bool
		fault  func(w *Writer, lost []byte) error // lost cannot be read
	}{
		{"a payload of this segment, staged", true, func(w *Writer, lost []byte) error {
			return w.Append(lost, 0)
		}},
		{"a function, staged", true, func(w *Writer, lost []byte) error {
			_, err := w.AppendFunc(len(lost), func(dst []byte) error {
				copy(dst, lost)
				return nil
			})
			return err
		}},
		{"a batch, staged", true, func(w *Writer, lost []byte) error {
			return w.AppendBatch([][]byte{large, lost}, make([]uint32, 2))
		}},
		{"a batch, in the mapping", false, func(w *Writer, lost []byte) error {
			return w.AppendBatch([][]byte{large, large, large, large}, make([]uint32, 4))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := realWriter(t, 0)
			s := w.Segment()
			mustAppend(t, w, "durable")
			if c.staged {
				w.use(&Stage{})
			}
			mustAppend(t, w, "another's")
			at, next := w.Position(), w.Next()
			kept := pageEnd(at.Offset) + 2*pageSize // the rest of the file is cut off
			if err := os.Truncate(s.Path(), int64(kept)); err != nil {
				t.Fatal(err)
			}
			if err := c.fault(w, s.m.b[kept:kept+2*pageSize]); err == nil {
				t.Fatal("no fault")
			}
			if w.Position() != at || w.Next() != next {
				t.Errorf("the writer is at %v, seq %d; it was at %v, seq %d",
					w.Position(), w.Next(), at, next)
			}
			if err := w.Take().Move(); err != nil {
				t.Fatal(err)
			}
			if s.End() != at.Offset || s.Next() != next {
				t.Errorf("published to %d, seq %d, want %d, seq %d", s.End(), s.Next(), at.Offset, next)
			}
			for i, want := range []string{"another's", "durable"} {
				if p, err := s.Read(next-1-Seq(i), nil); err != nil || string(p) != want {
					t.Errorf("%q is not there: %v", want, err)
				}
			}
		})
	}
}
