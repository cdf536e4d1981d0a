//go:build unix

package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/nobody"
	"mmjournal/journal"
	"mmjournal/segment"
)

// Owner, group and mode: each file that is created or replaced has those of JOURNAL.

// serviceEnv names the directory in which a service works: a user without privileges. The journal
// is in its subdirectory wal. With serviceDiesEnv the service is killed.
const serviceEnv, serviceDiesEnv = "MMJOURNAL_TEST_SERVICE", "MMJOURNAL_TEST_SERVICE_DIES"

func init() { childWork[serviceEnv] = serviceChild }

// serviceChild opens the journal, which it may have to create, appends until a few segments are
// full, and closes it.
func serviceChild(dir string) error {
	j, err := journal.Open(filepath.Join(dir, "wal"), &journal.Options{
		SegmentSize: journal.MinSegmentSize, FileMode: 0o640,
	})
	if err != nil {
		return err
	}
	if err := appendSegments(j); err != nil {
		return err
	}
	if os.Getenv(serviceDiesEnv) != "" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return j.Close()
}

// appendSegments fills three segments.
func appendSegments(j *journal.Journal) error {
	for i := range 12 {
		if _, err := j.Append(fmt.Appendf(nil, "%d %16000d", i, 0)); err != nil {
			return err
		}
	}
	return nil
}

// service runs serviceChild as nobody, or kills it.
func service(t *testing.T, user *nobody.User, dies bool) {
	t.Helper()
	cmd := user.Command(t)
	cmd.Env = append(cmd.Env, serviceEnv+"="+user.Dir)
	if dies {
		cmd.Env = append(cmd.Env, serviceDiesEnv+"=1")
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || (cmd.ProcessState.String() == killedStatus) != dies ||
		!dies && err != nil {
		t.Fatalf("the service: %v: %s", err, out)
	}
}

// wantOwned checks that all files in a directory have that mode, and owner and group of JOURNAL:
// those of id, unless it is 0.
func wantOwned(t *testing.T, what, dir string, mode os.FileMode, id uint32) {
	t.Helper()
	var own syscall.Stat_t
	run(t, syscall.Stat(filepath.Join(dir, segment.JournalName), &own))
	if id != 0 && (own.Uid != id || own.Gid != id) {
		t.Errorf("%s: JOURNAL has owner %d, group %d; want %d", what, own.Uid, own.Gid, id)
	}
	list, err := os.ReadDir(dir)
	run(t, err)
	segments := 0
	for _, e := range list {
		if strings.HasSuffix(e.Name(), segment.TempSuffix) {
			continue // being made: private until it has its owner
		}
		if _, ok := segment.ParseFileName(e.Name()); ok {
			segments++
		}
		fi, err := os.Lstat(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // a sync in the background has removed it
		}
		run(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		if fi.Mode().Perm() != mode || st.Uid != own.Uid || st.Gid != own.Gid {
			t.Errorf("%s: %s has mode %04o, owner %d, group %d; want %04o, %d, %d",
				what, e.Name(), fi.Mode().Perm(), st.Uid, st.Gid, mode, own.Uid, own.Gid)
		}
	}
	if len(list) < 3 || segments == 0 {
		t.Errorf("%s: %d files, %d segments", what, len(list), segments)
	}
}

// ownerOptions make a journal recycle where that can be.
func ownerOptions(d journal.Durability) *journal.Options {
	return journal.Applicable(journal.Options{Durability: d, Spares: 2})
}

// TestOwnerKept: root opens the journal of a service, in whatever state that has left it, and does
// everything that makes files. They are all the service's, which goes on then.
func TestOwnerKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user than the service")
	}
	user := nobody.New(t)
	wal := filepath.Join(user.Dir, "wal")
	file := filepath.Join(wal, segment.JournalName)
	for i, c := range []struct {
		name   string
		change func() error
	}{
		{"as it was", func() error { return nil }},
		{"LOCK is gone", func() error { return os.Remove(filepath.Join(wal, segment.LockName)) }},
		{"JOURNAL is damaged", func() error { return os.WriteFile(file, []byte("x"), 0) }},
		{"JOURNAL has a second name", func() error { return os.Link(file, wal+".link") }},
		{"JOURNAL has a second name, the directory another owner", func() error {
			return errors.Join(os.Link(file, wal+".link"), os.Chown(wal, 0, 0), os.Chmod(wal, 0o777))
		}},
	} {
		for k, dies := range []bool{false, true} {
			level := levels[(i+k)%len(levels)]
			t.Run(fmt.Sprintf("%s, killed: %v, %v", c.name, dies, level), func(t *testing.T) {
				defer func() { run(t, os.RemoveAll(wal), os.RemoveAll(wal+".link")) }()
				service(t, user, dies)
				wantOwned(t, "made by the service", wal, 0o640, nobody.ID)
				run(t, c.change())
				j := mustOpen(t, wal, ownerOptions(level))
				for _, step := range []struct {
					name string
					do   func() error
				}{
					{"roll", func() error { return appendSegments(j) }},
					{"TruncateFront", func() error { return j.TruncateFront(j.Last() - 2) }},
					{"TruncateBack", func() error { return j.TruncateBack(j.Last() - 1) }},
					{"Reset", func() error { return j.Reset(j.Last() + 100) }},
				} {
					run(t, step.do(), appendSegments(j), j.Sync(t.Context()))
					wantOwned(t, step.name, wal, 0o640, nobody.ID)
				}
				n := j.Last()
				run(t, j.Close())
				wantOwned(t, "Close", wal, 0o640, nobody.ID)
				service(t, user, dies)
				wantOwned(t, "used by the service again", wal, 0o640, nobody.ID)
				j = mustOpen(t, wal, &journal.Options{VerifyOnOpen: true})
				if j.Last() != n+12 {
					t.Errorf("%d records instead of %d", j.Last(), n+12)
				}
				run(t, j.Close())
			})
		}
	}
}

