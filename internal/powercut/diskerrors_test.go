//go:build linux

package powercut

import (
	"fmt"
	"testing"

	"mmjournal/internal/testutil/torture"
)

// TestDiskErrors lets the disk fail, once or for good, ends the writer, opens the journal from the
// same mounted file system, whose cache may show what is not on the disk, and cuts the power. ext4
// is mounted anew before.
func TestDiskErrors(t *testing.T) {
	eachKind(t, 20, 5, 5, failingDisk)
}

func failingDisk(t *testing.T, rig *Rig, n int64) {
	c := torture.Start(t, "disk errors, "+rig.kind.Name, n)
	var y errorTally
	for c.Next() {
		if err := diskErrors(rig, c.Seed(), &y); err != nil {
			c.Violation("%v", err)
		}
	}
	if y.failed*100 > y.images || y.runs >= 20 && (y.hit*2 < y.runs || y.stopped == 0) {
		t.Errorf("the rig is broken, or its disk does not fail: %v", &y)
	}
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
		log, err := rig.record(disk, false, func(s *session) []Workload {
			return []Workload{s.life(1, seed, 2, 8)}
		})
		if err != nil {
			return wrap(y.count(0, 0, err), "before the disk fails")
		}
		p := cutPoint(log, r)
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
	// ext4 of Linux 6.18 keeps in memory that the blocks of a write that has failed hold data. A sync
	// of the same bytes later writes the data, returns nil, and does not note that in the file's
	// extents: after a power cut they read as zeros. A flush that fails does the same, more rarely. No
	// program can see that in the same mount.
	anew := rig.kind.Name == "ext4"
	log, err := rig.recordErrors(disk, f, seed, anew, func(w *Workload) { w.Rounds = r.IntN(2) })
	if err != nil {
		return wrap(y.count(0, 0, err), "%+v", f)
	}
	y.note(log, m)
	for i := range 4 {
		p := len(log) // at once: nothing is flushed any more
		if i == 3 {
			p = cutPoint(log, r)
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
