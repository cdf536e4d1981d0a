package recovery

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mmjournal/segment"
)

// goldenRolled returns the files of a golden journal of package segment, and its records by seq,
// those included that were dropped in front.
func goldenRolled(tb testing.TB) (files map[string][]byte, records map[segment.Seq][]byte) {
	tb.Helper()
	base := filepath.Join("..", "segment", "testdata", "v1", "rolled")
	paths, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no golden journal: %v", err)
	}
	files = map[string][]byte{}
	d := &dir{TB: tb, fsys: segment.NewHeapFS()}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		files[filepath.Base(path)] = b
		d.write(filepath.Base(path), b)
	}
	st, err := Scan(d.fsys, testDir, Options{Full: true})
	if err != nil {
		tb.Fatal(err)
	}
	defer st.Close()
	records = map[segment.Seq][]byte{}
	for _, seg := range st.Chain {
		for seq := seg.Link.Base; seq < seg.Next(); seq++ {
			p, err := seg.Read(seq, nil)
			if err != nil {
				tb.Fatal(err)
			}
			records[seq] = p
		}
	}
	return files, records
}

// FuzzScanDirectory damages a golden journal of three segments that was closed, in all the ways
// that a script says. Whatever is left, scanning it ends, changes nothing, leaves nothing open; and
// what is shown then are the records that were written. While a copy in JOURNAL is good, whose
// claim covers all of them, either all are there or the journal is refused.
func FuzzScanDirectory(f *testing.F) {
	files, records := goldenRolled(f)
	names := slices.Sorted(maps.Keys(files))
	want, _, err := segment.DecodeJournalFile(files["JOURNAL"])
	if err != nil {
		f.Fatal(err)
	}
	clean := scanFuzzed(f, files, false)
	if clean.Err != nil || clean.Label != Clean || len(names) != 4 {
		f.Fatalf("%q: %s, %v", names, clean.Label, clean.Err)
	}
	first, next := clean.FirstLive, clean.Next
	clean.Close()
	for _, script := range []string{
		"", "\x00\x00\x10\x60\x01", "\x00\x02\x10\x60\x01", "\x03\x01\x10\x00\x00",
		"\x03\x02\x00\x00\x00", "\x06\x01\x00\x00\x00", "\x06\x02\x00\x00\x00",
		"\x06\x03\x00\x00\x00", "\x05\x03\x10\x00\x00",
		"\x00\x03\x00\x48\x01", "\x00\x03\x10\x48\x01", "\x05\x03\x10\x00\x00",
		"\x07\x01\x00\x00\x02", "\x04\x01\x10\x00\x02", "\x06\x03\x00\x00\x00\x00\x02\x10\x10\x01",
	} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		damaged := maps.Clone(files)
		for ; len(script) >= 5; script = script[5:] {
			at := int(script[2])<<8 | int(script[3])
			damage(damaged, names, script[0], int(script[1]), at, script[4])
		}
		for _, full := range []bool{false, true} {
			st := scanFuzzed(t, damaged, full)
			checkFuzzed(t, st, records, full)
			// both copies of the golden one say the same
			now, _, err := segment.DecodeJournalFile(damaged["JOURNAL"])
			whole := err == nil && now == want
			if whole && st.Err == nil && (st.Next != next || st.FirstLive != first) {
				t.Errorf("records %d to %d are shown without an error, want %d to %d",
					st.FirstLive, st.Next-1, first, next-1)
			}
			st.Close()
		}
	})
}

// damage does one step of a script.
func damage(files map[string][]byte, names []string, op byte, which, at int, arg byte) {
	name := names[which%len(names)]
	b, there := files[name]
	if !there {
		return
	}
	b = slices.Clone(b)
	at %= max(len(b), 1)
	sector := b[at&^511 : min((at|511)+1, len(b))]
	other := names[int(arg)%len(names)]
	switch op % 8 {
	case 0, 1, 2:
		if len(b) > 0 {
			b[at] ^= arg
		}
	case 3:
		clear(sector)
	case 4: // from the same place of another file
		if o := files[other]; at&^511 < len(o) {
			copy(sector, o[at&^511:])
		}
	case 5:
		b = b[:at]
	case 6:
		delete(files, name)
		return
	case 7:
		if o, ok := files[other]; ok {
			b, files[other] = o, b
		}
	}
	files[name] = b
}

// scanFuzzed scans a directory with these files.
func scanFuzzed(tb testing.TB, files map[string][]byte, full bool) *State {
	tb.Helper()
	d := &dir{TB: tb, fsys: segment.NewHeapFS()}
	for name, b := range files {
		d.write(name, b)
	}
	watch := &watchFS{FS: d.fsys}
	st, err := Scan(watch, testDir, Options{Full: full})
	if errors.Is(err, ErrNotExist) && len(files) == 0 {
		return &State{dir: &directory{}, s: &search{}, Err: err, Next: 1, FirstLive: 1}
	}
	if err != nil {
		tb.Fatal(err)
	}
	if watch.handles != 0 {
		tb.Errorf("%d handles are left", watch.handles)
	}
	for name, b := range files {
		if string(d.read(name)) != string(b) {
			tb.Errorf("%s has changed", name)
		}
	}
	return st
}

