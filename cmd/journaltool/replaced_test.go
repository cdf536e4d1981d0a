//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplacedDirectory: another journal takes the path of the one that append works on. It gets
// nothing, and append does not report success.
func TestReplacedDirectory(t *testing.T) {
	for _, level := range []string{"published", "synced"} {
		t.Run(level, func(t *testing.T) {
			dir, other := newJournal(t, 10), newJournal(t, 20)
			r, w := io.Pipe()
			var out, errs bytes.Buffer
			code := make(chan int)
			go func() {
				args := []string{"append", "--durability", level, dir}
				c := run(context.Background(), args, r, &out, &errs)
				_ = r.Close() // it may stop before the end of the input
				code <- c
			}()
			write := func(text string) {
				t.Helper()
				_, err := io.WriteString(w, text)
				if err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Fatal(err)
				}
			}
			write(numbered(11, 1)) // read: the journal is open
			old := filepath.Join(t.TempDir(), "old")
			if err := os.Rename(dir, old); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, dir); err != nil {
				t.Fatal(err)
			}
			write(numbered(12, 5000)) // more than a segment
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if c := <-code; c != exitOther || out.Len() > 0 ||
				!strings.Contains(errs.String(), "removed or replaced") {
				t.Errorf("exit code %d, output %q, stderr %q", c, &out, &errs)
			}
			if got := mustTool(t, "", "cat", dir); got != numbered(1, 20) {
				t.Errorf("the other journal has %d bytes of records", len(got))
			}
			mustTool(t, "", "verify", dir)
			if got := mustTool(t, "", "cat", old); !strings.HasPrefix(got, numbered(1, 10)) {
				t.Errorf("its own journal has %d bytes of records", len(got))
			}
		})
	}
}
