//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/nobody"
)

// TestServiceKeepsItsJournal: root appends to the journal of a service, and truncates it, also
// where that recovers it first. The service can go on, and so can the group that may read it.
func TestServiceKeepsItsJournal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user than the service")
	}
	user := nobody.New(t)
	for _, killed := range []bool{false, true} {
		name := "closed"
		if killed {
			name = "killed"
		}
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(user.Dir, name)
			next := 1
			service := func() {
				t.Helper()
				serviceAppends(t, user, log, next, 10, killed)
				next += 10
			}
			root := func(args ...string) {
				t.Helper()
				mustTool(t, numbered(next, 3000), append(args, log)...)
				wantServiceFiles(t, strings.Join(args, " "), log)
				if args[0] == "append" {
					next += 3000
				}
			}
			service()
			files, err := filepath.Glob(filepath.Join(log, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range files {
				if err := os.Chmod(path, 0o640); err != nil {
					t.Fatal(err)
				}
			}
			root("append") // rolls
			service()
			root("truncate", "--front", "2500")
			service()
			root("truncate", "--back", "3018")
			next = 3019
			service()
			root("append")
			wantServiceFiles(t, "at the end", log)
			if got := mustTool(t, "", "cat", log); got != numbered(2500, next-2500) {
				t.Errorf("cat prints %d bytes, to %d", len(got), next-1)
			}
			mustTool(t, "", "verify", log)
		})
	}
}

// serviceAppends appends numbered records as nobody, in a process that is killed then or ends.
func serviceAppends(t *testing.T, user *nobody.User, log string, first, n int, killed bool) {
	t.Helper()
	cmd := user.Command(t, "append", "--segment-size", "64K", "--durability", "synced",
		"--progress", log)
	cmd.Env = append(cmd.Env, asTool+"=1")
	cmd.Stderr = os.Stderr
	in, out := startPiped(t, cmd)
	if _, err := io.WriteString(in, numbered(first, n)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range n { // "durable N" for each
		if !lines.Scan() {
			t.Fatalf("the service has ended: %v", cmd.Wait())
		}
	}
	var err error
	if killed {
		err = cmd.Process.Kill()
	} else {
		err = in.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); (err == nil) == killed {
		t.Fatalf("the service: %v", err)
	}
}

// wantServiceFiles checks that all files belong to nobody, and that nobody's group may read them.
func wantServiceFiles(t *testing.T, what, log string) {
	t.Helper()
	list, err := os.ReadDir(log)
	if err != nil || len(list) < 3 {
		t.Fatalf("%d files, %v", len(list), err)
	}
	for _, e := range list {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		st := fi.Sys().(*syscall.Stat_t)
		if fi.Mode().Perm() != 0o640 || st.Uid != nobody.ID || st.Gid != nobody.ID {
			t.Errorf("%s: %s has mode %v, owner %d, group %d", what, e.Name(), fi.Mode(), st.Uid, st.Gid)
		}
	}
}
