package recovery

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"mmjournal/segment"
)

// TestSalvageCuts: what a truncation, a reset or a recovery has dropped does not come back, and
// where what dropped it is lost, the run says so. The cut is always in segment 4 or above.
func TestSalvageCuts(t *testing.T) {
	// 1 to 30 in segments 1 to 3, then back to 25, and 26' to 30' in segment 4.
	back := func(t *testing.T) *dir {
		return newDir(t).start().append(10).roll().append(10).roll().append(10).sync().mark().
			truncateBack(4, 25).append(5).sync().mark()
	}
	// The same with 26' to 35' in segment 4, and 36 to 40 in segment 5.
	backRoll := func(t *testing.T) *dir { return back(t).append(5).roll().append(5).close().done() }
	// 1 to 30 in segments 1 to 3, then back to 15, and 16' to 20' in segment 4.
	farBack := func(t *testing.T) *dir {
		return newDir(t).start().append(10).roll().append(10).roll().append(10).
			truncateBack(4, 15).append(5).close().done()
	}
	reset := func(t *testing.T, next segment.Seq) *dir {
		d := newDir(t).start().append(10).roll().append(10).roll().append(10).sync()
		d.firstLive = next
		d.link(4, segment.Link{Base: next, Reason: segment.ReasonReset})
		d.records = make([]string, next-1)
		return d.append(10).roll().append(10).close().done()
	}
	// 1 to 30; JOURNAL stands in for segment 4, which cuts after 15.
	standIn := func(t *testing.T) *dir {
		d := newDir(t).start().append(10).roll().append(10).roll().append(10).close()
		second := d.open[1]
		d.file.StandInOrdinal = 4
		d.file.StandIn = segment.Link{
			Base: 16, Pred: 2, PredSalt: second.Salt, PredEnd: at(5), FirstLive: 3,
			Claim: d.claim, Time: d.now(), Reason: segment.ReasonTruncateBack,
		}
		d.writeJournal()
		return d
	}
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) *dir
		want string
	}{
		{"back", func(t *testing.T) *dir { return back(t).close().done() }, "1-30"},
		{"back, and nothing after it", func(t *testing.T) *dir {
			d := newDir(t).start().append(10).roll().append(10).roll().append(10)
			return d.truncateBack(4, 25).close().done()
		}, "1-25"},
		{"back, and a record before the end is damaged",
			func(t *testing.T) *dir { return back(t).close().done().flip(3, at(3)+20) },
			"1-23 25-30 | 24-24 yes: damaged frame 3@4544"},
		{"back, and the first record after it is damaged",
			func(t *testing.T) *dir { return back(t).close().done().flip(4, at(0)+20) },
			"1-25 27-30 | 26-26 yes: damaged frame 4@4208"},
		{"back, and the segment that says so is missing",
			func(t *testing.T) *dir { return back(t).close().done().remove(name(4)) },
			"1-30? | 31- yes: file missing 4"},
		{"back, and its link is damaged",
			func(t *testing.T) *dir { return back(t).close().done().flip(4, segment.FirstFrame+30) },
			"1-25? 26-30"},
		{"back, and the segment that says so is missing, not the next one", func(t *testing.T) *dir {
			return backRoll(t).remove(name(4))
		}, "1-30? 36-40 | 31-35 yes: file missing 4"},
		{"back, and the next one is missing", func(t *testing.T) *dir {
			return backRoll(t).remove(name(5))
		}, "1-35? | 36- yes: file missing 5"},
		{"far back", farBack, "1-20"},
		{"far back, and the segment that was dropped has a seal", func(t *testing.T) *dir {
			return farBack(t).flip(2, at(2)+20)
		}, "1-12 14-20 | 13-13 yes: damaged frame 2@4432"},
		{"far back, and the segment that says so is missing", func(t *testing.T) *dir {
			return farBack(t).remove(name(4))
		}, "1-30? | 31- yes: file missing 4"},

		{"a reset to a higher seq", func(t *testing.T) *dir { return reset(t, 100) }, "100-119"},
		{"a reset to a higher seq, and it is lost",
			func(t *testing.T) *dir { return reset(t, 100).remove(name(4)) },
			"110-119 | 100-109 yes: file missing 4"},
		{"a reset to a higher seq, and it and what follows is lost",
			func(t *testing.T) *dir { return reset(t, 100).remove(name(4), name(5)) },
			"| 100- yes: file missing 4"},
		{"a reset to a lower seq", func(t *testing.T) *dir { return reset(t, 5) }, "5-24"},
		{"a reset to a lower seq, and it is lost",
			func(t *testing.T) *dir { return reset(t, 5).remove(name(4)) },
			"5-14? 15-24"},
		{"a reset to the first seq, and it is lost",
			func(t *testing.T) *dir { return reset(t, 1).remove(name(4)) },
			"1-10? 11-20"},
		{"a reset to a lower seq after a truncation at the front, and it is lost",
			func(t *testing.T) *dir {
				d := newDir(t).start().append(10)
				d.firstLive = 8
				d.roll().append(10)
				d.firstLive = 5
				d.link(3, segment.Link{Base: 5, Reason: segment.ReasonReset})
				d.records = make([]string, 4)
				return d.append(4).roll().append(2).close().done().remove(name(3))
			}, "9-10 | 5-8 yes: file missing 3"},

		{"the stand-in", func(t *testing.T) *dir { return standIn(t).done() }, "3-15"},
		{"the stand-in, and dropped segments are gone",
			func(t *testing.T) *dir { return standIn(t).done().remove(name(3)) }, "3-15"},
		{"the stand-in, and a record before it is damaged",
			func(t *testing.T) *dir { return standIn(t).done().flip(2, at(4)+20) },
			"3-14 | 15-15 yes: damaged frame 2@4656"},
		{"the stand-in, and its predecessor is lost",
			func(t *testing.T) *dir { return standIn(t).done().remove(name(2)) },
			"3-10? | 11-15 yes: file missing 2"},
		{"the stand-in, and JOURNAL is lost",
			func(t *testing.T) *dir { return standIn(t).done().remove(segment.JournalName) },
			"1-30?"},
		{"a segment above the stand-in", func(t *testing.T) *dir {
			d := standIn(t)
			d.records, d.firstLive = d.records[:15], 3
			l := d.file.StandIn
			d.link(5, l)
			return d.append(5).done()
		}, "3-20"},
		{"a stand-in without a predecessor", func(t *testing.T) *dir {
			d := standIn(t)
			d.file.StandIn = segment.Link{
				Base: 7, FirstLive: 7, Claim: d.claim, Time: d.now(), Reason: segment.ReasonReset,
			}
			d.writeJournal()
			return d.done()
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(c.dir(t).salvage(SalvageOptions{})); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
		})
	}
}