// TestOwnerOfNew: a new journal of root belongs to the owner of its directory, who can use it.
func TestOwnerOfNew(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user than the directory's owner")
	}
	user := nobody.New(t)
	wal := filepath.Join(user.Dir, "wal")
	run(t, os.Mkdir(wal, 0o700), os.Chown(wal, nobody.ID, nobody.ID))
	j := mustOpen(t, wal, smallSegments)
	run(t, appendSegments(j), j.Close())
	wantOwned(t, "new", wal, 0o600, nobody.ID)
	service(t, user, false)
	wantOwned(t, "used by the service", wal, 0o600, nobody.ID)
}

// TestModeKept: the mode of a new journal is that of the options, or 0600. Whatever creates or
// replaces files keeps it, and so it does if an operator changes it.
func TestModeKept(t *testing.T) {
	chmod := func(dir string, mode os.FileMode) {
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		run(t, err)
		for _, path := range list {
			run(t, os.Chmod(path, mode))
		}
	}
	for i, mode := range []os.FileMode{0, 0o640, 0o666} {
		level := levels[i]
		t.Run(fmt.Sprintf("%04o, %v", mode, level), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "wal")
			o := ownerOptions(level)
			o.SegmentSize, o.FileMode = journal.MinSegmentSize, mode
			want := mode
			if want == 0 {
				want = 0o600
			}
			j := mustOpen(t, dir, o)
			use := func(what string) {
				t.Helper()
				for range 3 {
					run(t, appendSegments(j), j.Sync(t.Context()))
					wantOwned(t, what+", rolled", dir, want, 0)
					run(t, j.TruncateFront(j.Last()))
					wantOwned(t, what+", truncated", dir, want, 0)
				}
			}
			use("new")
			if n := j.Stats().Recycled; runtime.GOOS == "linux" && level == journal.Synced && n == 0 {
				t.Error("nothing was recycled")
			}
			run(t, j.Close())
			wantOwned(t, "closed", dir, want, 0)
			o.FileMode = 0o600 // says nothing: the journal exists
			j = mustOpen(t, dir, o)
			use("opened again")
			want = 0o644
			run(t, journal.Prepare(j, 1)) // nothing is created while the mode changes
			chmod(dir, want)
			use("changed while it is open")
			run(t, j.Close())
			wantOwned(t, "closed again", dir, want, 0)
		})
	}
}
