package journal_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
)

// stagedOn opens a journal of tiny segments on a new disk, whose groups are written.
func stagedOn(t *testing.T) (*simdisk.Disk, *journal.Journal) {
	t.Helper()
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	d := simdisk.New(simdisk.Options{})
	if err := d.MkdirAll("j"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenFS(d, "j", &journal.Options{SegmentSize: modelSegment})
	if err != nil {
		t.Fatal(err)
	}
	return d, j
}

// afterCut returns the disk after a power cut that loses all that it can.
func afterCut(d *simdisk.Disk) *simdisk.Disk {
	p := d.Pending()
	c := p.Newest()
	clear(c)
	return p.Crash(c)
}

// TestRollMovesWhatIsStaged: what is staged when a segment is full gets into it, before its seal.
func TestRollMovesWhatIsStaged(t *testing.T) {
	d, j := stagedOn(t)
	var want []string
	for i := range 40 {
		p := fmt.Sprintf("%0*d", 300, i)
		if err := journal.Stage(j, []byte(p)); err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
	}
	if err := journal.WaitAppended(j, 40); err != nil {
		t.Fatal(err)
	}
	expect(t, j, 1, want...)
	checkRecords(t, afterCut(d), want...)
	mustClose(t, j)
	checkRecords(t, d, want...)
}

// TestStagedDuringMove: what is appended while a sync moves a group, or while the disk works, waits
// for the next sync.
func TestStagedDuringMove(t *testing.T) {
	for _, at := range []simdisk.OpKind{simdisk.OpWrite, simdisk.OpDatasync} {
		t.Run(at.String(), func(t *testing.T) {
			d, j := stagedOn(t)
			mustAppend(t, j, []byte("one"))
			armed := true
			d.OnOp = func(op simdisk.Op) error {
				if armed && op.Kind == at && filepath.Ext(op.Path) == ".seg" {
					armed = false
					if err := journal.Stage(j, []byte("late")); err != nil {
						t.Error(err)
					}
				}
				return nil
			}
			mustAppend(t, j, []byte("two"))
			if armed || j.Durable() != 2 || j.Published() != 2 {
				t.Errorf("appended %v, durable %d, published %d", !armed, j.Durable(), j.Published())
			}
			checkRecords(t, afterCut(d), "one", "two")
			if err := journal.WaitAppended(j, 3); err != nil {
				t.Fatal(err)
			}
			checkRecords(t, afterCut(d), "one", "two", "late")
			mustClose(t, j)
		})
	}
}

// TestTurnGoesOn: where much has been appended while the disk worked, the next sync begins without
// anybody who waits for it.
func TestTurnGoesOn(t *testing.T) {
	d, j := stagedOn(t)
	journal.SetLeastAhead(j, 1)
	mustAppend(t, j, []byte("one"))
	syncs := 0 // one at a time
	again := make(chan struct{})
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind != simdisk.OpDatasync {
			return nil
		}
		switch syncs++; syncs {
		case 1:
			if err := journal.Stage(j, []byte("late")); err != nil {
				t.Error(err)
			}
		case 2:
			close(again)
		}
		return nil
	}
	mustAppend(t, j, []byte("two"))
	wait.For(t, "a sync of what came during the last one", again)
	mustClose(t, j)
	checkRecords(t, afterCut(d), "one", "two", "late")
}
