//go:build linux

package journal_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// What happens to the path of an open journal must not lead any operation to the files of another
// one: a second journal, which the path leads to by then, is byte for byte what it was.

// use does to a journal what makes it change names, and returns the records that it should have
// then, and the first error.
func use(j *journal.Journal) (want []string, err error) {
	for rec, err := range j.Records(0) {
		if err != nil {
			return nil, err
		}
		want = append(want, string(rec.Payload))
	}
	add := func(n int) error {
		for i := range n {
			p := fmt.Sprintf("used %d %3000d", i, 0)
			if _, err := j.Append([]byte(p)); err != nil {
				return err
			}
			want = append(want, p)
		}
		return nil
	}
	drop := func(front, back int) error {
		if err := j.TruncateFront(j.First() + journal.Seq(front)); err != nil {
			return err
		}
		if err := j.TruncateBack(j.Last() - journal.Seq(back)); err != nil {
			return err
		}
		want = want[front : len(want)-back]
		return nil
	}
	if err := add(50); err != nil {
		return want, err
	}
	if err := drop(30, 3); err != nil {
		return want, err
	}
	return want, add(2)
}

// detour is what happens to the path of an open journal.
type detour struct {
	name string
	// prepare makes the journal's directory, in dir, and returns by which path it is opened.
	prepare func(t *testing.T, dir string) (path string)
	// divert makes that path lead to the other journal; it returns where the two are then.
	divert func(t *testing.T, dir, other string) (ownNow, otherNow string)
	// replaced: the directory counts as replaced; otherwise the journal goes on.
	replaced bool
}

func wal(_ *testing.T, dir string) string { return filepath.Join(dir, "wal") }

// mounted mounts something over a directory until the test is over.
func mounted(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		t.Skip("needs to mount: ", err)
	}
	t.Cleanup(func() { run(t, syscall.Unmount(target, syscall.MNT_DETACH)) })
}

// spare opens a directory to find it again when something is mounted over it.
func spare(t *testing.T, dir string) (path string) {
	t.Helper()
	f, err := os.Open(dir)
	run(t, err)
	t.Cleanup(func() { f.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
}

var detours = []detour{
	{
		name: "chdir",
		prepare: func(t *testing.T, dir string) string {
			t.Chdir(dir)
			return "wal"
		},
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Chdir(filepath.Dir(other)))
			return filepath.Join(dir, "wal"), other
		},
	},
	{
		name: "link",
		prepare: func(t *testing.T, dir string) string {
			run(t, os.Mkdir(dir+"/wal", 0o700), os.Symlink("wal", dir+"/link"))
			return dir + "/link"
		},
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Symlink(other, dir+"/new"), os.Rename(dir+"/new", dir+"/link"))
			return dir + "/wal", other
		},
	},
	{
		name: "link above",
		prepare: func(t *testing.T, dir string) string {
			run(t, os.Mkdir(dir+"/real", 0o700), os.Symlink("real", dir+"/link"))
			return dir + "/link/wal"
		},
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Symlink(filepath.Dir(other), dir+"/new"), os.Rename(dir+"/new", dir+"/link"))
			return dir + "/real/wal", other
		},
	},
	{
		name: "renamed", prepare: wal,
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Rename(dir+"/wal", dir+"/old"))
			return dir + "/old", other
		},
	},
	{
		name: "parent renamed and recreated",
		prepare: func(t *testing.T, dir string) string {
			run(t, os.Mkdir(dir+"/a", 0o700))
			return dir + "/a/wal"
		},
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Rename(dir+"/a", dir+"/b"), os.Mkdir(dir+"/a", 0o700),
				os.Rename(other, dir+"/a/wal"))
			return dir + "/b/wal", dir + "/a/wal"
		},
	},
	{
		name: "renamed, and a link to another", prepare: wal, replaced: true,
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Rename(dir+"/wal", dir+"/old"), os.Symlink(other, dir+"/wal"))
			return dir + "/old", other
		},
	},
	{
		name: "renamed and recreated", prepare: wal, replaced: true,
		divert: func(t *testing.T, dir, other string) (string, string) {
			run(t, os.Rename(dir+"/wal", dir+"/old"), os.Rename(other, dir+"/wal"))
			return dir + "/old", dir + "/wal"
		},
	},
	{
		name: "tmpfs over it", prepare: wal, replaced: true,
		divert: func(t *testing.T, dir, other string) (string, string) {
			own := spare(t, dir+"/wal")
			mounted(t, "tmpfs", dir+"/wal", "tmpfs", 0)
			run(t, os.CopyFS(dir+"/wal", os.DirFS(other)))
			return own, dir + "/wal"
		},
	},
	{
		name: "bind mount over it", prepare: wal, replaced: true,
		divert: func(t *testing.T, dir, other string) (string, string) {
			own := spare(t, dir+"/wal")
			mounted(t, other, dir+"/wal", "", syscall.MS_BIND)
			return own, other
		},
	},
	{
		name: "bind mount over the parent",
		prepare: func(t *testing.T, dir string) string {
			run(t, os.Mkdir(dir+"/a", 0o700))
			return dir + "/a/wal"
		},
		divert: func(t *testing.T, dir, other string) (string, string) {
			own := spare(t, dir+"/a/wal")
			mounted(t, filepath.Dir(other), dir+"/a", "", syscall.MS_BIND)
			return own, other
		},
	},
}

