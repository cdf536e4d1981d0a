package recovery

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mmjournal/segment"
)

// look scans a directory twice, and checks what holds for every directory: looking changes nothing,
// opens nothing for writing and leaves nothing open; the second look says what the first one does;
// the journal is refused if and only if there is an error; what is shown is an unchanged prefix.
func look(t *testing.T, d *dir, o Options) *State {
	t.Helper()
	before := d.content()
	watch := &watchFS{FS: d.fsys, hook: func(op, name string) error {
		switch op {
		case "readdir", "open", "size", "read", "map", "close":
			return nil
		}
		t.Errorf("scanning does %s %s", op, name)
		return nil
	}}
	again, err := Scan(watch, testDir, o)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if watch.handles != 0 || watch.maps != 0 {
		t.Errorf("%d handles and %d mappings are left", watch.handles, watch.maps)
	}
	st := d.scan(o)
	if !reflect.DeepEqual(st.Report, again.Report) {
		t.Errorf("a second look reports\n%v\nthe first one\n%v", st.Report, again.Report)
	}
	if (st.Err != nil) != (st.Action == Refuse) || !errors.Is(st.Report.Err(), st.Err) {
		t.Errorf("%s with error %v", st.Action, st.Err)
	}
	if st.Report.Label != st.Label {
		t.Errorf("label %s, reported %s", st.Label, st.Report.Label)
	}
	records, err := shown(st)
	if err != nil && st.Err == nil && o.Full {
		t.Errorf("after a full check: %v", err)
	}
	if !isPrefix(records, d.records, st.FirstLive) {
		t.Errorf("shown from %d on: %q, appended were %q", st.FirstLive, records, d.records)
	}
	if !reflect.DeepEqual(d.content(), before) {
		t.Error("looking has changed the directory")
	}
	return st
}

