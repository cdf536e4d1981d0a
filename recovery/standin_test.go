package recovery

import (
	"slices"
	"testing"

	"mmjournal/segment"
)

// standIn puts a link into JOURNAL that keeps the first keep records of segment 1, which ends
// there, durably.
func (d *dir) standIn(ordinal uint64, first segment.Seq, keep int) {
	d.Helper()
	s := d.open[0]
	end, err := s.After(segment.Seq(keep))
	d.must(err)
	claim := segment.Position{Ordinal: s.Ordinal, Offset: end}
	d.file.StandInOrdinal, d.file.Newest, d.file.Claim = ordinal, ordinal, claim
	d.file.StandIn = segment.Link{
		Base: segment.Seq(keep + 1), Pred: s.Ordinal, PredSalt: s.Salt, PredEnd: end,
		FirstLive: first, Claim: claim, Time: d.now(), Reason: segment.ReasonNoSpace,
	}
	d.writeJournal()
}

// TestStandIn: the link in JOURNAL is a segment; what it leaves out is not there, whatever it
// holds.
func TestStandIn(t *testing.T) {
	five := func(t *testing.T) *dir { // records 1 to 5 in segment 1, 6 and 7 in segment 2
		d := newDir(t).start().append(5).sync().mark()
		d.roll()
		return d.append(2).sync().mark()
	}
	for _, c := range []struct {
		name   string
		change func(d *dir)
		label  Label
		action Action
		first  segment.Seq
		next   segment.Seq
		dead   []uint64
	}{
		{"cut", func(d *dir) { d.standIn(3, 1, 4) }, Clean, Cut, 1, 5, []uint64{2}},
		{"cut in front", func(d *dir) { d.standIn(3, 4, 4) }, Clean, Cut, 4, 5, []uint64{2}},
		{"all cut", func(d *dir) { d.standIn(3, 5, 4) }, Clean, Cut, 5, 5, []uint64{1, 2}},
		{"half of it is removed", func(d *dir) {
			d.standIn(3, 1, 4)
			d.remove(name(2))
		}, Clean, Cut, 1, 5, nil},
		{"all is removed", func(d *dir) {
			d.standIn(3, 5, 4)
			d.remove(name(1), name(2))
		}, Clean, Cut, 5, 5, nil},
		{"prepared above", func(d *dir) {
			d.standIn(3, 1, 4)
			d.prepare(4)
		}, Clean, Cut, 1, 5, []uint64{2}},
		{"superseded", func(d *dir) {
			d.standIn(3, 1, 4)
			d.records = d.records[:4]
			d.link(4, d.file.StandIn)
			d.append(2)
		}, Open, Cut, 1, 7, []uint64{2}},
		{"its successor is torn", func(d *dir) {
			d.standIn(3, 1, 4)
			d.records = d.records[:4]
			d.link(4, d.file.StandIn)
			d.append(2)
			d.flip(4, segment.FirstFrame+4)
		}, Torn, Cut, 1, 5, []uint64{2}},
		{"a file in its place", func(d *dir) {
			d.standIn(3, 1, 4)
			d.prepare(3)
		}, Clean, Cut, 1, 5, []uint64{2}},
		{"damage before its end", func(d *dir) {
			d.standIn(3, 1, 4)
			d.flip(1, segment.LinkEnd+20)
		}, BrokenChain, Refuse, 1, 1, nil},
		{"its predecessor is missing", func(d *dir) {
			d.standIn(3, 1, 4)
			d.remove(name(1))
		}, BrokenChain, Refuse, 1, 1, nil},
		{"a gap above", func(d *dir) {
			d.standIn(3, 1, 4)
			d.prepare(5)
		}, Gap, Refuse, 1, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := five(t)
			c.change(d)
			st := d.scan(Options{Full: true})
			if st.Label != c.label || st.Action != c.action {
				t.Fatalf("%s, %s, want %s, %s: %v", st.Label, st.Action, c.label, c.action, st.Err)
			}
			if c.action == Refuse {
				return
			}
			if st.FirstLive != c.first || st.Next != c.next {
				t.Errorf("first live %d, next %d; want %d, %d", st.FirstLive, st.Next, c.first, c.next)
			}
			if dead := st.Dead(); !slices.Equal(dead, c.dead) {
				t.Errorf("dead are %d, want %d", dead, c.dead)
			}
			got, err := shown(st)
			if err != nil || !slices.Equal(got, d.records[c.first-1:c.next-1]) {
				t.Errorf("shows %q, %v", got, err)
			}
			if len(st.Report.Damage) > 0 || st.Report.Verdict != Intact {
				t.Errorf("report\n%v", st.Report)
			}
			if want := c.next - 1; c.label == Clean && st.Report.Durable != want {
				t.Errorf("durable to %d, want %d", st.Report.Durable, want)
			}
		})
	}
}