// TestDetours: wherever the path of an open journal leads, its operations stay in its directory.
func TestDetours(t *testing.T) {
	for _, d := range detours {
		for _, level := range levels {
			t.Run(d.name+", "+level.String(), func(t *testing.T) {
				dir, other := t.TempDir(), filepath.Join(t.TempDir(), "wal")
				path := d.prepare(t, dir)
				makeJournal(t, path, "own")
				makeJournal(t, other, "other")
				before := tree(t, other)
				o := &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: level}
				j := mustOpen(t, path, o)
				mustAppend(t, j, []byte("before"))
				run(t, j.Sync(t.Context()))
				durable := collect(t, j, 0)
				first := j.First()
				reader, err := journal.OpenReadOnly(path, nil)
				run(t, err)

				own, other := d.divert(t, dir, other)
				want, err := use(j)
				closeErr := j.Close()
				expect(t, reader, first, durable...)
				run(t, reader.Close())
				sameTree(t, other, before)
				if !d.replaced {
					run(t, err, closeErr)
				} else {
					isReplaced(t, "use", err)
					isReplaced(t, "Close", closeErr)
				}
				j = mustOpen(t, own, o)
				defer mustClose(t, j)
				if !d.replaced {
					expect(t, j, j.First(), want...)
				} else if got := collect(t, j, 0); j.First() != first ||
					len(got) < len(durable) || !slices.Equal(got[:len(durable)], durable) {
					t.Errorf("I1: %d records are left of %d, from %d", len(got), len(durable), j.First())
				}
			})
		}
	}
}

func isReplaced(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, journal.ErrReplaced) || !errors.Is(err, journal.ErrFailed) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestOldProcess: a journal that is still open, or being closed, while another one works in a fresh
// directory under the same path does the new one no harm.
func TestOldProcess(t *testing.T) {
	for _, level := range levels {
		for name, leave := range map[string]func(path string) error{
			"renamed": func(path string) error { return os.Rename(path, path+".old") },
			"removed": removeAll,
		} {
			t.Run(level.String()+", "+name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "wal")
				o := &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: level}
				old := mustOpen(t, path, o)
				for range 50 {
					mustAppend(t, old, make([]byte, 3000))
				}
				run(t, leave(path))
				j := mustOpen(t, path, o)
				done := make(chan error)
				go func() {
					var errs []error
					for range 20 {
						_, err := old.Append(make([]byte, 3000))
						errs = append(errs, err)
					}
					errs = append(errs, old.TruncateFront(40), old.Close())
					done <- errors.Join(errs...)
				}()
				var want []string
				for i := range 100 {
					p := fmt.Sprintf("new %d %2000d", i, 0)
					mustAppend(t, j, []byte(p))
					want = append(want, p)
				}
				isReplaced(t, "the old one", <-done)
				mustClose(t, j)
				j = mustOpen(t, path, o)
				expect(t, j, 1, want...)
				mustClose(t, j)
			})
		}
	}
}

