//go:build linux

package powercut

import (
	"fmt"
	"testing"

	"mmjournal/internal/testutil/torture"
)

// TestFullDiskCuts fills a small disk, drops records while it is full, appends again, and cuts the
// power at any moment of that; the next process begins on the full disk that the cut has left.
//
// btrfs is left out. Where it is nearly full, the kernel can deadlock (seen with Linux 6.18): a
// rename waits for an inode whose eviction waits for the rename's transaction. No process that it
// takes can be killed.
func TestFullDiskCuts(t *testing.T) {
	t.Run("ext4", func(t *testing.T) { fullDiskCuts(t, newRig(t, kind("ext4")), 6) })
	t.Run("xfs", func(t *testing.T) { fullDiskCuts(t, newRig(t, kind("xfs")), 2) })
}

// fullBlocksFree is how many blocks the filler leaves: 8 segments.
const fullBlocksFree = 8 * segmentSize / blockSize

func fullDiskCuts(t *testing.T, rig *Rig, n int64) {
	if err := rig.addFiller(fullBlocksFree); err != nil {
		t.Fatal(err)
	}
	c := torture.Start(t, "power cut on a full disk, "+rig.kind.Name, n)
	var y fullTally
	for c.Next() {
		if err := livesOnFullDisk(rig, c.Seed(), &y); err != nil {
			c.Violation("%v", err)
		}
		y.standIns = rig.standIns
		c.Note("%v", &y)
	}
	if y.failed > 1+y.images/100 || y.images >= 20 && y.pending*4 < y.images {
		t.Errorf("the rig is broken, or has nothing to lose: %v", &y)
	}
	if c.Runs() >= 6 && (y.standIns*20 < y.images || y.noSpace < y.images) {
		t.Errorf("the disk is not full: %v", &y)
	}
}

// fullTally is a tally of runs on a disk that becomes full.
type fullTally struct {
	tally
	noSpace, standIns int
}

func (y *fullTally) String() string {
	return fmt.Sprintf("%d appends had no space, JOURNAL held a link in %d of %v",
		y.noSpace, y.standIns, &y.tally)
}

// note counts what a log says of the full disk.
func (y *fullTally) note(log []Entry) {
	for _, e := range log {
		if e.Kind == MarkEntry && e.Mark.Kind == Failed {
			y.noSpace++
		}
	}
}

// livesOnFullDisk is one run: three times a recording and four cuts of it, of which the last leaves
// the disk of the next recording.
func livesOnFullDisk(rig *Rig, seed uint64, y *fullTally) error {
	r := newRand(seed, 6)
	disk, m := rig.empty, newModel()
	for life := 1; life <= 3; life++ {
		log, err := rig.record(disk, false, func(s *session) []Workload {
			return s.fillLives(life, seed, 1+r.IntN(2), max(0, r.IntN(160)-80))
		})
		if err != nil {
			return wrap(y.count(0, 0, err), "life %d", life)
		}
		y.note(log)
		var last cut
		for range 4 {
			p := cutPoint(log, r)
			last, err = cutAndCheck(rig, disk, m, log, p, r)
			violation := y.count(last.pending, last.records, err)
			if err != nil { // without a violation the file system is lost
				return wrap(violation, "life %d, cut before entry %d of %d", life, p, len(log))
			}
		}
		disk, m = last.image, last.model
	}
	return nil
}
