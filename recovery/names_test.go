package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

// TestNames: which names a journal's directory may have, and which ones forbid writing to it.
func TestNames(t *testing.T) {
	for name, want := range map[string]class{
		"JOURNAL": own, "JOURNAL.tmp": own, "LOCK": own, "LOCK.tmp": own,
		name(1): own, name(1) + ".tmp": own, name(9999999999999999): own,
		".hidden": ignored, "lost+found": ignored, ".0000000000000001.seg.swp": ignored,
		"1.seg": suspect, name(1) + ".bak": suspect, "0000000000000000.seg": suspect,
		"0000000000000001.SEG": suspect, "00000000000000001.seg": suspect, "x.seg": suspect,
		name(1) + "~": suspect, "0000000000000001": suspect, "0000000000000001.tmp": suspect,
		"JOURNAL.bak": suspect, "JOURNAL.1": suspect,
		"x.tmp": foreign, "a b": foreign, "core": foreign, "core.4711": foreign, "nohup.out": foreign,
		"heap.pprof": foreign, "notes.txt~": foreign, "#notes#": foreign, "journal": foreign,
		"JOURNALS": foreign, "1": foreign, "backup": foreign,
	} {
		if got := classify(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
		for _, journal := range []bool{true, false} {
			d := &dir{TB: t, fsys: segment.NewHeapFS()}
			if journal {
				d = newDir(t)
				d.start().append(1).close().done()
			}
			if _, isSegment := segment.ParseFileName(name); isSegment || name == "JOURNAL" {
				continue
			}
			d.write(name, []byte("hello"))
			err := CheckNames(d.fsys, testDir)
			refused := want == suspect || want == foreign && !journal
			if refused != errors.Is(err, ErrNotJournal) || refused != (err != nil) ||
				err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
				t.Errorf("%q beside a journal: %v: %v", name, journal, err)
			}
			if !journal {
				continue
			}
			st := d.scan(Options{})
			if st.Err != nil || (st.Foreign != nil) != (want == suspect) {
				t.Errorf("%q: %v, %v", name, st.Err, st.Foreign)
			}
			warned := slices.ContainsFunc(st.Report.Warnings, func(w string) bool {
				return strings.Contains(w, name+" is not a file of the journal")
			})
			if warned != (want == suspect || want == foreign) {
				t.Errorf("%q: warnings %q", name, st.Report.Warnings)
			}
			temp := want == own && strings.HasSuffix(name, segment.TempSuffix)
			if slices.Contains(st.Temps(), name) != temp {
				t.Errorf("%q is under preparation: %v", name, !temp)
			}
		}
	}
}

// TestControlCharacters: a name from the directory reaches no terminal as it is.
func TestControlCharacters(t *testing.T) {
	d := newDir(t)
	d.start().append(1).close().done()
	for _, name := range []string{"\x1b[2Jcore", "x\r\n.seg"} {
		d.write(name, nil)
	}
	st := d.scan(Options{})
	text := fmt.Sprint(st.Report.Warnings, st.Foreign, CheckNames(d.fsys, testDir), st.Report)
	if strings.ContainsAny(text, "\x1b\r") || !strings.Contains(text, `\x1b[2Jcore`) {
		t.Errorf("%q", text)
	}
}

