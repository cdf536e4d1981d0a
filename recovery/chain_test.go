package recovery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mmjournal/segment"
)

// TestRefusedFirstLive: what was dropped in front stays dropped where the rest is damaged.
func TestRefusedFirstLive(t *testing.T) {
	for _, c := range []struct {
		name        string
		build       func(d *dir)
		first, last segment.Seq // shown
	}{
		{"the mark that says so is behind the damage", func(d *dir) {
			d.start().append(6).sync()
			d.firstLive = 3
			d.mark().done().flip(1, at(4)+40)
		}, 3, 4},
		{"the mark that says so is in a later segment", func(d *dir) {
			d.start().append(6).sync().roll()
			d.firstLive = 4
			d.mark().done().flip(1, at(4)+40)
		}, 4, 4},
		{"the mark that says so is in front of a lost segment", func(d *dir) {
			d.start().append(6)
			d.firstLive = 4
			d.mark().seal()
			d.done().remove(name(2))
		}, 4, 6},
		{"a link before the damage is damaged, too", func(d *dir) {
			d.start().append(3).roll().append(3).roll().append(3).sync().roll().append(1).done()
			d.flip(3, at(2)+40).flip(2, segment.FirstFrame+40)
		}, 1, 3},
		{"all that is before the damage was dropped", func(d *dir) {
			d.start().append(6).sync().roll()
			d.firstLive = 6
			d.mark().done().flip(1, at(5)+40)
		}, 6, 5},
		{"JOURNAL says it of what was there before a reset to a lower seq", func(d *dir) {
			d.resetBelowFirst()
			d.append(4).sync().mark().done().flip(2, at(2)+40)
		}, 2, 3},
		{"that, and the damage is in a later segment", func(d *dir) {
			d.resetBelowFirst()
			d.append(3).roll().append(3).sync().mark().done().flip(3, at(1)+40)
		}, 2, 5},
		{"JOURNAL says it of the segment that is damaged", func(d *dir) {
			d.start().append(6).sync()
			d.noteFirstLive(3)
			d.done().flip(1, at(4)+40)
		}, 3, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			st := look(t, d, Options{Full: true})
			if st.Err == nil || st.FirstLive != c.first || st.Next != c.last+1 {
				t.Errorf("shown are %d to %d, want %d to %d (%v)",
					st.FirstLive, st.Next-1, c.first, c.last, st.Err)
			}
		})
	}
}

// noteFirstLive drops the records before first, and says so in a mark and in JOURNAL.
func (d *dir) noteFirstLive(first segment.Seq) {
	d.Helper()
	d.firstLive = first
	d.mark()
	d.file.Claim, d.file.FirstLive = d.claim, first
	d.writeJournal()
}

// resetBelowFirst drops records in front, and resets to a lower seq; the process ends before
// JOURNAL notes the reset.
func (d *dir) resetBelowFirst() {
	d.Helper()
	d.start().append(6).sync()
	d.noteFirstLive(5)
	d.records, d.firstLive = d.records[:1], 2
	d.link(2, segment.Link{Base: 2, Claim: d.claim, Reason: segment.ReasonReset})
}

// TestPredecessorBeginsLater: a predecessor whose base seq is above its successor's is no
// predecessor, whatever is claimed.
func TestPredecessorBeginsLater(t *testing.T) {
	d := newDir(t)
	d.link(1, segment.Link{Base: 5, Reason: segment.ReasonReset})
	d.records = make([]string, 4)
	d.append(2).sync()
	l := d.follow(d.open[0])
	l.Base, l.FirstLive = 3, 1
	d.link(2, l)
	d.done()
	d.records = nil
	for _, full := range []bool{false, true} {
		st, err := Scan(d.fsys, testDir, Options{Full: full})
		if err != nil {
			t.Fatal(err)
		}
		var ce *segment.CorruptError
		if st.Label != BrokenChain || !errors.As(st.Err, &ce) || ce.Segment != 1 ||
			ce.Offset != segment.FirstFrame {
			t.Errorf("%s, %v", st.Label, st.Err)
		}
		st.Close()
	}
}