// checkFuzzed: what a state shows is what was written; its report can be printed.
func checkFuzzed(t *testing.T, st *State, records map[segment.Seq][]byte, full bool) {
	t.Helper()
	if (st.Action == Refuse) != (st.Err != nil) && st.Report != nil {
		t.Errorf("%s, %v", st.Action, st.Err)
	}
	for seq := st.FirstLive; seq < st.Next; seq++ {
		i := len(st.Chain) - 1
		for i > 0 && st.Chain[i].Link.Base > seq {
			i--
		}
		got, err := st.Chain[i].Read(seq, nil)
		if err == nil && string(got) != string(records[seq]) {
			t.Errorf("record %d is %q, was %q", seq, got, records[seq])
		}
		if err != nil && (full && st.Err == nil || !errors.Is(err, segment.ErrCorrupt)) {
			t.Errorf("record %d: %v", seq, err)
		}
	}
	if st.Report == nil {
		return
	}
	if _, err := json.Marshal(st.Report); err != nil || st.Report.String() == "" {
		t.Errorf("the report cannot be printed: %v", err)
	}
	if st.Report.Verdict == Intact && st.Err != nil && !errors.Is(st.Err, segment.ErrVersion) {
		t.Errorf("intact, but %v", st.Err)
	}
}

// FuzzHostileDirectory scans directories whose frames all verify, but say anything: links and
// claims to any place, chains that cross, seals that name anybody. Scanning ends without a panic,
// says the same twice, and what it accepts it can read.
func FuzzHostileDirectory(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x01\x00\x00\x03\x10\x20\x41"))
	f.Add([]byte("\x01\x00\x00\x01\x00\x00\x02\x10\x31\x02\x01\x01\x02\x01\x01\x02\x11\x22"))
	f.Fuzz(func(t *testing.T, script []byte) {
		files := hostile(t, script)
		for _, full := range []bool{false, true} {
			st := scanFuzzed(t, files, full)
			again := scanFuzzed(t, files, full)
			if a, b := st.Report.String(), again.Report.String(); a != b {
				t.Errorf("a second look reports\n%s\nthe first one\n%s", b, a)
			}
			again.Close()
			for seq := st.FirstLive; seq < st.Next && full && st.Err == nil; seq++ {
				i := len(st.Chain) - 1
				for i > 0 && st.Chain[i].Link.Base > seq {
					i--
				}
				if _, err := st.Chain[i].Read(seq, nil); err != nil {
					t.Errorf("record %d of %d to %d: %v", seq, st.FirstLive, st.Next-1, err)
				}
			}
			st.Close()
		}
	})
}

// hostile makes up to six segments. Each begins with a link whose fields are bytes of the script;
// then a byte says how many steps follow, of one byte each and what they need.
func hostile(t *testing.T, script []byte) map[string][]byte {
	t.Helper()
	next := func() int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	d := newDir(t)
	ends := []segment.Offset{segment.FirstFrame} // offsets worth to point at
	someEnd := func() segment.Offset { return ends[next()%len(ends)] }
	for ordinal := uint64(1); ordinal <= 6 && len(script) > 0; ordinal++ {
		s := d.prepare(ordinal)
		l := segment.Link{
			Base: segment.Seq(next() % 16), Pred: uint64(next() % 8), PredEnd: someEnd(),
			FirstLive: segment.Seq(next() % 16), Claim: pos(uint64(next()%8), someEnd()),
		}
		if l.Pred > 0 && l.Pred <= uint64(len(d.open)) {
			l.PredSalt = d.open[l.Pred-1].Salt
		} else {
			l.Pred, l.PredEnd = 0, 0
		}
		d.begin(s, l)
		for range next() % 8 {
			switch step := next(); step % 6 {
			case 0, 1:
				d.append(1 + step>>4%4)
			case 2:
				d.batch(2 + step>>4%4)
			case 3:
				d.claim = pos(uint64(next()%8), someEnd())
				d.firstLive = segment.Seq(next() % 16)
				d.mark()
			case 4:
				d.claim, d.firstLive = d.w.Position(), segment.Seq(next()%16)
				d.mark()
			case 5:
				d.must(d.w.Seal(&segment.Identity{Ordinal: uint64(next() % 8), Salt: d.salt + 1}))
				ends = append(ends, s.End())
			}
			ends = append(ends, s.End())
		}
	}
	d.done()
	if claim := next(); claim > 0 {
		d.file.Newest, d.file.Claim = uint64(claim%8), pos(uint64(next()%8), someEnd())
		d.writeJournal()
	}
	files := map[string][]byte{}
	for file, content := range d.content() {
		files[file] = []byte(content)
	}
	for len(script) >= 3 {
		b := files[name(uint64(next()%8))]
		if at := int(someEnd()) + next(); at < len(b) { // in a frame, or in the unwritten rest
			b[at] ^= 1
		}
	}
	return files
}