// TestStrays: a file that has a segment's name and is no segment of this journal is no part of it,
// and costs no record, unless the journal misses one of that name.
func TestStrays(t *testing.T) {
	other := func(d *dir, ordinal uint64) []byte {
		o := newDir(d)
		o.file.Journal[15] = 7
		o.link(ordinal, segment.Link{Base: 1, Reason: segment.ReasonStart})
		o.append(2).close().done()
		return o.read(name(ordinal))
	}
	build := func(d *dir) *dir {
		return d.start().append(3).roll().append(3).sync().mark().roll().append(2).close()
	}
	for _, c := range []struct {
		name  string
		build func(d *dir)
		stray uint64
		what  string // that it is; "": it is not told from a segment that was lost
		label Label
		at    segment.Position // of corruption
		seq   segment.Seq
		last  segment.Seq // left
	}{
		{"a copy under a higher number", func(d *dir) {
			build(d).done().write(name(9), d.read(name(2)))
		}, 9, "a copy of segment 2", Clean, segment.Position{}, 0, 8},
		{"a copy under the next number", func(d *dir) {
			build(d).done().write(name(4), d.read(name(3)))
		}, 4, "a copy of segment 3", Clean, segment.Position{}, 0, 8},
		{"a copy, and a prepared segment", func(d *dir) {
			build(d).prepare(4)
			d.done().write(name(7), d.read(name(1)))
		}, 7, "a copy of segment 1", Clean, segment.Position{}, 0, 8},
		{"of another journal, above", func(d *dir) {
			build(d).done().write(name(5), other(d, 5))
		}, 5, "segment 5 of another journal", Clean, segment.Position{}, 0, 8},
		{"of another journal, and misnamed", func(d *dir) {
			build(d).done().write(name(5), other(d, 4))
		}, 5, "segment 4 of another journal", Clean, segment.Position{}, 0, 8},
		{"of another journal, where segments were dropped", func(d *dir) {
			build(d)
			d.firstLive = 4
			d.mark().close().done().remove(name(1)).write(name(1), other(d, 1))
		}, 1, "segment 1 of another journal", Clean, segment.Position{}, 0, 8},
		{"of another journal, beside one that is empty", func(d *dir) {
			d.write(name(1), other(d, 1))
		}, 1, "segment 1 of another journal", Empty, segment.Position{}, 0, 0},

		{"of another journal, in place of one", func(d *dir) {
			build(d).done().write(name(2), other(d, 2))
		}, 2, "", BrokenChain, pos(2, 0), 4, 3},
		{"of another journal, in place of the newest", func(d *dir) {
			build(d).done().write(name(3), other(d, 3))
		}, 3, "", DamagedEnd, pos(3, 0), 7, 6},
		{"a copy, in place of the one that has cut the journal", func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).append(1).sync().mark().done()
			d.write(name(2), d.read(name(1)))
		}, 2, "", BadIdentity, pos(2, 0), 0, 0},
		{"a copy, and no JOURNAL", func(d *dir) {
			build(d).done().write(name(9), d.read(name(2))).remove("JOURNAL")
		}, 9, "", BadIdentity, pos(9, 0), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				if st.Label != c.label || st.Next != c.last+1 && c.last > 0 {
					t.Fatalf("%s, last %d, %v; want %s, %d", st.Label, st.Next-1, st.Err, c.label, c.last)
				}
				records, err := shown(st)
				if err != nil || len(records) != int(c.last+1-st.FirstLive) {
					t.Errorf("%d records are shown, %v", len(records), err)
				}
				checkStray(t, st, c.stray, c.what)
				var ce *segment.CorruptError
				if errors.As(st.Err, &ce) != (c.what == "") {
					t.Fatalf("%v", st.Err)
				}
				if ce != nil && (pos(ce.Segment, ce.Offset) != c.at || ce.Seq != c.seq) {
					t.Errorf("%v, want %v from seq %d on", ce, c.at, c.seq)
				}
			}
		})
	}
}

// checkStray checks what is said about a file that is no segment of the journal.
func checkStray(t *testing.T, st *State, ordinal uint64, what string) {
	t.Helper()
	r := st.Report
	i := slices.IndexFunc(r.Segments, func(s Segment) bool { return s.Ordinal == ordinal })
	if s := r.Segments[i]; s.State != Stray || s.Size == 0 {
		t.Errorf("listed as %+v", s)
	}
	if what == "" {
		return
	}
	if !r.Verdict.Sound() || !errors.Is(st.Foreign, ErrNotJournal) ||
		!strings.Contains(st.Foreign.Error(), what) || !strings.Contains(fmt.Sprint(r.Warnings), what) {
		t.Errorf("%s, %v, warnings %q; want %q", r.Verdict, st.Foreign, r.Warnings, what)
	}
}

// TestIrregular: what is no regular file, though it has the name of a file of the journal, is never
// opened, and named as what it is.
func TestIrregular(t *testing.T) {
	source := newDir(t)
	source.start().append(3).roll().append(2).close().done()
	link := func(to string) func(path string) error {
		return func(path string) error {
			if err := os.Rename(path, filepath.Join(filepath.Dir(path), to)); err != nil &&
				!errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return os.Symlink(to, path)
		}
	}
	for _, c := range []struct {
		name, file string
		make       func(path string) error
		want       string // that the report says
		corrupt    bool
		last       segment.Seq
	}{
		{"a link in place of a segment", name(1), link(".moved"), "a symbolic link", true, 0},
		{"a link above", name(9), link(name(1)), "a symbolic link", false, 5},
		{"a directory above", name(9), func(p string) error { return os.Mkdir(p, 0o700) },
			"a directory", false, 5},
		{"a FIFO above", name(9), func(p string) error { return syscall.Mkfifo(p, 0o600) },
			"no regular file", false, 5},
		{"JOURNAL", "JOURNAL", link(".moved"), "not a regular file", false, 5},
		{"LOCK", "LOCK", link(".moved"), "LOCK is not a file of the journal", false, 5},
		{"a temporary file", name(3) + ".tmp", link(".moved"), ".tmp is not a file of the journal",
			false, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			osDir := t.TempDir()
			for file, content := range source.content() {
				source.must(os.WriteFile(filepath.Join(osDir, file), []byte(content), 0o600))
			}
			if err := c.make(filepath.Join(osDir, c.file)); err != nil {
				t.Skip(err)
			}
			d := testutil.OpenDir(t, osDir)
			if err := CheckNames(d, osDir); !errors.Is(err, ErrNotJournal) {
				t.Errorf("CheckNames: %v", err)
			}
			r, err := Inspect(osDir, true)
			if err != nil || (r.Verdict == Corrupt) != c.corrupt || r.Last != c.last ||
				!strings.Contains(fmt.Sprint(r, r.Segments), c.want) {
				t.Errorf("%v\n%v%v\nwant %q", err, r, r.Segments, c.want)
			}
			if _, err := d.Open(filepath.Join(osDir, c.file), segment.ReadOnly); !errors.Is(err,
				segment.ErrNotRegular) {
				t.Errorf("opening it: %v", err)
			}
		})
	}
}
