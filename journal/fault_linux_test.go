package journal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mmjournal/journal"
)

// A real full disk: a small tmpfs.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("mount tmpfs: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	sub := filepath.Join(dir, "j")
	o := &journal.Options{SegmentSize: 128 << 10}
	j := mustOpen(t, sub, o)
	p := bytes.Repeat([]byte("x"), 10_000)
	n := 0
	err := error(nil)
	for ; err == nil && n < 1000; n++ {
		_, err = j.Append(p)
	}
	n--
	if !errors.Is(err, journal.ErrNoSpace) {
		t.Fatalf("full disk: %v", err)
	}
	if err := j.Sync(t.Context()); err != nil {
		t.Errorf("Sync: %v", err)
	}
	mustClose(t, j)
	j = mustOpen(t, sub, o)
	if got := len(collect(t, j, 0)); got != n {
		t.Fatalf("%d records of %d", got, n)
	}
	if err := j.TruncateFront(journal.Seq(n/2 + 1)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mustAppend(t, j, p)
	}
	if _, err := journal.Open(filepath.Join(dir, "other"), &journal.Options{
		SegmentSize: 2 << 20,
	}); err != nil && !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("a second journal: %v", err)
	}
}
