package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// fullEnv makes the test binary append to the journal in a directory until there is no space, and
// kill itself then.
const fullEnv = "JOURNALTOOL_TEST_FULL"

func init() {
	if dir := os.Getenv(fullEnv); dir != "" {
		fmt.Fprintln(os.Stderr, fillAndDie(dir))
		os.Exit(1)
	}
}

func fillAndDie(dir string) error {
	j, err := journal.Open(dir, &journal.Options{Durability: journal.Published})
	for n := 1; err == nil; n++ {
		_, err = j.Append(fmt.Appendf(nil, "record %d", n))
	}
	if !errors.Is(err, journal.ErrNoSpace) {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// fullVolume returns the directory of a journal on a volume without a free block, whose writer was
// killed, and the seq of its last record.
func fullVolume(t *testing.T) (dir string, last int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	top := t.TempDir()
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(top, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir = filepath.Join(top, "log")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), fullEnv+"="+dir)
	out, err := child.CombinedOutput()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("the child was not killed: %v: %s", err, out)
	}
	filler := make([]byte, 2<<20)
	err = os.WriteFile(filepath.Join(top, "filler"), filler, 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the volume: %v", err)
	}
	return dir, strings.Count(mustTool(t, "", "cat", dir), "\n")
}

// TestTruncateFullVolume: where not a block is free, records can be dropped after a crash, and
// others appended then.
func TestTruncateFullVolume(t *testing.T) {
	for _, c := range []struct {
		name  string
		flag  string
		seq   func(last int) int
		first func(last int) int
		count func(last int) int // of the records that are left
	}{
		{"front", "--front",
			func(last int) int { return last - 1 },
			func(last int) int { return last - 1 }, func(int) int { return 2 }},
		{"all", "--front",
			func(last int) int { return last + 1 },
			func(last int) int { return last + 1 }, func(int) int { return 0 }},
		{"back", "--back",
			func(int) int { return 3 },
			func(int) int { return 1 }, func(int) int { return 3 }},
		{"all, back", "--back",
			func(int) int { return 0 },
			func(int) int { return 1 }, func(int) int { return 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, last := fullVolume(t)
			first, count := c.first(last), c.count(last)
			next := first + count
			want := fmt.Sprintf("first %d last %d\n", first, next-1)
			if said := mustTool(t, "", "truncate", c.flag, fmt.Sprint(c.seq(last)), dir); said != want {
				t.Errorf("truncate says %q, want %q", said, want)
			}
			if got := mustTool(t, "", "cat", dir); got != numbered(first, count) {
				t.Errorf("cat prints %d bytes", len(got))
			}
			want = fmt.Sprintf("appended 100 first %d last %d\n", next, next+99)
			if said := mustTool(t, numbered(next, 100), "append", dir); said != want {
				t.Errorf("append says %q, want %q", said, want)
			}
			if got := mustTool(t, "", "cat", dir); got != numbered(first, count+100) {
				t.Errorf("after appends, cat prints %d bytes", len(got))
			}
			mustTool(t, "", "verify", dir)
		})
	}
}

// TestAppendFullVolume: the error of an append where no space is left says how to get some.
func TestAppendFullVolume(t *testing.T) {
	dir, _ := fullVolume(t)
	r := tool(strings.Repeat("x", 60_000), "append", "--whole", dir)
	if r.code != exitOther || !strings.Contains(r.stderr, "no space") ||
		!strings.Contains(r.stderr, "journaltool truncate --front SEQ "+dir) {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}
