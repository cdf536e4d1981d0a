//go:build linux

package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/nobody"
	"mmjournal/journal"
)

// What keeps a process from its files for a while is an error of the call that meets it, if any.
// The journal does not fail for it.

// TestDeepPath: the journal's path, or one that leads to it by way of the root, may be longer than
// the system takes.
func TestDeepPath(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	name := strings.Repeat("d", 200)
	for range 25 {
		run(t, os.Mkdir(name, 0o700), os.Chdir(name))
	}
	j := mustOpen(t, "wal", smallSegments)
	want, err := use(j)
	run(t, err, j.Close())
	j = mustOpen(t, "wal", smallSegments)
	expect(t, j, j.First(), want...)
	run(t, os.Chdir(base))
	_, err = use(j)
	run(t, err, j.Close())
}

// unreachable are calls on a journal with 40 records of 3,000 bytes that open or remove files.
var unreachable = map[string]func(j *journal.Journal) error{
	"TruncateFront": func(j *journal.Journal) error { return j.TruncateFront(20) },
	"TruncateBack":  func(j *journal.Journal) error { return j.TruncateBack(30) },
	"Reset":         func(j *journal.Journal) error { return j.Reset(7) },
	"roll": func(j *journal.Journal) error {
		for range 50 { // two segments at least: one of them is not ready
			if _, err := j.Append(make([]byte, 3000)); err != nil {
				return err
			}
		}
		return nil
	},
}

// TestFewDescriptors: a process that has few descriptors left, or none, gets errors, and goes on
// when it has some.
func TestFewDescriptors(t *testing.T) {
	var old syscall.Rlimit
	run(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	for name, call := range unreachable {
		for left := range uint64(3) {
			dir := t.TempDir()
			j := mustOpen(t, dir, smallSegments)
			for range 40 {
				mustAppend(t, j, make([]byte, 3000))
			}
			run(t, journal.Prepare(j, 1)) // and no goroutine that opens files
			list, err := os.ReadDir("/proc/self/fd")
			run(t, err)
			few := old
			few.Cur = uint64(len(list)-1) + left // without that of the list itself
			run(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
			err = call(j)
			run(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old))
			if err != nil {
				if errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EMFILE) {
					t.Errorf("%s, %d left: %v", name, left, err)
				}
				if err := call(j); err != nil {
					t.Errorf("%s, %d left, with descriptors again: %v", name, left, err)
				}
			}
			mustClose(t, j)
			mustClose(t, mustOpen(t, dir, &journal.Options{VerifyOnOpen: true}))
		}
	}
}

// blockedEnv and forbiddenEnv name the directory in which blockedChild and forbiddenChild work.
const blockedEnv, forbiddenEnv = "MMJOURNAL_TEST_BLOCKED", "MMJOURNAL_TEST_FORBIDDEN"

func init() { childWork[blockedEnv], childWork[forbiddenEnv] = blockedChild, forbiddenChild }

// TestBlockedParent: a directory that can be reached no more, because permission is missing on the
// way to it, is the same directory still.
func TestBlockedParent(t *testing.T) {
	user := nobody.New(t)
	cmd := user.Command(t)
	cmd.Env = append(cmd.Env, blockedEnv+"="+user.Dir+"/data")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// blockedChild uses a journal, and takes the permission away from itself to reach it.
func blockedChild(dir string) error {
	path := filepath.Join(dir, "parent", "wal")
	for _, level := range levels {
		o := &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: level}
		j, err := journal.Open(path, o)
		if err != nil {
			return err
		}
		if err := os.Chmod(filepath.Dir(path), 0); err != nil {
			return err
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("it can be reached: %w", err)
		}
		want, err := use(j)
		if err = errors.Join(err, j.Close(), os.Chmod(filepath.Dir(path), 0o700)); err != nil {
			return fmt.Errorf("%v: %w", level, err)
		}
		if j, err = journal.Open(path, o); err != nil {
			return err
		}
		if n := int(j.Last() + 1 - j.First()); n != len(want) {
			err = fmt.Errorf("%v: %d records instead of %d", level, n, len(want))
		}
		if err = errors.Join(err, j.Close()); err != nil {
			return err
		}
	}
	return nil
}