// TestBadFrameInClaimedSegment: what a claim covers wholly is trusted until it is read, or until
// everything is checked.
func TestBadFrameInClaimedSegment(t *testing.T) {
	build := func(t *testing.T) *dir {
		d := newDir(t)
		d.start().append(10).roll().append(10).sync().mark().roll().append(3).close().done()
		return d.flip(2, at(4)+60) // the record 15
	}
	t.Run("quick", func(t *testing.T) {
		st := look(t, build(t), Options{})
		if st.Label != Clean || st.Next != 24 {
			t.Fatalf("%s, next seq %d, %v", st.Label, st.Next, st.Err)
		}
		records, err := shown(st)
		var ce *segment.CorruptError
		if len(records) != 14 || !errors.As(err, &ce) || ce.Segment != 2 || ce.Seq != 15 {
			t.Errorf("%d records are read, then %v", len(records), err)
		}
	})
	t.Run("full", func(t *testing.T) {
		st := look(t, build(t), Options{Full: true})
		var ce *segment.CorruptError
		if st.Label != BrokenChain || !errors.As(st.Err, &ce) || ce.Segment != 2 || ce.Seq != 15 ||
			ce.Offset != at(4) || !errors.Is(st.Err, segment.ErrChecksum) {
			t.Fatalf("%s, %v", st.Label, st.Err)
		}
		if d := st.Report.Damage[0]; !d.Acknowledged || d.Redundant {
			t.Errorf("damage %+v", d)
		}
		if records, err := shown(st); len(records) != 14 || err != nil {
			t.Errorf("%d records are shown, %v", len(records), err)
		}
	})
}

// TestDamagedIndex: a sparse index that a claim covers is damage that hurts no record; one that
// none covers is a torn one, which is rebuilt.
func TestDamagedIndex(t *testing.T) {
	indexAt := at(5) + 80
	t.Run("claimed", func(t *testing.T) {
		d := newDir(t)
		d.start().append(5).roll().append(1).sync().mark().done().flip(1, indexAt)
		st := look(t, d, Options{Full: true})
		if st.Err != nil || st.Label != Open || st.Report.Verdict != Damaged {
			t.Fatalf("%s, %v, %s", st.Label, st.Err, st.Report.Verdict)
		}
		if dm := st.Report.Damage; len(dm) != 1 || dm[0].Segment != 1 || dm[0].Offset != indexAt ||
			!dm[0].Redundant || !dm[0].Acknowledged {
			t.Errorf("damage %+v", dm)
		}
		quick := look(t, d, Options{})
		if quick.Report.Verdict != NoDamage || quick.Report.Unread != 1 {
			t.Errorf("quick: %s", quick.Report.Verdict)
		}
		for _, st := range []*State{st, quick} {
			checkShown(t, d, st, 6)
		}
		if !quick.Chain[0].IndexRebuilt() {
			t.Error("the index is not rebuilt")
		}
	})
	t.Run("not claimed", func(t *testing.T) {
		d := newDir(t)
		d.start().append(5).roll().append(1).done().flip(1, indexAt)
		for _, full := range []bool{false, true} {
			st := look(t, d, Options{Full: full})
			if st.Err != nil || st.Report.Verdict != Intact || len(st.Report.Damage) != 0 {
				t.Fatalf("%v, %s, %v", st.Err, st.Report.Verdict, st.Report.Damage)
			}
			if w := fmt.Sprint(st.Report.Warnings); !strings.Contains(w, "bad sparse index") {
				t.Errorf("warnings %s", w)
			}
			checkShown(t, d, st, 6)
		}
	})
}

// TestClaimsAreNotForgotten: a candidate that is given up still says what it claimed.
func TestClaimsAreNotForgotten(t *testing.T) {
	d := newDir(t)
	d.start().append(5)
	d.claim = pos(1, at(5))
	d.roll().append(3).roll().append(2).done()
	// 3 cannot be reached, as 2 is torn; but 2 claims all of 1's records, and one is damaged.
	d.flip(2, at(1)+40).flip(1, at(3)+40)
	st := look(t, d, Options{})
	var ce *segment.CorruptError
	if !errors.As(st.Err, &ce) || ce.Segment != 1 || ce.Offset != at(3) || ce.Seq != 4 {
		t.Fatalf("%s, %v", st.Label, st.Err)
	}
	if records, err := shown(st); !slices.Equal(records, d.records[:3]) || err != nil {
		t.Errorf("%d records are shown, %v", len(records), err)
	}
}
