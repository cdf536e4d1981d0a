//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/internal/testutil/torture"
)

const namespaceEnv = "MMJOURNAL_POWERCUT_NAMESPACE"

// TestMain runs the tests in a mount namespace of their own: whatever ends them, no mount and no
// loop device is left.
func TestMain(m *testing.M) {
	if code, is := Child(); is {
		os.Exit(code)
	}
	if os.Geteuid() != 0 || os.Getenv(namespaceEnv) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests in a mount namespace:", err)
		os.Exit(1)
	}
}

// newRig returns a rig in memory, or skips the test.
func newRig(t *testing.T, k *Kind) *Rig {
	t.Helper()
	if why := Available(k); why != "" {
		t.Skip(why)
	}
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2g"); err != nil {
		t.Fatal("tmpfs:", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
		_ = os.Remove(dir)
	})
	r, err := NewRig(k, dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func kind(name string) *Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	panic(name)
}

// tally is what a test says about its runs.
type tally struct {
	images, pending, unsynced, records, recovery, failed, hung int
}

// count notes what became of an image, and returns the violation if there is one.
func (y *tally) count(pending, records int, err error) error {
	y.images++
	y.records += records
	y.unsynced += pending
	if pending > 0 {
		y.pending++
	}
	if errors.Is(err, errHung) {
		y.hung++
	}
	if bad := new(mountError); errors.As(err, &bad) {
		y.failed++
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return nil
	}
	return err
}

func (y *tally) String() string {
	return fmt.Sprintf("%d images, %d with unsynced writes (%d writes), %d records recovered, "+
		"%d cuts within recovery, %d file systems lost, %d hung",
		y.images, y.pending, y.unsynced, y.records, y.recovery, y.failed, y.hung)
}

// judge fails the test if the file systems themselves do not survive.
func (y *tally) judge(t *testing.T, c *torture.Counter) {
	c.Note("%v", y)
	if y.failed*100 > y.images {
		t.Errorf("the rig is broken: %v", y)
	}
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// imagesPerRecording is how many seeds in a row share a recording.
const imagesPerRecording = 20

// TestPowerCut cuts the power at random points of one life.
func TestPowerCut(t *testing.T) {
	for name, n := range map[string]int64{"ext4": 300, "xfs": 40, "btrfs": 40} {
		t.Run(name, func(t *testing.T) { powerCut(t, newRig(t, kind(name)), name, n) })
	}
}

func powerCut(t *testing.T, rig *Rig, name string, n int64) {
	c := torture.Start(t, "power cut, "+name, n)
	var y tally
	var log []Entry
	recorded := uint64(0)
	for c.Next() {
		if which := c.Seed() / imagesPerRecording; log == nil || which != recorded {
			var err error
			log, err = rig.record(rig.empty, false, func(s *session) Workload {
				return s.life(1, which, 6, 8)
			})
			if err != nil {
				t.Fatalf("seed %d: %v", c.Seed(), err)
			}
			recorded = which
		}
		r := newRand(c.Seed(), 1)
		p := cutPoint(log, 0, len(log), r)
		if err := y.count(cutAndCheck(rig, rig.empty, newModel(), log, p, r)); err != nil {
			c.Violation("cut before entry %d of %d: %v", p, len(log), err)
		}
		c.Note("%v", &y)
	}
	y.judge(t, c)
}

// cutAndCheck cuts before entry p and checks what is left.
func cutAndCheck(
	rig *Rig, base *Image, m *Model, log []Entry, p int, r *rand.Rand,
) (pending, records int, err error) {
	m, err = m.replay(log[:p])
	if err != nil {
		return 0, 0, err
	}
	img, pending := crash(base, log, p, rig.kind, anySubset, r)
	records, err = rig.checkImage(img, m, r)
	return pending, records, err
}
