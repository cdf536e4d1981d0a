package recovery

import (
	"errors"
	"slices"
	"testing"

	"mmjournal/segment"
)

// answer is what is said about a journal: of the first place where it costs records, and which
// records are left.
type answer struct {
	verdict     Verdict
	at          segment.Position
	seq         segment.Seq // of the first record that may be affected
	first, last segment.Seq // what is left; last is first-1 if nothing is
	redundant   []segment.Position
}

// read reads a state's records in order, as a journal's iteration does: up to the first that cannot
// be read, or to what the scan has found.
func readState(st *State) (records []string, err error) {
	var r segment.Reader
	for i, seg := range st.Chain {
		end := seg.Next()
		if i+1 < len(st.Chain) {
			end = st.Chain[i+1].Link.Base
		}
		from := max(st.FirstLive, seg.Link.Base)
		if from >= end {
			continue
		}
		if err := r.Start(seg, from); err != nil {
			return records, err
		}
		for range end - from {
			p, err := r.Next()
			if err != nil {
				return records, err
			}
			records = append(records, string(p))
		}
		if err := r.End(); err != nil {
			return records, err
		}
	}
	return records, st.Err
}

// answered returns what a full check says.
func answered(st *State) (a answer) {
	a = answer{verdict: st.Report.Verdict, first: st.FirstLive, last: st.Next - 1}
	for _, d := range st.Report.Damage {
		if d.Redundant {
			a.redundant = append(a.redundant, pos(d.Segment, d.Offset))
		}
	}
	var c *segment.CorruptError
	if errors.As(st.Err, &c) {
		a.at, a.seq = pos(c.Segment, c.Offset), c.Seq
	}
	return a
}

