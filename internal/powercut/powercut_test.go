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

// eachKind runs a test on every file system, with a number of runs for each.
func eachKind(t *testing.T, ext4, xfs, btrfs int64, f func(*testing.T, *Rig, int64)) {
	runs := map[string]int64{"ext4": ext4, "xfs": xfs, "btrfs": btrfs}
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) { f(t, newRig(t, k), runs[k.Name]) })
	}
}

// tally is what a test says about its runs.
type tally struct {
	images, pending, unsynced, records, recovery, snapshots, failed, hung int
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
		"%d cuts within recovery, %d snapshots compared, %d file systems lost, %d hung",
		y.images, y.pending, y.unsynced, y.records, y.recovery, y.snapshots, y.failed, y.hung)
}

// judge fails the test if the file systems themselves do not survive.
func (y *tally) judge(t *testing.T, c *torture.Counter) {
	c.Note("%v", y)
	if y.failed*100 > y.images || y.images >= 20 && y.pending*4 < y.images {
		t.Errorf("the rig is broken, or has nothing to lose: %v", y)
	}
}

// wrap says where err is from; nil stays nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// imagesPerRecording is how many seeds in a row share a recording.
const imagesPerRecording = 20

// TestPowerCut cuts the power at random points of one life.
func TestPowerCut(t *testing.T) {
	eachKind(t, 300, 40, 40, powerCut)
}

func powerCut(t *testing.T, rig *Rig, n int64) {
	c := torture.Start(t, "power cut, "+rig.kind.Name, n)
	var y tally
	var log []Entry
	recorded := uint64(0)
	for c.Next() {
		if which := c.Seed() / imagesPerRecording; log == nil || which != recorded {
			var err error
			log, err = rig.record(rig.empty, false, func(s *session) []Workload {
				return s.lives(1, which, 4, 16, which%3 == 0)
			})
			if err != nil {
				c.Violation("%v", err)
				break
			}
			recorded = which
		}
		r := newRand(c.Seed(), 1)
		p := cutPoint(log, r)
		cut, err := cutAndCheck(rig, rig.empty, newModel(), log, p, r)
		if err = y.count(cut.pending, cut.records, err); err != nil {
			c.Violation("cut before entry %d of %d: %v", p, len(log), err)
		}
		y.snapshots = rig.snapshots
		c.Note("%v", &y)
	}
	y.judge(t, c)
}

// cutAndCheck cuts before entry p and checks what is left. It returns the model at the cut.
func cutAndCheck(
	rig *Rig, base *Image, m *Model, log []Entry, p int, r *rand.Rand,
) (c cut, err error) {
	c.model, err = m.replay(log[:p])
	if err != nil {
		return c, err
	}
	c.image, c.pending = crash(base, log, p, rig.kind, anySubset, r)
	c.records, err = rig.checkImage(c.image, c.model, r)
	if bad := new(mountError); err != nil && !errors.As(err, &bad) {
		err = errors.Join(err, keep(c.image, log, p))
	}
	return c, err
}

// cut is what a power cut has left, and what is known about it.
type cut struct {
	image            *Image
	model            *Model
	pending, records int
}

// TestCutsInARow lets several lives follow each other on one disk; each ends with a power cut, many
// of them before recovery has finished.
func TestCutsInARow(t *testing.T) {
	eachKind(t, 22, 4, 4, cutsInARow)
}

func cutsInARow(t *testing.T, rig *Rig, n int64) {
	c := torture.Start(t, "cuts in a row, "+rig.kind.Name, n)
	var y tally
	for c.Next() {
		if err := chainOfLives(rig, c.Seed(), &y); err != nil {
			c.Violation("%v", err)
		}
		y.snapshots = rig.snapshots
		c.Note("%v", &y)
	}
	y.judge(t, c)
	if c.Of() >= 5 && y.recovery*100 < y.images*40 {
		t.Errorf("too few cuts within recovery: %v", &y)
	}
}

func chainOfLives(rig *Rig, seed uint64, y *tally) error {
	r := newRand(seed, 2)
	disk, m := rig.empty, newModel()
	for life := 1; life <= 5; life++ {
		log, err := rig.record(disk, false, func(s *session) []Workload {
			return s.lives(life, seed, 1+r.IntN(3), 4+r.IntN(8), r.IntN(4) == 0)
		})
		if err != nil {
			return wrap(y.count(0, 0, err), "life %d", life)
		}
		p, early := 0, false
		if life > 1 && r.IntN(8) < 7 {
			p, early = cutInRecovery(log, r)
		}
		if early {
			y.recovery++
		} else {
			p = cutPoint(log, r)
		}
		cut, err := cutAndCheck(rig, disk, m, log, p, r)
		violation := y.count(cut.pending, cut.records, err)
		if err != nil { // without a violation the file system is lost
			return wrap(violation, "life %d, cut before entry %d of %d, in recovery: %v",
				life, p, len(log), early)
		}
		disk, m = cut.image, cut.model
	}
	return nil
}