// TestEnds: directories that can be gone on with, and what of them is there.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		build   func(d *dir)
		label   Label
		action  Action
		end     End
		last    segment.Seq // shown
		verdict Verdict     // Intact if empty
		tail    string      // part of the report's tail; none if empty
	}{
		{name: "created", build: func(*dir) {}, label: Empty, action: Start, end: EndEmpty},
		{name: "prepared but unused", build: func(d *dir) { d.prepare(1); d.prepare(2) },
			label: Empty, action: Start, end: EndEmpty},
		{name: "prepared, without a JOURNAL", build: func(d *dir) {
			d.prepare(1)
			d.remove("JOURNAL")
		}, label: Empty, action: Start, end: EndEmpty, verdict: Damaged},
		{name: "a link that got lost, and nothing else", build: func(d *dir) {
			d.start().append(9).done().lose(1, segment.FirstFrame)
		}, label: Torn, action: Start, end: EndTorn, tail: "no valid link"},

		{name: "closed", build: func(d *dir) { d.start().append(3).close() },
			label: Clean, action: Resume, end: EndClean, last: 3},
		{name: "closed without a record", build: func(d *dir) { d.start().close() },
			label: Clean, action: Resume, end: EndClean},
		{name: "closed, several segments", build: func(d *dir) {
			d.start().append(3).roll().append(3).sync().mark().roll().append(2).close()
		}, label: Clean, action: Resume, end: EndClean, last: 8},
		{name: "closed, and a prepared segment", build: func(d *dir) {
			d.start().append(3).close().prepare(2)
		}, label: Clean, action: Resume, end: EndClean, last: 3},

		{name: "open", build: func(d *dir) { d.start().append(3) },
			label: Open, action: Cut, end: EndOpen, last: 3},
		{name: "open with a claim", build: func(d *dir) { d.start().append(3).sync().mark() },
			label: Open, action: Cut, end: EndOpen, last: 3},
		{name: "open behind a seal", build: func(d *dir) { d.start().append(3).seal() },
			label: Open, action: Cut, end: EndOpen, last: 3},
		{name: "open in the second segment", build: func(d *dir) { d.start().append(3).roll().append(1) },
			label: Open, action: Cut, end: EndOpen, last: 4},
		{name: "written behind a closing mark", build: func(d *dir) {
			d.start().append(1).close().append(1)
		}, label: Open, action: Cut, end: EndOpen, last: 2},

		{name: "torn record", build: func(d *dir) {
			d.start().append(3).done().flip(1, d.frameOffset(1, 3)+50)
		}, label: Torn, action: Cut, end: EndTorn, last: 2, tail: "bad checksum"},
		{name: "torn record after a claim", build: func(d *dir) {
			d.start().append(2).sync().mark().append(2).done().flip(1, d.frameOffset(1, 3)+50)
		}, label: Torn, action: Cut, end: EndTorn, last: 2, tail: "bad checksum"},
		{name: "valid frames behind a hole, above all claims", build: func(d *dir) {
			d.start().append(2).sync().mark().append(20).done()
			d.edit(name(1), func(b []byte) { clear(b[at(9)+56:][:512]) })
		}, label: Torn, action: Cut, end: EndTorn, last: 9, tail: "bytes after unwritten ones"},
		{name: "incomplete batch", build: func(d *dir) {
			d.start().append(2).batch(4).done().flip(1, d.frameOffset(1, 6))
		}, label: Torn, action: Cut, end: EndTorn, last: 2, tail: "from seq 3 on"},
		{name: "closing mark torn", build: func(d *dir) {
			d.start().append(3).sync().mark().done().flip(1, at(3)+8)
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bad checksum"},
		{name: "a byte far behind the end", build: func(d *dir) {
			d.start().append(3).done().edit(name(1), func(b []byte) { b[8191] = 1 })
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bytes after unwritten ones"},
		{name: "a byte behind a closing mark", build: func(d *dir) {
			d.start().append(3).close().done().edit(name(1), func(b []byte) { b[8191] = 1 })
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bytes after unwritten ones"},
		{name: "a byte in the segment above", build: func(d *dir) {
			d.start().append(3).close().prepare(2)
			d.done().edit(name(2), func(b []byte) { b[8000] = 1 })
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "no valid link"},

		{name: "a byte in the segment above, and an unused one above that", build: func(d *dir) {
			d.start().append(3).close().prepare(2)
			d.prepare(3)
			d.done().edit(name(2), func(b []byte) { b[8000] = 1 })
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "no valid link"},

		{name: "chain break that nobody claims", build: func(d *dir) {
			d.start().append(5).roll().append(2).done().flip(1, d.frameOffset(1, 4)+40)
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bad checksum"},
		{name: "chain break above the claim", build: func(d *dir) {
			d.start().append(3).sync().mark().append(2).roll().append(2).done()
			d.flip(1, d.frameOffset(1, 4)+40)
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bad checksum"},
		{name: "several candidates, the chain of the lowest is whole", build: func(d *dir) {
			d.start().append(5).sync().roll().append(5).roll().append(5).roll().append(1).done()
			d.flip(2, d.frameOffset(2, 9)+40)
		}, label: Torn, action: Cut, end: EndTorn, last: 8, tail: "bad checksum"},
		{name: "the seal is lost, the next segment is there", build: func(d *dir) {
			d.start().append(3).sync().mark().seal()
			end := d.w.Position().Offset
			d.begin(d.open[1], d.follow(d.open[0]))
			d.append(2).done().flip(1, end-60)
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "bad checksum"},
		{name: "predecessor missing, nobody claims it", build: func(d *dir) {
			d.start().append(3).roll().append(2).done().remove(name(1))
			d.file.Newest = 0
			d.writeJournal()
		}, label: Torn, action: Start, end: EndTorn, tail: "segment is missing"},
		{name: "base seq does not follow, nobody claims it", build: func(d *dir) {
			d.start().append(3)
			l := d.follow(d.open[0])
			l.Base = 9
			d.link(2, l)
			d.w = nil
		}, label: Torn, action: Cut, end: EndTorn, last: 3, tail: "seq out of order"},

		{name: "truncated back", build: func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).sync().mark().append(2).close()
		}, label: Clean, action: Resume, end: EndClean, last: 5},
		{name: "truncated back, damage in what is dead", build: func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).sync().mark().append(2).close().done()
			d.flip(1, at(3)+8)
		}, label: Clean, action: Resume, end: EndClean, last: 5},
		{name: "truncated back to a segment before", build: func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close()
		}, label: Clean, action: Resume, end: EndClean, last: 3},
		{name: "dead segment damaged all over", build: func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().done()
			d.edit(name(2), func(b []byte) { clear(b[4096:]); b[5000] = 1 })
		}, label: Clean, action: Resume, end: EndClean, last: 3},
		{name: "dead segment with a bad identity", build: func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().done()
			d.flip(2, 100)
		}, label: Clean, action: Resume, end: EndClean, last: 3, verdict: Damaged},
		{name: "dead segment removed", build: func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().done()
			d.remove(name(2))
		}, label: Clean, action: Resume, end: EndClean, last: 3},
		{name: "truncated to nothing", build: func(d *dir) {
			d.start().append(5).sync().mark()
			d.records = nil
			d.link(2, segment.Link{Base: 1, Claim: d.claim, Reason: segment.ReasonTruncateBack})
			d.close()
		}, label: Clean, action: Resume, end: EndClean},
		{name: "truncated in front, the first segment removed", build: func(d *dir) {
			d.start().append(5).roll().append(5).sync()
			d.firstLive = 7
			d.mark().close().done().remove(name(1))
		}, label: Clean, action: Resume, end: EndClean, last: 10},
		{name: "truncated in front, up to the end", build: func(d *dir) {
			d.start().append(5).sync()
			d.firstLive = 6
			d.mark().close()
		}, label: Clean, action: Resume, end: EndClean, last: 5},

		{name: "JOURNAL missing", build: func(d *dir) { d.start().append(3).close().remove("JOURNAL") },
			label: Clean, action: Resume, end: EndClean, last: 3, verdict: Damaged},
		{name: "JOURNAL empty", build: func(d *dir) { d.start().append(3).close().write("JOURNAL", nil) },
			label: Clean, action: Resume, end: EndClean, last: 3, verdict: Damaged},
		{name: "JOURNAL damaged", build: func(d *dir) {
			d.start().append(3).close().edit("JOURNAL", flipBoth)
		}, label: Clean, action: Resume, end: EndClean, last: 3, verdict: Damaged},
		{name: "JOURNAL damaged, and no segment", build: func(d *dir) {
			d.edit("JOURNAL", flipBoth)
		}, label: Empty, action: Start, end: EndEmpty, verdict: Damaged},
		{name: "JOURNAL is a large file", build: func(d *dir) {
			d.start().append(3).close().write("JOURNAL", make([]byte, 100_000))
		}, label: Clean, action: Resume, end: EndClean, last: 3, verdict: Damaged},
		{name: "JOURNAL names a newer segment, which is prepared", build: func(d *dir) {
			d.start().append(3)
			d.prepare(2)
			d.file.Newest = 2
			d.writeJournal()
		}, label: Open, action: Cut, end: EndOpen, last: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				if st.Label != c.label || st.Action != c.action || st.Err != nil {
					t.Fatalf("%s, %s, %v; want %s, %s", st.Label, st.Action, st.Err, c.label, c.action)
				}
				if st.Next-1 != c.last || st.Report.Last != c.last || st.Report.End != c.end {
					t.Errorf("last seq %d, end %s; want %d, %s", st.Next-1, st.Report.End, c.last, c.end)
				}
				want := c.verdict
				if want == "" {
					want = Intact
				}
				if want == Intact && st.Report.Unread > 0 && !full {
					want = NoDamage
				}
				if st.Report.Verdict != want || full && st.Report.Unread > 0 {
					t.Errorf("verdict %s, want %s: %v, %d segments not read",
						st.Report.Verdict, want, st.Report.Damage, st.Report.Unread)
				}
				tail := ""
				if st.Report.Tail != nil {
					tail = st.Report.Tail.String()
				}
				if (tail != "") != (c.tail != "") || !strings.Contains(tail, c.tail) {
					t.Errorf("tail %q, want %q", tail, c.tail)
				}
				if st.ID != d.file.Journal && st.Highest > 0 {
					t.Errorf("journal id %v, want %v", st.ID, d.file.Journal)
				}
				checkShown(t, d, st, c.last)
			}
		})
	}
}

// checkShown: exactly the records from the first live one to last are shown.
func checkShown(t *testing.T, d *dir, st *State, last segment.Seq) {
	t.Helper()
	records, err := shown(st)
	if err != nil || st.FirstLive+segment.Seq(len(records)) != last+1 {
		t.Errorf("%d records from %d on are shown (%v), want up to %d",
			len(records), st.FirstLive, err, last)
	}
	if st.FirstLive != d.firstLive {
		t.Errorf("first live seq %d, want %d", st.FirstLive, d.firstLive)
	}
}

// TestRefusals: directories that are damaged; where, and what is still shown.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(d *dir)
		label Label
		want  error
		at    segment.Position
		seq   segment.Seq // of the first record that may be affected
		last  segment.Seq // shown
	}{
		{"valid frames behind a hole, below a claim", func(d *dir) {
			d.start().append(20).sync().append(1).mark().done()
			d.edit(name(1), func(b []byte) { clear(b[at(7):at(9)]) })
		}, DamagedEnd, segment.ErrHole, pos(1, at(7)), 8, 7},
		{"bad frame below the mark behind it", func(d *dir) {
			d.start().append(5).sync().mark().done().flip(1, at(2)+20)
		}, DamagedEnd, segment.ErrChecksum, pos(1, at(2)), 3, 2},
		{"bad frame below what JOURNAL claims", func(d *dir) {
			d.start().append(5).close().done()
			d.flip(1, at(4)+20).flip(1, at(5)+20)
		}, DamagedEnd, segment.ErrChecksum, pos(1, at(4)), 5, 4},
		{"the end is cut off below what JOURNAL claims", func(d *dir) {
			d.start().append(5).close().done()
			d.edit(name(1), func(b []byte) { clear(b[at(3):]) })
		}, DamagedEnd, segment.ErrHole, pos(1, at(3)), 4, 3},
		{"JOURNAL claims what is behind a seal", func(d *dir) {
			d.start().append(3).seal()
			d.file.Claim = pos(1, 8000)
			d.writeJournal()
		}, DamagedEnd, segment.ErrHole, pos(1, at(3)+80), 4, 3},
		{"claimed batch is incomplete", func(d *dir) {
			d.start().append(2).batch(3).sync().mark().done()
			d.flip(1, d.frameOffset(1, 5)+4)
		}, DamagedEnd, segment.ErrChecksum,
			pos(1, at(2)+80), 5, 4},
		{"link damaged, a mark in the segment claims it", func(d *dir) {
			d.start().append(2).sync().mark().done().flip(1, segment.FirstFrame+40)
		}, DamagedEnd, segment.ErrChecksum, pos(1, segment.FirstFrame), 0, 0},

		{"chain break below a claim", func(d *dir) {
			d.start().append(5).sync().roll().append(2).done().flip(1, at(4)+20)
			d.file.Claim = segment.Position{}
		}, BrokenChain, segment.ErrChecksum, pos(1, at(4)), 5, 4},
		{"claimed predecessor missing", func(d *dir) {
			d.start().append(5).sync().roll().append(2).done().remove(name(1))
		}, BrokenChain, segment.ErrMissing, pos(1, 0), 1, 0},
		{"claimed predecessor has a bad identity", func(d *dir) {
			d.start().append(5).sync().roll().append(2).done().flip(1, 40)
		}, BrokenChain, segment.ErrChecksum, pos(1, 0), 1, 0},
		{"claimed predecessor is too short", func(d *dir) {
			d.start().append(5).sync().roll().append(2).done().write(name(1), d.read(name(1))[:6000])
		}, BrokenChain, segment.ErrShort, pos(1, 0), 1, 0},
		{"claimed predecessor is another segment", func(d *dir) {
			d.start().append(5).sync().roll().append(2).done().remove(name(1)).prepare(1)
		}, BrokenChain, segment.ErrForeign, pos(1, 0), 1, 0},
		{"claimed predecessor has no link", func(d *dir) {
			d.start().append(5).sync().roll().append(2).sync().mark().done().lose(1, segment.FirstFrame)
		}, BrokenChain, nil, pos(1, segment.FirstFrame), 1, 0},

		{"seal's successor missing", func(d *dir) {
			d.start().append(3).seal()
			d.done().remove(name(2))
		}, LostSuccessor, segment.ErrMissing, pos(2, 0), 4, 3},
		{"seal's successor replaced", func(d *dir) {
			d.start().append(3).seal()
			d.done().remove(name(2)).prepare(2)
		}, LostSuccessor, segment.ErrForeign, pos(2, 0), 4, 3},
		{"seal's successor has a bad identity", func(d *dir) {
			d.start().append(3).seal()
			d.done().flip(2, 0)
		}, LostSuccessor, segment.ErrMagic, pos(2, 0), 4, 3},
		{"ordinal left out", func(d *dir) { d.start().append(3).close().prepare(3) },
			Gap, segment.ErrMissing, pos(2, 0), 4, 3},
		{"ordinal left out, and JOURNAL cannot say that it was not linked", func(d *dir) {
			d.start().append(3).close().prepare(3)
			d.done().remove("JOURNAL")
		}, Gap, segment.ErrMissing, pos(2, 0), 0, 0},
		{"ordinal left out among prepared ones", func(d *dir) {
			d.start().append(3).close()
			d.prepare(2)
			d.prepare(4)
		}, Gap, segment.ErrMissing, pos(3, 0), 4, 3},
		{"segment doubled, and JOURNAL cannot say that no other one was there", func(d *dir) {
			d.start().append(3).close().done().write(name(2), d.read(name(1))).remove("JOURNAL")
		}, BadIdentity, segment.ErrForeign, pos(2, 0), 0, 0},
		{"prepared segment with a bad identity", func(d *dir) {
			d.start().append(3).close().prepare(2)
			d.done().flip(2, 4000)
		}, BadIdentity, segment.ErrChecksum, pos(2, 0), 4, 3},
		{"empty file above", func(d *dir) { d.start().append(3).close().write(name(2), nil) },
			BadIdentity, segment.ErrShort, pos(2, 0), 4, 3},
		{"empty file above, that JOURNAL names", func(d *dir) {
			d.start().append(3).close().write(name(2), nil)
			d.file.Newest = 2
			d.writeJournal()
		}, BadIdentity, segment.ErrShort, pos(2, 0), 0, 0},
		{"nothing but a bad identity", func(d *dir) { d.prepare(1); d.done().flip(1, 4000) },
			BadIdentity, segment.ErrChecksum, pos(1, 0), 0, 0},
		{"newest segment renamed", func(d *dir) {
			d.start().append(3).sync().mark().roll().append(2).sync().mark().done()
			d.rename(name(2), name(5))
		}, LostSuccessor, segment.ErrMissing, pos(2, 0), 4, 3},
		{"only segment renamed", func(d *dir) {
			d.start().append(3).close().done().rename(name(1), name(2))
		}, DamagedEnd, segment.ErrMissing, pos(1, 0), 0, 0},

		{"newest segment missing, only JOURNAL knows", func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).done().remove(name(2))
		}, LostNewest, segment.ErrMissing, pos(2, 0), 0, 0},
		{"newest segment missing, JOURNAL claims it", func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).append(1).close().done().remove(name(2))
		}, DamagedEnd, segment.ErrMissing, pos(2, 0), 0, 0},
		{"newest segment's identity is bad: what it has cut off is not shown", func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().done()
			d.remove(name(2)).flip(3, 100)
		}, DamagedEnd, segment.ErrChecksum, pos(3, 0), 0, 0},
		{"all segments missing", func(d *dir) { d.start().done().remove(name(1)) },
			LostNewest, segment.ErrMissing, pos(1, 0), 0, 0},
		{"all segments missing, JOURNAL claims them", func(d *dir) {
			d.start().append(3).close().done().remove(name(1))
		}, DamagedEnd, segment.ErrMissing, pos(1, 0), 0, 0},

		{"first live seq above the next one", func(d *dir) {
			d.start().append(3)
			d.firstLive = 5
			d.mark()
			d.firstLive = 4
		}, BadFirstLive, segment.ErrSeq, pos(1, at(3)), 4, 3},
		{"first live seq below the first one", func(d *dir) {
			d.link(1, segment.Link{Base: 5, FirstLive: 4, Reason: segment.ReasonReset})
			d.records = make([]string, 4)
			d.append(1)
			d.firstLive = 5
		}, BadFirstLive, segment.ErrSeq, pos(1, segment.FirstFrame), 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				var ce *segment.CorruptError
				if st.Label != c.label || !errors.As(st.Err, &ce) || !errors.Is(st.Err, segment.ErrCorrupt) {
					t.Fatalf("%s, %v; want %s", st.Label, st.Err, c.label)
				}
				if c.want != nil && !errors.Is(st.Err, c.want) {
					t.Errorf("error %v, want %v", st.Err, c.want)
				}
				at := segment.Position{Ordinal: ce.Segment, Offset: ce.Offset}
				if at != c.at || ce.Seq != c.seq || ce.Path != path(name(c.at.Ordinal)) {
					t.Errorf("%s at %v from seq %d on, want %v and %d", ce.Path, at, ce.Seq, c.at, c.seq)
				}
				damage := slices.DeleteFunc(slices.Clone(st.Report.Damage), func(d Damage) bool {
					return d.Redundant
				})
				if st.Report.Verdict != Corrupt || len(damage) != 1 || damage[0].Segment != at.Ordinal {
					t.Errorf("verdict %s, damage %v", st.Report.Verdict, st.Report.Damage)
				}
				if records, _ := shown(st); st.FirstLive+segment.Seq(len(records)) > c.last+1 &&
					len(records) > 0 || len(records) == 0 && c.last > 0 && st.FirstLive <= c.last {
					t.Errorf("%d records from %d on are shown, want up to %d", len(records), st.FirstLive, c.last)
				}
			}
		})
	}
}