// oldEnv names the directory whose journal oldChild opens.
const oldEnv = "MMJOURNAL_TEST_OLD"

func init() { childWork[oldEnv] = oldChild }

// oldChild appends to a journal, says so, and closes it when its input ends. Close must say that
// the directory has been replaced.
func oldChild(path string) error {
	j, err := journal.Open(path, smallSegments)
	if err != nil {
		return err
	}
	if _, err := use(j); err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := j.Close(); !errors.Is(err, journal.ErrReplaced) {
		return fmt.Errorf("Close: %w", err)
	}
	return nil
}

// TestOldProcessEnds: a process that does nothing more than to end does no harm either.
func TestOldProcessEnds(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"removed": removeAll,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "wal")
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), oldEnv+"="+path)
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			run(t, err)
			out, err := cmd.StdoutPipe()
			run(t, err, cmd.Start())
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatalf("the old process: %q, %v, %v", line, err, cmd.Wait())
			}
			run(t, leave(path))
			j := mustOpen(t, path, smallSegments)
			var want []string
			for i := range 100 {
				if i == 20 {
					run(t, in.Close()) // it closes its journal while this one rolls
				}
				p := fmt.Sprintf("new %d %2000d", i, 0)
				mustAppend(t, j, []byte(p))
				want = append(want, p)
			}
			run(t, cmd.Wait(), j.Close())
			j = mustOpen(t, path, smallSegments)
			expect(t, j, 1, want...)
			mustClose(t, j)
		})
	}
}

// gone is what can be taken away from under an open journal.
var gone = []struct {
	name string
	take func(dir string) error
}{
	{"directory", removeAll},
	{"directory, recreated", func(dir string) error {
		return errors.Join(removeAll(dir), os.Mkdir(dir, 0o700))
	}},
	{"directory, renamed and recreated", func(dir string) error {
		return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o700))
	}},
	{"parent", func(dir string) error { return removeAll(filepath.Dir(dir)) }},
	{"all files", func(dir string) error {
		list, err := filepath.Glob(dir + "/*")
		for _, path := range list {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}},
	{"active segment", func(dir string) error { return os.Remove(activeSegment(dir)) }},
	{"active segment, moved", func(dir string) error {
		return os.Rename(activeSegment(dir), dir+".seg")
	}},
	{"active segment, moved and replaced", func(dir string) error {
		path := activeSegment(dir)
		b, err := os.ReadFile(path)
		return errors.Join(err, os.Rename(path, dir+".seg"), os.WriteFile(path, b, 0o600))
	}},
	{"active segment, removed, with a second name", func(dir string) error {
		path := activeSegment(dir)
		return errors.Join(os.Link(path, dir+".seg"), os.Remove(path))
	}},
	{"active segment, replaced", func(dir string) error {
		path := activeSegment(dir)
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path+".x", b, 0o600), os.Rename(path+".x", path))
	}},
}

// activeSegment returns the first segment's path: these journals have one, and one prepared.
func activeSegment(dir string) string { return filepath.Join(dir, "0000000000000001.seg") }