// TestOneAnswer: damage of every kind, and what is said about it: by a full check, and by a quick
// one together with reading all records, which comes to the same.
func TestOneAnswer(t *testing.T) {
	intact := func(last segment.Seq) answer { return answer{verdict: Intact, first: 1, last: last} }
	corrupt := func(at segment.Position, seq, last segment.Seq) answer {
		return answer{verdict: Corrupt, at: at, seq: seq, first: 1, last: last}
	}
	damaged := func(first, last segment.Seq, at ...segment.Position) answer {
		return answer{verdict: Damaged, first: first, last: last, redundant: at}
	}
	// batch is a record, a batch of three, and a mark that claims them.
	batch := func(d *dir) *dir { return d.start().append(1).batch(3).sync().mark() }
	third := at(1) + 2*40
	for _, c := range []struct {
		name  string
		build func(d *dir)
		want  answer
	}{
		{"undamaged", func(d *dir) { d.start().append(3).roll().append(2).close() }, intact(5)},

		{"third record of a batch at the end", func(d *dir) {
			batch(d).done().flip(1, third+20)
		}, corrupt(pos(1, third), 4, 3)},
		{"third record of a batch in a sealed segment", func(d *dir) {
			batch(d).roll().append(2).sync().mark().done().flip(1, third+20)
		}, corrupt(pos(1, third), 4, 3)},
		{"the same, and damage in a later segment", func(d *dir) {
			batch(d).roll().append(3).sync().mark().roll().append(1).sync().mark().done()
			d.flip(1, third+20).flip(2, at(1)+40)
		}, corrupt(pos(1, third), 4, 3)},

		{"a dropped record in a sealed segment", func(d *dir) {
			d.start().append(3).roll()
			d.firstLive = 3
			d.append(1).sync().mark().done().flip(1, at(0)+20)
		}, damaged(3, 4, pos(1, at(0)))},
		{"a dropped record's length", func(d *dir) {
			d.start().append(3).roll()
			d.firstLive = 3
			d.append(1).sync().mark().done().flip(1, at(1)+1)
		}, damaged(3, 4, pos(1, at(1)))},
		{"a dropped record, and a live one in the same segment", func(d *dir) {
			d.start().append(4).roll()
			d.firstLive = 3
			d.append(1).sync().mark().done().flip(1, at(0)+20).flip(1, at(3)+20)
		}, answer{verdict: Corrupt, at: pos(1, at(3)), seq: 4, first: 3, last: 3,
			redundant: []segment.Position{pos(1, at(0))}}},
		{"a dropped record in what is left below a missing segment", func(d *dir) {
			d.start().append(4).roll().append(1).roll()
			d.firstLive = 3
			d.append(1).sync().mark().done().flip(1, at(0)+20).remove(name(2))
		}, answer{verdict: Corrupt, at: pos(2, 0), seq: 5, first: 3, last: 4,
			redundant: []segment.Position{pos(1, at(0))}}},
		{"the index of what is left below a missing segment", func(d *dir) {
			d.start().append(4).roll().append(1).roll().append(1).sync().mark().done()
			d.flip(1, at(4)+80).remove(name(2))
		}, answer{verdict: Corrupt, at: pos(2, 0), seq: 5, first: 1, last: 4,
			redundant: []segment.Position{pos(1, at(4)+80)}}},
		{"a dropped record in the newest segment", func(d *dir) {
			d.start().append(5).sync()
			d.firstLive = 3
			d.mark().append(1).sync().mark().done().flip(1, at(0)+20)
		}, damaged(3, 6, pos(1, at(0)))},
		{"a dropped record of a journal that was closed", func(d *dir) {
			d.start().append(5).sync()
			d.firstLive = 3
			d.mark().close().done().flip(1, at(1)+20)
		}, damaged(3, 5, pos(1, at(1)))},
		{"all records were dropped, and one is damaged", func(d *dir) {
			d.start().append(3).sync()
			d.firstLive = 4
			d.mark().close().done().flip(1, at(1)+20)
		}, damaged(4, 3, pos(1, at(1)))},
		{"the first live record", func(d *dir) {
			d.start().append(3).roll()
			d.firstLive = 3
			d.append(1).sync().mark().done().flip(1, at(2)+20)
		}, answer{verdict: Corrupt, at: pos(1, at(2)), seq: 3, first: 3, last: 2}},

		{"a seal", func(d *dir) {
			d.start().append(3).roll().append(1).sync().mark().done().flip(1, at(3)+20)
		}, damaged(1, 4, pos(1, at(3)))},
		{"the mark before a seal", func(d *dir) {
			d.start().append(3).sync().mark().roll().append(1).sync().mark().done().flip(1, at(3)+20)
		}, damaged(1, 4, pos(1, at(3)))},
		{"a mark between records", func(d *dir) {
			d.start().append(3).sync().mark().append(1).roll().append(1).sync().mark().done()
			d.flip(1, at(3)+20)
		}, corrupt(pos(1, at(3)), 4, 3)},

		{"the link of the segment whose mark has dropped what precedes it", func(d *dir) {
			d.start().append(2).roll().sync()
			d.firstLive = 3
			d.mark().done().flip(2, segment.FirstFrame+4)
		}, answer{verdict: Corrupt, at: pos(2, segment.FirstFrame), seq: 3, first: 3, last: 2}},

		{"a bad identity and a gap above the newest", func(d *dir) {
			d.start().append(3).close().prepare(2)
			d.prepare(4)
			d.done().flip(4, 100)
		}, corrupt(pos(4, 0), 4, 3)},

		{"first live seq above the next one", func(d *dir) {
			d.start().append(3).sync().mark().append(1)
			d.firstLive = 9
			d.sync().mark()
		}, answer{verdict: Corrupt, at: pos(1, at(4)+56), seq: 5, first: 5, last: 4}},

		{"damage below the claim, and the next segment's identity", func(d *dir) {
			d.start().append(3).roll().append(3).sync().mark().roll().append(1).sync().mark().done()
			d.flip(1, at(1)+20).flip(3, 100)
		}, corrupt(pos(1, at(1)), 2, 1)},
		{"damage below the claim, and the identity of a prepared segment", func(d *dir) {
			d.start().append(3).roll().append(3).sync().mark().prepare(3)
			d.done().flip(1, at(1)+20).flip(3, 100)
		}, corrupt(pos(1, at(1)), 2, 1)},
		{"damage below the claim, and a bad identity that JOURNAL names", func(d *dir) {
			d.start().append(3).roll().append(3).sync().mark().truncateBack(3, 2).append(1).sync().mark()
			d.done().flip(1, at(1)+20).flip(3, 100)
			d.records = nil
		}, answer{verdict: Corrupt, at: pos(3, 0), first: 1, last: 0}},

		{"a missing segment whose predecessor is there", func(d *dir) {
			d.start().append(3).roll().append(2).roll().append(1).sync().mark().done().remove(name(2))
		}, corrupt(pos(2, 0), 4, 3)},
		{"a missing segment, and the one before it", func(d *dir) {
			d.start().append(3).roll().append(2).roll().append(1).sync().mark().done()
			d.remove(name(1), name(2))
		}, corrupt(pos(2, 0), 1, 0)},
		{"a missing segment, and damage before it", func(d *dir) {
			d.start().append(3).roll().append(2).roll().append(1).sync().mark().done()
			d.flip(1, at(2)+20).remove(name(2))
		}, answer{verdict: Corrupt, at: pos(2, 0), seq: 1, first: 1, last: 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			full := look(t, d, Options{Full: true})
			got := answered(full)
			if got.verdict != c.want.verdict || got.at != c.want.at || got.seq != c.want.seq ||
				got.first != c.want.first || got.last != c.want.last ||
				!slices.Equal(got.redundant, c.want.redundant) {
				t.Errorf("a full check says\n%+v, want\n%+v: %v", got, c.want, full.Err)
			}
			quick := look(t, d, Options{})
			records, err := readState(quick)
			left, fullErr := readState(full)
			if !slices.Equal(records, left) || len(left) != int(c.want.last+1-c.want.first) {
				t.Errorf("%d records are read after a quick check, %d after a full one, want %d",
					len(records), len(left), c.want.last+1-c.want.first)
			}
			sameCorruption(t, err, fullErr)
		})
	}
}

