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
			log, err = rig.record(rig.empty, false, func(s *session) Workload {
				return s.life(1, which, 4, 16)
			})
			if err != nil {
				c.Violation("%v", err)
				break
			}
			recorded = which
		}
		r := newRand(c.Seed(), 1)
		p := cutPoint(log, 0, len(log), r)
		cut, err := cutAndCheck(rig, rig.empty, newModel(), log, p, r)
		if err = y.count(cut.pending, cut.records, err); err != nil {
			c.Violation("cut before entry %d of %d: %v", p, len(log), err)
		}
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
	eachKind(t, 30, 5, 5, cutsInARow)
}

func cutsInARow(t *testing.T, rig *Rig, n int64) {
	c := torture.Start(t, "cuts in a row, "+rig.kind.Name, n)
	var y tally
	for c.Next() {
		if err := chainOfLives(rig, c.Seed(), &y); err != nil {
			c.Violation("%v", err)
		}
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
		log, err := rig.record(disk, false, func(s *session) Workload {
			return s.life(life, seed, 1+r.IntN(3), 4+r.IntN(8))
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
			p = cutPoint(log, 0, len(log), r)
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

// TestDiskErrors lets the disk fail, once or for good, ends the writer, opens the journal from the
// same mounted file system, whose cache may show what is not on the disk, and cuts the power.
func TestDiskErrors(t *testing.T) {
	eachKind(t, 30, 6, 6, failingDisk)
}

func failingDisk(t *testing.T, rig *Rig, n int64) {
	c := torture.Start(t, "disk errors, "+rig.kind.Name, n)
	var y errorTally
	for c.Next() {
		if err := diskErrors(rig, c.Seed(), &y); err != nil {
			c.Violation("%v", err)
		}
	}
	y.judge(t, c)
	c.Note("%v", &y)
}

// errorTally is a tally of runs on a disk that fails.
type errorTally struct {
	tally
	runs, hit, stopped, refused, more int
}

func (y *errorTally) String() string {
	return fmt.Sprintf("%d runs, the disk has failed in %d, the journal in %d, Open refused in %d "+
		"and showed more than was acknowledged in %d; %v",
		y.runs, y.hit, y.stopped, y.refused, y.more, &y.tally)
}

// diskErrors is one run. In every other one the disk fails in the life after a power cut, mostly
// while the journal recovers.
func diskErrors(rig *Rig, seed uint64, y *errorTally) error {
	r := newRand(seed, 4)
	disk, m, most := rig.empty, newModel(), 120
	if r.IntN(2) == 0 {
		log, err := rig.record(disk, false, func(s *session) Workload {
			return s.life(1, seed, 2, 8)
		})
		if err != nil {
			return wrap(y.count(0, 0, err), "before the disk fails")
		}
		p := cutPoint(log, 0, len(log), r)
		if m, err = m.replay(log[:p]); err != nil {
			return err
		}
		disk, _ = crash(disk, log, p, rig.kind, anySubset, r)
		most = 15
	}
	f := fault{Kind: WriteEntry, After: r.IntN(most), Sticky: r.IntN(3) == 0}
	if r.IntN(3) == 0 {
		f.Kind = FlushEntry
	}
	log, err := rig.recordErrors(disk, f, seed, func(w *Workload) { w.Rounds = r.IntN(2) })
	if err != nil {
		return wrap(y.count(0, 0, err), "%+v", f)
	}
	y.note(log, m)
	for i := range 4 {
		p := len(log) // at once: nothing is flushed any more
		if i == 3 {
			p = cutPoint(log, 0, len(log), r)
		}
		cut, err := cutAndCheck(rig, disk, m, log, p, r)
		if err = y.count(cut.pending, cut.records, err); err != nil {
			return wrap(err, "%+v, cut before entry %d of %d", f, p, len(log))
		}
	}
	return nil
}

// note looks into a log for what has come of the fault.
func (y *errorTally) note(log []Entry, m *Model) {
	var hit, stopped, refused, more int
	m = m.clone()
	for _, e := range log {
		if e.Kind == FaultEntry {
			hit = 1
		}
		if e.Kind != MarkEntry {
			continue
		}
		switch k := e.Mark; {
		case k.Kind == Failed && k.Sticky:
			stopped = 1
		case k.Kind == Refused:
			refused = 1
		case k.Kind == Opened && stopped == 1 && k.First+uint64(len(k.IDs))-1 > m.durable:
			more = 1
		}
		_ = m.apply(e.Mark) // the checks tell
	}
	y.runs++
	y.hit += hit
	y.stopped += stopped
	y.refused += refused
	y.more += more
}

// TestRigCanFail: a rig that finds nothing in a journal that is wrong proves nothing.
func TestRigCanFail(t *testing.T) {
	t.Run("a disk that ignores flush", func(t *testing.T) {
		canFail(t, true, inOrder, func(s *session, seed uint64) Workload {
			return s.life(1, seed, 4, 8)
		})
	})
	t.Run("acknowledged before the sync", func(t *testing.T) {
		canFail(t, false, anySubset, func(s *session, seed uint64) Workload {
			w := s.life(1, seed, 4, 8)
			w.Early = true
			return w
		})
	})
	t.Run("shown at open and not durable", showsTooMuch)
}

// showsTooMuch: after a failed write the page cache has records that the disk has not. Whoever
// shows them without a sync that is known to have worked loses them.
func showsTooMuch(t *testing.T) {
	rig := newRig(t, kind("ext4"))
	var y errorTally
	found := 0
	const runs = 15
	for seed := range uint64(runs) {
		r := newRand(seed, 5)
		f := fault{Kind: WriteEntry, After: 10 + r.IntN(50), Sticky: true}
		log, err := rig.recordErrors(rig.empty, f, seed, func(w *Workload) { w.Peek = true })
		if err != nil {
			t.Fatal(err)
		}
		y.note(log, newModel())
		cut, err := cutAndCheck(rig, rig.empty, newModel(), log, len(log), r)
		if err = y.count(cut.pending, cut.records, err); err != nil {
			found++
			t.Log(err)
		}
	}
	t.Logf("%d of %d runs show the loss: %v", found, runs, &y)
	if found*4 < y.more || y.more == 0 {
		t.Errorf("only %d of %d runs show that records in the cache are lost", found, y.more)
	}
}

// afterAck draws a place in the last three quarters of the log, behind an acknowledgement.
func afterAck(log []Entry, r *rand.Rand) int {
	var acks []int
	for i, e := range log {
		if i > len(log)/4 && e.Kind == MarkEntry && e.Mark.Kind == Acked {
			acks = append(acks, i+1)
		}
	}
	if len(acks) == 0 {
		return len(log)
	}
	return acks[r.IntN(len(acks))]
}

// canFail expects acknowledged records to be lost in more than half of the images.
func canFail(
	t *testing.T, ignoreFlush bool, draw drawing, life func(*session, uint64) Workload,
) {
	rig := newRig(t, kind("ext4"))
	const recordings, images = 4, 5
	found, total := 0, 0
	for seed := range uint64(recordings) {
		log, err := rig.record(rig.empty, ignoreFlush, func(s *session) Workload {
			return life(s, seed)
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newRand(seed, 3)
		for range images {
			p := afterAck(log, r)
			m, err := newModel().replay(log[:p])
			if err != nil {
				t.Fatal(err)
			}
			img, _ := crash(rig.empty, log, p, rig.kind, draw, r)
			_, err = rig.checkImage(img, m, r)
			total++
			if err != nil {
				found++
				t.Log(err)
			}
		}
	}
	t.Logf("%d of %d images show the loss", found, total)
	if found*2 <= total {
		t.Errorf("only %d of %d images show that acknowledged records are lost", found, total)
	}
}