// TestForbidden: a directory that its writer may not use for a while makes calls fail, and not the
// journal.
func TestForbidden(t *testing.T) {
	user := nobody.New(t)
	cmd := user.Command(t)
	cmd.Env = append(cmd.Env, forbiddenEnv+"="+user.Dir+"/data")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// forbiddenChild takes the permission away from itself to use the directory of an open journal.
func forbiddenChild(dir string) error {
	for name, call := range unreachable {
		for _, level := range levels {
			path := filepath.Join(dir, name, level.String())
			refused, err := forbid(path, level, call)
			if err == nil && !refused && name == "roll" {
				err = errors.New("it makes segments without permission")
			}
			if err != nil {
				return fmt.Errorf("%s, %v: %w", name, level, err)
			}
		}
	}
	return nil
}

// forbid makes a call without permission, and, if that is refused, again with it.
func forbid(
	path string, level journal.Durability, call func(*journal.Journal) error,
) (refused bool, err error) {
	o := &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: level}
	j, err := journal.Open(path, o)
	if err != nil {
		return false, err
	}
	for range 40 {
		if _, err := j.Append(make([]byte, 3000)); err != nil {
			return false, err
		}
	}
	if err := errors.Join(journal.Prepare(j, 1), os.Chmod(path, 0)); err != nil {
		return false, err
	}
	err = call(j)
	refused = err != nil
	if errors.Is(err, journal.ErrFailed) || refused && !errors.Is(err, fs.ErrPermission) {
		return refused, fmt.Errorf("without permission: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return refused, err
	}
	if refused {
		if err := call(j); err != nil {
			return refused, fmt.Errorf("with permission again: %w", err)
		}
	}
	first, last := j.First(), j.Last()
	if err := j.Close(); err != nil {
		return refused, err
	}
	j, err = journal.Open(path, &journal.Options{VerifyOnOpen: true})
	if err != nil {
		return refused, err
	}
	if j.First() != first || j.Last() != last {
		err = fmt.Errorf("%d to %d instead of %d to %d", j.First(), j.Last(), first, last)
	}
	return refused, errors.Join(err, j.Close())
}

// TestOpenWithoutLocks: in a process that can lock nothing, Open says what failed on which path,
// and what to do, and creates no file. A reader does without locks where a file system has none.
func TestOpenWithoutLocks(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace: ", err)
	}
	dir := t.TempDir()
	makeJournal(t, filepath.Join(dir, "wal"), "own")
	before := tree(t, dir)
	for errno, readable := range map[string]bool{"ENOSYS": true, "ENOLCK": false, "EIO": false} {
		cmd := exec.CommandContext(t.Context(), strace, "-f", "-o", "/dev/null", "-e", "trace=flock",
			"-e", "inject=flock:error="+errno, os.Args[0])
		cmd.Env = append(os.Environ(), unlockedEnv+"="+dir)
		b, err := cmd.CombinedOutput()
		out := string(b)
		if strings.Contains(out, "ptrace") {
			t.Skipf("strace may not trace here: %s", out)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		lines := strings.Split(out, "\n")
		for i, name := range []string{"wal", "new", "wal"} {
			line, path := lines[i], filepath.Join(dir, name)
			if i == 2 && readable {
				if line != "<nil>" {
					t.Errorf("%s: OpenReadOnly: %s", errno, line)
				}
				continue
			}
			for _, text := range []string{"open journal", "flock", path, "Options.Unlocked"} {
				if !strings.Contains(line, text) {
					t.Errorf("%s: %s: no %q in it", errno, line, text)
				}
			}
		}
		run(t, os.Remove(filepath.Join(dir, "new"))) // an empty directory
		sameTree(t, dir, before)
	}
}

// unlockedEnv names the directory in which unlockedChild works.
const unlockedEnv = "MMJOURNAL_TEST_UNLOCKED"

func init() { childWork[unlockedEnv] = unlockedChild }

// unlockedChild prints the errors of opening a journal, a new one, and a journal for reading.
func unlockedChild(dir string) error {
	open := func(open func(string, *journal.Options) (*journal.Journal, error), name string) {
		j, err := open(filepath.Join(dir, name), nil)
		if err == nil {
			err = j.Close()
		}
		fmt.Println(strings.ReplaceAll(fmt.Sprint(err), "\n", " "))
	}
	open(journal.Open, "wal")
	open(journal.Open, "new")
	open(journal.OpenReadOnly, "wal")
	return nil
}