// sameCorruption: two errors name the same damage.
func sameCorruption(t *testing.T, quick, full error) {
	t.Helper()
	var a, b *segment.CorruptError
	if errors.As(quick, &a) != errors.As(full, &b) {
		t.Fatalf("after a quick check %v, after a full one %v", quick, full)
	}
	if a != nil && (a.Segment != b.Segment || a.Offset != b.Offset || a.Seq != b.Seq) {
		t.Errorf("after a quick check %v, after a full one %v", quick, full)
	}
}

// TestNewerFrames: a frame of newer software in a segment of the chain is refused as such by
// whoever reads it, and never taken for damage; what it is not known to be, is not guessed.
func TestNewerFrames(t *testing.T) {
	build := func(d *dir) *dir {
		return d.start().append(3).sync().mark().append(1).sync().mark().roll().append(1).sync().mark()
	}
	for _, c := range []struct {
		name string
		at   segment.Offset
		seq  uint64
		read int // records that are read before it
	}{
		{"in place of a record", at(1), 2, 1},
		{"between records", at(3), 4, 3},
		{"after the last record", at(4) + 56, 5, 4},
		{"in place of the seal", at(4) + 2*56, 5, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			build(d).done().edit(name(1), func(b []byte) { putNewFrame(b, c.at, c.seq, 9) })
			full := look(t, d, Options{Full: true})
			if full.Label != Newer || !errors.Is(full.Err, segment.ErrVersion) {
				t.Errorf("a full check says %s, %v", full.Label, full.Err)
			}
			records, err := readState(look(t, d, Options{}))
			if len(records) != c.read || !errors.Is(err, segment.ErrVersion) ||
				errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("%d records are read after a quick check, want %d; %v", len(records), c.read, err)
			}
		})
	}
	t.Run("torn", func(t *testing.T) { // the padding must be zero before the kind says anything
		d := newDir(t)
		d.start().append(3).done().edit(name(1), func(b []byte) {
			putFrame(b, at(3), 4, 9, 17)
			b[at(3)+17] = 1
		})
		st := look(t, d, Options{Full: true})
		if st.Label != Torn || st.Err != nil || st.Next != 4 {
			t.Errorf("%s, %v, next seq %d", st.Label, st.Err, st.Next)
		}
	})
}
