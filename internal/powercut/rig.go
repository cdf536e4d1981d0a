//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Rig records workloads on a disk and cuts its power, with one kind of file system.
type Rig struct {
	kind      *Kind
	dir       string // on a file system in memory
	empty     *Image // a fresh file system
	runs      int    // names directories
	standIns  int    // images with a link in JOURNAL
	snapshots int    // that were compared
	full      bool   // the file system is nearly full: see addFiller
}

// NewRig makes a rig in an empty directory.
func NewRig(k *Kind, dir string) (*Rig, error) {
	img, err := k.makeFS(dir)
	return &Rig{kind: k, dir: dir, empty: img}, err
}

// journalDir is where in the file system the journal is.
const journalDir = "a/journal"

// session is a disk with a mounted file system, which is being recorded.
type session struct {
	rig     *Rig
	dir     string
	disk    *diskProcess
	mounted bool
}

// start puts an image into a disk and mounts it.
func (r *Rig) start(img *Image, ignoreFlush bool) (*session, error) {
	r.runs++
	s := &session{rig: r, dir: filepath.Join(r.dir, fmt.Sprint("run", r.runs))}
	for _, dir := range []string{"fs", "disk"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if err := img.save(s.path("medium")); err != nil {
		return nil, err
	}
	var err error
	s.disk, err = startDisk(diskConfig{
		Medium: s.path("medium"), Mount: s.path("disk"), Log: s.path("log"), FS: s.path("fs"),
		Socket: s.path("socket"), IgnoreFlush: ignoreFlush,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func (s *session) path(name string) string { return filepath.Join(s.dir, name) }

// mount mounts the file system on the disk.
func (s *session) mount() error {
	err := mountImage(s.disk.image(), s.path("fs"), s.rig.kind)
	s.mounted = err == nil
	return err
}

// life returns a workload on this session's file system.
func (s *session) life(life int, seed uint64, rounds, ops int) Workload {
	return Workload{
		Dir: filepath.Join(s.path("fs"), journalDir), Socket: s.disk.config.Socket,
		Life: life, Seed: seed, Rounds: rounds, Ops: ops,
	}
}

// lives returns the workloads of one recording: one, or two of which the first is killed in the
// middle, so that the page cache shows the second one what is not on the disk.
func (s *session) lives(number int, seed uint64, rounds, ops int, twice bool) []Workload {
	second := s.life(2*number, seed, rounds, ops)
	if !twice {
		return []Workload{second}
	}
	first := s.life(2*number-1, seed, rounds, ops)
	first.Die = 1 + int(seed*7919%uint64(writers*rounds*ops))
	return []Workload{first, second}
}

// watch ends a workload that hangs, and the disk that it waits for.
func (s *session) watch(cmd *exec.Cmd) *time.Timer {
	return time.AfterFunc(patience, func() {
		fmt.Fprintln(os.Stderr, "powercut: a workload hangs")
		s.disk.kill()
		_ = cmd.Process.Kill()
	})
}

// run runs a workload to its end.
func (s *session) run(w Workload) error {
	cmd, err := process(workloadEnv, w)
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	defer s.watch(cmd).Stop()
	err = cmd.Wait()
	if w.Die > 0 && cmd.ProcessState.String() == "signal: killed" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("workload: %w: %s", err, &out)
	}
	return nil
}

// end unmounts, stops the disk and returns its log up to the workload's last mark.
func (s *session) end() ([]Entry, error) {
	var err error
	if s.mounted {
		err = unmount(s.path("fs"))
	}
	err = errors.Join(err, s.disk.stop())
	log, lerr := readLog(s.path("log"))
	for len(log) > 0 && log[len(log)-1].Kind != MarkEntry {
		log = log[:len(log)-1]
	}
	return log, errors.Join(err, lerr, os.RemoveAll(s.dir))
}

// record lets workloads run on an image, one after the other without unmounting, and returns the
// log. An error is a violation that a workload itself has seen, a *mountError, or the rig's.
func (r *Rig) record(
	img *Image, ignoreFlush bool, lives func(*session) []Workload,
) ([]Entry, error) {
	s, err := r.start(img, ignoreFlush)
	if err != nil {
		return nil, err
	}
	if err = s.mount(); err != nil {
		return s.finish(&mountError{err})
	}
	for _, w := range lives(s) {
		if err = s.run(w); err != nil {
			break
		}
	}
	return s.finish(err)
}

// finish ends a session whose workload has ended with err.
func (s *session) finish(err error) ([]Entry, error) {
	log, eerr := s.end()
	for _, e := range log {
		if e.Kind == MarkEntry && e.Mark.Kind == Wrong {
			return log, errors.New("in the workload: " + e.Mark.Text)
		}
	}
	return log, errors.Join(err, eerr)
}

// mountError: the file system itself has not survived. It is counted, and not the journal's fault.
type mountError struct{ err error }

func (e *mountError) Error() string { return "the file system: " + e.err.Error() }
func (e *mountError) Unwrap() error { return e.err }

// cutPoint draws a place in the log: anywhere, or, mostly, one with writes that no flush has
// covered, or one within a truncation, a reset, or an Open.
func cutPoint(log []Entry, r *rand.Rand) int {
	unsynced, structural := cutPoints(log)
	switch n := r.IntN(8); {
	case n < 4 && len(unsynced) > 0:
		return unsynced[r.IntN(len(unsynced))]
	case n < 7 && len(structural) > 0:
		return structural[r.IntN(len(structural))]
	}
	return r.IntN(len(log) + 1)
}

// cutPoints returns the places with unsynced writes, as often as there are writes, squared, and
// those within structural operations.
func cutPoints(log []Entry) (unsynced, structural []int) {
	pending, within := 0, false
	for i, e := range log {
		switch e.Kind {
		case WriteEntry:
			pending++
		case FlushEntry:
			pending = 0
		case MarkEntry:
			switch e.Mark.Kind {
			case Opening, Front, Back, Reset:
				within = true
			case Opened, Fronted, Backed, WasReset, Failed, Refused:
				within = false
			}
		}
		for range min(pending*pending, 64) {
			unsynced = append(unsynced, i+1)
		}
		if within {
			structural = append(structural, i+1)
		}
	}
	return unsynced, structural
}

// cutInRecovery draws a place behind the k-th disk write between mounting and the return of Open.
func cutInRecovery(log []Entry, r *rand.Rand) (p int, ok bool) {
	var writes []int
	for i, e := range log {
		if e.Kind == WriteEntry {
			writes = append(writes, i+1)
		}
		if e.Kind == MarkEntry && e.Mark.Kind == Opened {
			break
		}
	}
	if len(writes) == 0 {
		return 0, false
	}
	return writes[r.IntN(len(writes))], true
}

// Available returns why the rig cannot run here, or "".
func Available(k *Kind) string { return k.missing() }

// Child runs one of the rig's processes if this is one, and returns its exit code.
func Child() (code int, is bool) {
	var err error
	switch {
	case os.Getenv(diskEnv) != "":
		err = diskMain(os.Getenv(diskEnv))
	case os.Getenv(workloadEnv) != "":
		err = workloadMain(os.Getenv(workloadEnv))
	default:
		return 0, false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}