// TestSalvageTails: behind a frame that is not valid, nothing counts that was not promised.
func TestSalvageTails(t *testing.T) {
	tail := func(t *testing.T) *dir { return newDir(t).start().append(4).sync().mark().append(4) }
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) *dir
		want string
	}{
		{"a torn append, and records after it",
			func(t *testing.T) *dir { return tail(t).done().flip(1, past(5)+20) },
			"1-5 | 6- no: torn tail 1@4824"},
		{"the mark that claims is damaged: JOURNAL claims nothing",
			func(t *testing.T) *dir { return tail(t).done().flip(1, at(4)+20) },
			"1-4 | 5- no: torn tail 1@4656"},
		{"a lost sector that a mark behind it claims", func(t *testing.T) *dir {
			return tail(t).sync().mark().append(2).done().flip(1, past(5)+20)
		}, "1-5 7-10 | 6-6 yes: damaged frame 1@4824"},
		{"damage in what is claimed and above",
			func(t *testing.T) *dir { return tail(t).done().flip(1, at(1)+20).flip(1, past(5)+20) },
			"1-1 3-5 | 2-2 yes: damaged frame 1@4320 | 6- no: torn tail 1@4824"},
		{"a full segment that nothing claims", func(t *testing.T) *dir {
			return newDir(t).start().append(6).roll().append(2).done().flip(1, at(2)+20)
		}, "1-2 4-8 | 3-3 no: damaged frame 1@4432"},
		{"a full segment whose successor is not used yet", func(t *testing.T) *dir {
			d := newDir(t).start().append(6)
			d.seal()
			return d.done().flip(1, at(2)+20)
		}, "1-2 4-6 | 3-3 no: damaged frame 1@4432"},
		{"a segment without a link that nothing claims", func(t *testing.T) *dir {
			return newDir(t).start().append(6).roll().append(2).done().
				flip(2, segment.FirstFrame+30).flip(1, at(6)+20)
		}, "1-6 | 7- no: torn tail 1@4880 torn tail 2@4096"},
		{"a recovery cut that has not got its link", func(t *testing.T) *dir {
			d := tail(t)
			d.prepare(2)
			d.file.Newest = 2
			d.writeJournal()
			return d.done()
		}, "1-8?"},
		{"a prepared segment", func(t *testing.T) *dir {
			d := tail(t)
			d.prepare(2)
			return d.done()
		}, "1-8"},
		{"a batch that is not complete", func(t *testing.T) *dir {
			return tail(t).batch(3).done().flip(1, past(8)+2*40+20)
		}, "1-8 | 9- no: torn tail 1@5160"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(c.dir(t).salvage(SalvageOptions{})); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
		})
	}
}

