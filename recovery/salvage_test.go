package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mmjournal/segment"
)

// salvage salvages the directory, which must be possible and change nothing.
func (d *dir) salvage(o SalvageOptions) *Salvaged {
	d.Helper()
	before := d.content()
	watch := &watchFS{FS: d.fsys}
	s, err := SalvageFS(watch, testDir, o)
	d.must(err)
	d.checkSalvaged(s)
	d.must(s.Close())
	if watch.handles != 0 || watch.maps != 0 {
		d.Errorf("%d files are open, %d mapped", watch.handles, watch.maps)
	}
	if !maps.Equal(before, d.content()) {
		d.Error("a file has changed")
	}
	return s
}

// checkSalvaged checks what must hold for any result.
func (d *dir) checkSalvaged(s *Salvaged) {
	d.Helper()
	total := uint64(0)
	for _, run := range s.Runs {
		next := run.First
		for rec, err := range run.Records() {
			d.must(err)
			if rec.Seq != next || rec.More && rec.Seq == run.Last {
				d.Errorf("record %d of %d to %d, where %d is next", rec.Seq, run.First, run.Last, next)
			}
			next++
		}
		if next != run.Last+1 || run.Count != uint64(next-run.First) || run.Count == 0 {
			d.Errorf("run %d to %d of %d ends before %d", run.First, run.Last, run.Count, next)
		}
		total += run.Count
		for _, part := range run.BatchParts {
			if part.First < run.First || part.Last > run.Last || part.Last < part.First {
				d.Errorf("part %v of a batch in %d to %d", part, run.First, run.Last)
			}
		}
	}
	if total != s.Records {
		d.Errorf("%d records, and %d in runs", s.Records, total)
	}
	last := segment.Seq(0) // runs and missing ranges are in order, and do not overlap
	ranges := map[segment.Seq]segment.Seq{}
	for _, run := range s.Runs {
		ranges[run.First] = run.Last
	}
	for _, m := range s.Missing {
		if len(m.Causes) == 0 || m.Last == 0 && m.First <= last {
			d.Errorf("missing %+v", m)
		}
		if m.Last > 0 {
			ranges[m.First] = m.Last
		}
	}
	for _, first := range slices.Sorted(maps.Keys(ranges)) {
		if first <= last {
			d.Errorf("a range begins with %d, and one ends with %d: %s", first, last, summary(s))
		}
		last = ranges[first]
	}
}