// TestGone: after the directory, or the file that is written to, has been taken away, nothing is
// acknowledged as durable, whichever call comes first.
func TestGone(t *testing.T) {
	calls := map[string]func(t *testing.T, j *journal.Journal) error{
		"Sync": func(t *testing.T, j *journal.Journal) error {
			if _, err := j.Append([]byte("late")); err != nil {
				return err
			}
			return j.Sync(t.Context())
		},
		"WaitDurable": func(t *testing.T, j *journal.Journal) error {
			seq, err := j.Append([]byte("late"))
			if err != nil {
				return err
			}
			return j.WaitDurable(t.Context(), seq)
		},
		"TruncateFront": func(_ *testing.T, j *journal.Journal) error { return j.TruncateFront(3) },
		"TruncateBack":  func(_ *testing.T, j *journal.Journal) error { return j.TruncateBack(3) },
		"Reset":         func(_ *testing.T, j *journal.Journal) error { return j.Reset(3) },
		"Close":         func(*testing.T, *journal.Journal) error { return nil },
		"roll": func(t *testing.T, j *journal.Journal) error {
			for range 50 {
				if _, err := j.Append(make([]byte, 3000)); err != nil {
					return err
				}
			}
			return j.Sync(t.Context())
		},
	}
	for _, g := range gone {
		for call, do := range calls {
			for _, level := range levels {
				t.Run(g.name+", "+call+", "+level.String(), func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "parent", "wal")
					j := mustOpen(t, dir, journal.Applicable(journal.Options{
						SegmentSize: journal.MinSegmentSize, Durability: level, SyncInterval: 1e18,
					}))
					for i := range 5 {
						mustAppend(t, j, []byte{byte(i)})
					}
					run(t, j.Sync(t.Context()), g.take(dir))
					durable := j.Durable()
					if err := do(t, j); call != "Close" {
						isReplaced(t, call, err)
						_, err := j.Append([]byte("later"))
						isReplaced(t, "Append", err)
						isReplaced(t, "Sync", j.Sync(t.Context()))
						isReplaced(t, "TruncateFront", j.TruncateFront(2))
					}
					if d := j.Durable(); d != durable {
						t.Errorf("I10: durable to %d, and to %d before", d, durable)
					}
					isReplaced(t, "Close", j.Close())
				})
			}
		}
	}
}

// removeAll removes a directory in which a writer may create its LOCK meanwhile.
func removeAll(dir string) (err error) {
	for range 1000 {
		if err = os.RemoveAll(dir); !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return err
}

// TestPreparedRemoved: a prepared segment is removed, or another file takes its name. The journal
// goes on in the next one.
func TestPreparedRemoved(t *testing.T) {
	for _, level := range levels {
		for _, replaced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, replaced %v", level, replaced), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "wal")
				j := mustOpen(t, dir, journal.Applicable(journal.Options{
					SegmentSize: journal.MinSegmentSize, Durability: level, SyncInterval: 1e18,
				}))
				mustAppend(t, j, []byte("x"))
				run(t, journal.Prepare(j, 1))
				path := filepath.Join(dir, segment.FileName(2))
				if replaced {
					b, err := os.ReadFile(path)
					run(t, err, os.Rename(path, dir+".seg"), os.WriteFile(path, b, 0o600))
				} else {
					run(t, os.Remove(path))
				}
				for range 50 {
					mustAppend(t, j, make([]byte, 3000))
				}
				mustClose(t, j)
				j = mustOpen(t, dir, &journal.Options{VerifyOnOpen: true})
				if j.Last() != 51 {
					t.Errorf("%d records", j.Last())
				}
				mustClose(t, j)
			})
		}
	}
}

// TestJournalFileMoved: the file JOURNAL of an open journal is moved away, or it is removed and a
// snapshot still has it. It is not written to any more, and the journal makes another one.
func TestJournalFileMoved(t *testing.T) {
	for name, take := range map[string]func(path, to string) error{
		"moved": os.Rename,
		"second name": func(path, to string) error {
			return errors.Join(os.Link(path, to), os.Remove(path))
		},
		"replaced": func(path, to string) error {
			return errors.Join(os.Rename(path, to), os.WriteFile(path, []byte("another"), 0o600))
		},
	} {
		for _, closes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closes %v", name, closes), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "wal")
				j := mustOpen(t, dir, smallSegments)
				for range 5 {
					mustAppend(t, j, []byte("x"))
				}
				path, moved := filepath.Join(dir, segment.JournalName), dir+".moved"
				run(t, take(path, moved))
				before, err := os.ReadFile(moved)
				run(t, err)
				if !closes {
					run(t, j.TruncateBack(3))
				}
				last := j.Last()
				mustClose(t, j)
				if now, err := os.ReadFile(moved); err != nil || !bytes.Equal(now, before) {
					t.Errorf("the file that was moved has changed: %v", err)
				}
				j = mustOpen(t, dir, smallSegments)
				if r := j.Report(); j.Last() != last || len(r.Damage) > 0 {
					t.Errorf("%d records; %v", j.Last(), r)
				}
				mustClose(t, j)
			})
		}
	}
}