// TestSalvageBatches: of a batch that was promised and is damaged, what is left is returned, with a
// note.
func TestSalvageBatches(t *testing.T) {
	const size = 16 + 24 // of a record of a batch
	closed := func(t *testing.T) *dir { return newDir(t).start().append(2).batch(4).append(2).close() }
	for _, c := range []struct {
		name string
		hit  []int // records of the batch
		cut  bool
		want string
	}{
		{"whole", nil, false, "1-8"},
		{"its first record", []int{0}, false, "1-2 4-8[4-6] | 3-3 yes: damaged frame 1@4432"},
		{"its second record", []int{1}, false, "1-3[3-3] 5-8[5-6] | 4-4 yes: damaged frame 1@4472"},
		{"its last record", []int{3}, false, "1-5[3-5] 7-8 | 6-6 yes: damaged frame 1@4552"},
		{"all but its second record", []int{0, 2, 3}, false,
			"1-2 4-4[4-4] 7-8 | 3-3 yes: damaged frame 1@4432 | 5-6 yes: damaged frame 1@4512"},
		{"a truncation within", nil, true, "1-4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := closed(t)
			if c.cut {
				d.truncateBack(2, 4)
			}
			d.done()
			for _, i := range c.hit {
				d.flip(1, at(2)+segment.Offset(i)*size+20)
			}
			s := d.salvage(SalvageOptions{})
			if got := summary(s); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
			if c.hit != nil || c.cut {
				return
			}
			more := ""
			for rec := range s.Runs[0].Records() {
				more += map[bool]string{true: "+", false: "."}[rec.More]
			}
			if more != "..+++..." {
				t.Errorf("batches %s", more)
			}
		})
	}
}

// TestSalvageFirstLive: records that were dropped at the front stay dropped.
func TestSalvageFirstLive(t *testing.T) {
	dropped := func(t *testing.T) *dir {
		d := three(t)
		d.firstLive = 15
		return d.sync().mark().append(1)
	}
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) *dir
		want string
	}{
		{"the mark says so", func(t *testing.T) *dir { return dropped(t).done() }, "15-34"},
		{"the mark is damaged, and JOURNAL says so", func(t *testing.T) *dir {
			return dropped(t).close().done().flip(3, past(13)+20)
		}, "15-34"},
		{"the segment before is missing", func(t *testing.T) *dir {
			return dropped(t).close().done().remove(name(2))
		}, "21-34 | 15-20 yes: file missing 2"},
		{"the segments above are missing, and JOURNAL says so", func(t *testing.T) *dir {
			return dropped(t).close().done().remove(name(3))
		}, "15-20? | 21- yes: file missing 3"},
		{"segments that were dropped are missing", func(t *testing.T) *dir {
			return dropped(t).close().done().remove(name(1))
		}, "15-34"},
		{"within a batch", func(t *testing.T) *dir {
			d := newDir(t).start().append(2).batch(4)
			d.firstLive = 4
			return d.append(1).close().done()
		}, "4-7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(c.dir(t).salvage(SalvageOptions{})); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
		})
	}
}