// summary says in a line what was salvaged: runs, with a ? if they may have been dropped, with the
// parts of batches in brackets; then what is missing.
func summary(s *Salvaged) string {
	var b strings.Builder
	for _, run := range s.Runs {
		fmt.Fprintf(&b, "%d-%d", run.First, run.Last)
		if run.MayBeDropped {
			b.WriteByte('?')
		}
		for _, p := range run.BatchParts {
			fmt.Fprintf(&b, "[%d-%d]", p.First, p.Last)
		}
		b.WriteByte(' ')
	}
	for _, m := range s.Missing {
		fmt.Fprintf(&b, " | %d-", m.First)
		if m.Last > 0 {
			fmt.Fprint(&b, m.Last)
		}
		fmt.Fprintf(&b, " %s:", m.Acknowledged)
		for _, c := range m.Causes {
			fmt.Fprintf(&b, " %s %d", c.Kind, c.Segment)
			if c.Offset > 0 {
				fmt.Fprintf(&b, "@%d", c.Offset)
			}
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// three returns three segments of ten records each, 1 to 30, the last of them not closed: what a
// claim covers ends with record 30, of which a mark says so, and 31 to 33 follow.
func three(t *testing.T) *dir {
	return newDir(t).start().append(10).roll().append(10).roll().append(10).sync().mark().append(3)
}

// past returns where the record that is the n-th in its segment starts, if a mark precedes it.
func past(n int) segment.Offset { return at(n) + 56 }

// TestSalvageDamage: one kind of damage at a time.
func TestSalvageDamage(t *testing.T) {
	closed := func(t *testing.T) *dir { return three(t).close().done() }
	open := func(t *testing.T) *dir { return three(t).done() }
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) *dir
		want string
	}{
		{"nothing", closed, "1-33"},
		{"nothing, and not closed", open, "1-33"},
		{"an empty journal", func(t *testing.T) *dir { return newDir(t).done() }, ""},
		{"no record", func(t *testing.T) *dir { return newDir(t).start().done() }, ""},

		{"the oldest segment is missing",
			func(t *testing.T) *dir { return closed(t).remove(name(1)) },
			"11-33 | 1-10 yes: file missing 1"},
		{"a segment in the middle is missing",
			func(t *testing.T) *dir { return closed(t).remove(name(2)) },
			"1-10? 21-33 | 11-20 yes: file missing 2"},
		{"the newest segment is missing",
			func(t *testing.T) *dir { return closed(t).remove(name(3)) },
			"1-20? | 21- yes: file missing 3"},
		{"the newest segment is missing, and only a seal says so",
			func(t *testing.T) *dir { return open(t).remove(name(3)) },
			"1-20? | 21- unknown: file missing 3"},
		{"only the middle is left",
			func(t *testing.T) *dir { return closed(t).remove(name(1), name(3)) },
			"11-20? | 1-10 yes: file missing 1 | 21- yes: file missing 3"},
		{"no segment is left",
			func(t *testing.T) *dir { return closed(t).remove(name(1), name(2), name(3)) },
			"| 1- yes: file missing 3"},

		{"a bit of a record",
			func(t *testing.T) *dir { return closed(t).flip(2, at(4)+20) },
			"1-14 16-33 | 15-15 yes: damaged frame 2@4656"},
		{"a length",
			func(t *testing.T) *dir { return closed(t).flip(2, at(4)) },
			"1-14 16-33 | 15-15 yes: damaged frame 2@4656"},
		{"a sector",
			func(t *testing.T) *dir { return closed(t).lose(2, 4608) },
			"1-13 20-33 | 14-19 yes: damaged frame 2@4544"},
		{"the last record of a full segment",
			func(t *testing.T) *dir { return closed(t).flip(2, at(9)+20) },
			"1-19 21-33 | 20-20 yes: damaged frame 2@5216"},
		{"a seal",
			func(t *testing.T) *dir { return closed(t).flip(2, at(10)+20) }, "1-33"},
		{"an index",
			func(t *testing.T) *dir { return closed(t).flip(2, at(10)+80) }, "1-33"},
		{"a record of the newest segment",
			func(t *testing.T) *dir { return closed(t).flip(3, at(4)+20) },
			"1-24 26-33 | 25-25 yes: damaged frame 3@4656"},
		{"the last record",
			func(t *testing.T) *dir { return closed(t).flip(3, past(12)+20) },
			"1-32 | 33-33 yes: damaged frame 3@5608"},
		{"the last records and the closing mark: JOURNAL says that they were there",
			func(t *testing.T) *dir { return closed(t).lose(3, 5632) },
			"1-32 | 33- yes: damaged frame 3@5608"},
		{"the mark in the middle",
			func(t *testing.T) *dir { return closed(t).flip(3, at(10)+20) }, "1-33"},

		{"an identity",
			func(t *testing.T) *dir { return closed(t).flip(2, 100) },
			"1-10? 21-33 | 11-20 yes: bad identity 2"},
		{"the identity of the oldest segment",
			func(t *testing.T) *dir { return closed(t).flip(1, 100) },
			"11-33 | 1-10 yes: bad identity 1"},
		{"the identity of the newest segment",
			func(t *testing.T) *dir { return closed(t).flip(3, 100) },
			"1-20? | 21- yes: bad identity 3"},

		{"a link: the seal of the segment before says that it follows",
			func(t *testing.T) *dir { return closed(t).flip(2, segment.FirstFrame+30) }, "1-33"},
		{"a link and a record",
			func(t *testing.T) *dir { return closed(t).flip(2, segment.FirstFrame+30).flip(2, at(0)) },
			"1-10 12-33 | 11-11 yes: bad link 2@4096"},
		{"a link, and the seal of the segment before",
			func(t *testing.T) *dir { return closed(t).flip(2, segment.FirstFrame+30).flip(1, at(10)+20) },
			"1-10? 11-33"},
		{"the oldest link",
			func(t *testing.T) *dir { return closed(t).flip(1, segment.FirstFrame+30) }, "1-33"},
		{"the newest link",
			func(t *testing.T) *dir { return closed(t).flip(3, segment.FirstFrame+30) }, "1-33"},

		{"JOURNAL", func(t *testing.T) *dir {
			return closed(t).edit(segment.JournalName, func(b []byte) { b[20]++; b[4116]++ })
		}, "1-33?"},
		{"one copy in JOURNAL", func(t *testing.T) *dir {
			return closed(t).edit(segment.JournalName, func(b []byte) { b[20]++ })
		}, "1-33"},
		{"JOURNAL is missing",
			func(t *testing.T) *dir { return closed(t).remove(segment.JournalName) }, "1-33?"},

		{"a full segment is cut short", func(t *testing.T) *dir {
			d := closed(t)
			return d.write(name(2), d.read(name(2))[:at(4)+20])
		}, "1-14 21-33 | 15-20 yes: cut short 2@4656"},
		{"a full segment is cut short between two records", func(t *testing.T) *dir {
			d := closed(t)
			return d.write(name(2), d.read(name(2))[:at(4)])
		}, "1-14 21-33 | 15-20 yes: cut short 2@4656"},
		{"the newest segment is cut short", func(t *testing.T) *dir {
			d := closed(t)
			return d.write(name(3), d.read(name(3))[:at(4)+20])
		}, "1-24 | 25- yes: cut short 3@4656"},
		{"the newest segment is cut short above what is claimed", func(t *testing.T) *dir {
			d := open(t)
			return d.write(name(3), d.read(name(3))[:past(11)])
		}, "1-31 | 32- unknown: cut short 3@5496"},
		{"only the identity of a segment is left", func(t *testing.T) *dir {
			d := closed(t)
			return d.write(name(2), d.read(name(2))[:4096])
		}, "1-10 21-33 | 11-20 yes: bad link 2@4096"},
		{"a segment is empty", func(t *testing.T) *dir { return closed(t).write(name(2), nil) },
			"1-10? 21-33 | 11-20 yes: bad identity 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(c.dir(t).salvage(SalvageOptions{})); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
		})
	}
}
