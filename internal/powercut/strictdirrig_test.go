//go:build linux

package powercut

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/segment"
)

// The test program is also the strict file system and the process of a job. Whoever starts it so
// wants nothing else.
func init() {
	jobs["sigbus"] = sigbusJob
	jobs["strict life"] = lifeJob
	jobs["crash"] = crashJob
	jobs["full disk"] = fullDiskJob
	jobs["full life"] = fullLifeJob
	jobChild()
	if is, err := strictChild(); is {
		if err != nil {
			fmt.Fprintln(os.Stderr, "strict file system:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// strictRig makes strict file systems and directories.
type strictRig struct {
	dir string
	n   int
}

// newStrictRig returns a rig that keeps everything in memory, or skips the test.
func newStrictRig(t testing.TB) *strictRig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	return &strictRig{dir: scratch(t)}
}

// scratch returns a directory in memory that is gone after the test.
func scratch(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"); err != nil {
		t.Skip("mount tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error("umount: ", err)
		}
	})
	return dir
}

// newDir returns a fresh directory.
func (r *strictRig) newDir() (string, error) {
	r.n++
	dir := filepath.Join(r.dir, fmt.Sprint(r.n))
	return dir, os.Mkdir(dir, 0o700)
}

// mount mounts a file system with a log. tree is its first content, or empty.
func (r *strictRig) mount(tree string, liesFrom int) (*strictMounted, error) {
	dir, err := r.newDir()
	if err != nil {
		return nil, err
	}
	return mountStrict(strictConfig{
		Mount: dir, Log: dir + ".log", Tree: tree, LiesFrom: liesFrom,
	})
}

func strictRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// drawTree writes what a cut behind a log may leave to a fresh directory.
func (r *strictRig) drawTree(log []strictOp, rnd *rand.Rand) (dir string, lost int, err error) {
	if dir, err = r.newDir(); err != nil {
		return "", 0, err
	}
	d := strictDraw{model: newStrictModel(log), rnd: rnd}
	err = d.write(strictRoot, dir)
	return dir, d.lost, err
}

// TestStrictFileSystem: the rig itself. What was not synced may be lost or not, what was synced is
// there; a store through a mapping is a write that the file's sync makes durable.
func TestStrictFileSystem(t *testing.T) {
	rig := newStrictRig(t)
	m, err := rig.mount("", 0)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			m.stop()
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mark := func(n int64) { t.Helper(); must(m.command(strictCommand{Mark: n})) }

	must(os.Mkdir(m.tree("d"), 0o700))
	f, err := createIn(m.tree("d"), "a")
	must(err)
	must(f.Truncate(8192))
	must(f.Allocate(8192))
	must(f.Sync())
	mark(1) // the directory may be lost, and the name in it
	must(segment.SyncPath(m.tree()))
	must(segment.SyncPath(m.tree("d")))
	mark(2)
	mapping, err := f.Map(8192, segment.ReadWrite)
	must(err)
	mapping.Bytes()[5000] = 1
	mark(3) // the kernel has the byte
	must(f.Datasync())
	mark(4)
	must(os.Rename(m.tree("d", "a"), m.tree("d", "b")))
	mark(5) // either name
	must(segment.SyncPath(m.tree("d")))
	must(os.Remove(m.tree("d", "b")))
	mark(6) // there or not
	must(mapping.Close())
	must(f.Close())
	stopped = true
	must(m.stop())
	log, err := readStrictLog(m.config.Log)
	must(err)

	for at, want := range map[int64]string{
		1: "/ /d /d/a0", 2: "/d/a0", 3: "/d/a0", 4: "/d/a1", 5: "/d/a1 /d/b1", 6: "/d /d/b1",
	} {
		if got := rig.outcomes(t, log, at); got != want {
			t.Errorf("a cut at mark %d leaves one of %q, want %q", at, got, want)
		}
	}
	// A mapping stores without a write to the file; the sync of the file brings it.
	var writes, synced int
	for _, op := range log {
		switch op.Kind {
		case strictWrite:
			writes++
		case strictSync:
			synced = writes
		}
	}
	if writes != 1 || synced != 1 {
		t.Errorf("%d writes have arrived, %d of them before the last sync", writes, synced)
	}
}

// outcomes describes the different trees that cuts at a mark leave, sorted.
func (r *strictRig) outcomes(t *testing.T, log []strictOp, mark int64) string {
	t.Helper()
	end := 0
	for i, op := range log {
		if op.Kind == strictMark && op.Size == mark {
			end = i
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(60) {
		dir, _, err := r.drawTree(log[:end], strictRand(seed, 0))
		if err != nil {
			t.Fatal(err)
		}
		seen[describeTree(t, dir)] = true
		os.RemoveAll(dir)
	}
	return joinSorted(seen)
}

func describeTree(t *testing.T, dir string) string {
	t.Helper()
	text := "/"
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		text = path[len(dir):]
		if !e.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(b) > 5000 {
				text += fmt.Sprint(b[5000])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func joinSorted(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}