// TestSalvageStrays: files that are not the journal's cost no record, and are named.
func TestSalvageStrays(t *testing.T) {
	other := func(t *testing.T) *dir {
		d := newDir(t)
		d.file.Journal[3] ^= 1
		d.salt += 0x1000
		d.writeJournal()
		return d.start().append(10).roll().append(10).close().done()
	}
	for _, c := range []struct {
		name string
		add  func(t *testing.T, d *dir)
		want string
		note string // of one of the files, with its state
	}{
		{"a copy above the newest", func(t *testing.T, d *dir) { d.write(name(9), d.read(name(3))) },
			"1-33", "9 copy a copy of segment 3 under the name of 9"},
		{"a copy where the next one would be",
			func(t *testing.T, d *dir) { d.write(name(4), d.read(name(1))) },
			"1-33", "4 copy a copy of segment 1 under the name of 4"},
		{"a copy over another segment", func(t *testing.T, d *dir) { d.write(name(2), d.read(name(3))) },
			"1-10? 21-33 | 11-20 yes: wrong file 2", "2 copy a copy of segment 3 under the name of 2"},
		{"a segment under a wrong name", func(t *testing.T, d *dir) { d.rename(name(2), name(9)) },
			"1-10? 21-33 | 11-20 yes: file missing 2",
			"9 copy segment 2 under the name of 9: rename it, since 0000000000000002.seg is missing"},
		{"two segments change their names", func(t *testing.T, d *dir) {
			d.rename(name(2), name(9)).rename(name(3), name(2)).rename(name(9), name(3))
		}, "1-10? | 11- yes: wrong file 2 wrong file 3",
			"2 copy a segment 3, but not the one in 0000000000000003.seg, under the name of 2"},
		{"another journal's segment",
			func(t *testing.T, d *dir) { d.write(name(9), other(t).read(name(2))) },
			"1-33", "9 foreign a segment of the journal 7265636e-7665-7279-4a74-657374000000"},
		{"another journal's segment over one of this",
			func(t *testing.T, d *dir) { d.write(name(2), other(t).read(name(2))) },
			"1-10? 21-33 | 11-20 yes: wrong file 2",
			"2 foreign a segment of the journal 7265636e-7665-7279-4a74-657374000000"},
		{"another journal's segment, and no JOURNAL",
			func(t *testing.T, d *dir) {
				d.remove(segment.JournalName)
				d.write(name(9), other(t).read(name(2)))
			}, "1-33?", "9 foreign a segment of the journal 7265636e-7665-7279-4a74-657374000000"},
		{"another journal's JOURNAL", func(t *testing.T, d *dir) {
			d.write(segment.JournalName, other(t).read(segment.JournalName))
		}, "| 1- yes: wrong file 2",
			"1 foreign a segment of the journal 7265636f-7665-7279-4a74-657374000000"},
		{"a file of zeros", func(t *testing.T, d *dir) { d.write(name(9), make([]byte, 8192)) },
			"1-33? | 34- unknown: bad identity 9", "9 bad bad magic: not a file of a journal"},
		{"a segment of this journal with another salt", func(t *testing.T, d *dir) {
			e := newDir(t)
			e.salt += 100
			e.start().append(10).roll().append(4).close().done()
			d.write(name(2), e.read(name(2)))
		}, "1-10? 11-14? 21-33 | 15-20 yes: wrong file 2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := three(t).close().done()
			c.add(t, d)
			s := d.salvage(SalvageOptions{})
			if got := summary(s); got != c.want {
				t.Errorf("salvaged %s\nwant     %s", got, c.want)
			}
			notes := ""
			for _, f := range s.Files {
				notes += strings.TrimLeft(strings.TrimSuffix(f.File, ".seg"), "0") + " " +
					string(f.State) + " " + f.Note + "\n"
			}
			if !strings.Contains(notes, c.note) {
				t.Errorf("no file is %q:\n%s", c.note, notes)
			}
		})
	}
	t.Run("by its id", func(t *testing.T) {
		d := three(t).close().done()
		e := other(t)
		d.write(segment.JournalName, e.read(segment.JournalName))
		id, err := segment.ParseID("7265636f-7665-7279-4a74-657374000000")
		d.must(err)
		if got, want := summary(d.salvage(SalvageOptions{ID: id})), "1-33?"; got != want {
			t.Errorf("salvaged %s, want %s", got, want)
		}
	})
}

// TestSalvageErrors: what is no damage is an error, and what cannot be read is damage.
func TestSalvageErrors(t *testing.T) {
	salvage := func(d *dir, hook func(op, name string) error) (string, error) {
		t.Helper()
		s, err := SalvageFS(&watchFS{FS: d.fsys, hook: hook}, testDir, SalvageOptions{})
		if err != nil {
			return "", err
		}
		return summary(s), s.Close()
	}
	fails := func(op, name string, err error) func(string, string) error {
		return func(o, n string) error {
			if o == op && n == name {
				return err
			}
			return nil
		}
	}
	d := three(t).close().done()
	for _, c := range []struct {
		name string
		hook func(op, name string) error
		want string
		err  error
	}{
		{"no permission for a segment", fails("open", name(2), fs.ErrPermission), "", fs.ErrPermission},
		{"no permission for JOURNAL", fails("open", segment.JournalName, fs.ErrPermission), "",
			fs.ErrPermission},
		{"a locked segment", fails("open", name(2), segment.ErrFileLocked), "", segment.ErrFileLocked},
		{"a symbolic link", fails("open", name(2), syscall.ELOOP),
			"1-10? 21-33 | 11-20 yes: bad identity 2", nil},
		{"an identity that cannot be read", fails("read", name(2), syscall.EIO),
			"1-10? 21-33 | 11-20 yes: bad identity 2", nil},
		{"a JOURNAL that cannot be read", fails("read", segment.JournalName, syscall.EIO), "1-33?", nil},
		{"a directory that cannot be read", fails("readdir", testDir, syscall.EIO), "", syscall.EIO},
	} {
		if got, err := salvage(d, c.hook); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %s, %v; want %s, %v", c.name, got, err, c.want, c.err)
		}
	}
	newer := three(t).close().done().edit(name(2), func(b []byte) {
		b[8]++
		copy(b[12:], le32(segment.Checksum(b[:12])))
	})
	if _, err := salvage(newer, nil); !errors.Is(err, segment.ErrVersion) {
		t.Errorf("a segment of newer software: %v", err)
	}
	empty := newDir(t).remove(segment.JournalName)
	if _, err := salvage(empty, nil); !errors.Is(err, ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := salvage(empty.write("notes.txt", nil), nil); !errors.Is(err, ErrNotJournal) {
		t.Errorf("a directory with other files: %v", err)
	}
	if _, err := Salvage(t.TempDir()+"/nothing", SalvageOptions{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestSalvageWriter: a writer that is active may make salvage see damage, but not without a
// warning.
func TestSalvageWriter(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(d *dir)
		want   bool
	}{
		{"nothing", func(*dir) {}, false},
		{"an append", func(d *dir) { d.flip(3, past(13)) }, false},
		{"a roll", func(d *dir) { d.prepare(4) }, true},
		{"a removal", func(d *dir) { d.remove(name(1)) }, true},
		{"JOURNAL", func(d *dir) { d.file.Generation++; d.writeJournal() }, true},
	} {
		d := three(t).close().done()
		surveyed := false
		hook := func(op, name string) error {
			if op == "readdir" && !surveyed {
				surveyed = true
			} else if op == "readdir" {
				c.change(d)
			}
			return nil
		}
		s, err := SalvageFS(&watchFS{FS: d.fsys, hook: hook}, testDir, SalvageOptions{})
		d.must(err)
		if got := len(s.Warnings) > 0; got != c.want || summary(s) != "1-33" {
			t.Errorf("%s: %s, warnings %q", c.name, summary(s), s.Warnings)
		}
		d.done()
	}
}

// TestSalvageChanged: a file that changes after the scan gives an error, and no wrong record.
func TestSalvageChanged(t *testing.T) {
	d := three(t).close().done()
	s, err := SalvageFS(d.fsys, testDir, SalvageOptions{})
	d.must(err)
	d.flip(2, at(4)+20)
	var last segment.Seq
	for rec, err := range s.Runs[0].Records() {
		if err != nil {
			if last != 14 || !errors.Is(err, ErrSalvageChanged) || !errors.Is(err, segment.ErrChecksum) {
				t.Errorf("after record %d: %v", last, err)
			}
			return
		}
		last = rec.Seq
	}
	t.Errorf("no error, records to %d", last)
}

func le32(x uint32) []byte { return []byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24)} }
