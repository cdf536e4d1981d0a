package recovery

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// reports are directories whose report is kept in testdata, as text and as JSON.
var reports = []struct {
	name  string
	full  bool
	build func(d *dir)
}{
	{"empty", false, func(d *dir) { d.prepare(1) }},
	{"clean", true, func(d *dir) {
		d.start().append(3).roll().append(3).sync().mark().roll().append(2).close().prepare(4)
	}},
	{"open", false, func(d *dir) { d.start().append(3).sync().mark().append(2) }},
	{"torn", false, func(d *dir) {
		d.start().append(3).sync().mark().append(4).done().flip(1, at(5)+56+40)
	}},
	{"torn-above", false, func(d *dir) {
		d.start().append(5).roll().append(2).done().flip(1, at(3)+40)
	}},
	{"truncated", true, func(d *dir) {
		d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).sync()
		d.firstLive = 2
		d.mark()
	}},
	{"damaged", true, func(d *dir) {
		d.start().append(5).roll().append(1).close().done()
		d.flip(1, at(5)+80).remove("JOURNAL").write("notes.txt", nil)
	}},
}

// TestReports holds texts and JSON of reports against testdata.
func TestReports(t *testing.T) {
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			r := d.scan(Options{Full: c.full}).Report
			b, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			checkText(t, filepath.Join("testdata", "report", c.name+".txt"), r.String())
			checkText(t, filepath.Join("testdata", "report", c.name+".json"), string(b)+"\n")

			var back Report
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatal(err)
			}
			back.err = r.err
			if again, err := json.MarshalIndent(&back, "", "  "); string(again) != string(b) || err != nil {
				t.Errorf("read back and written again, the JSON is %s, %v", again, err)
			}
		})
	}
}

func checkText(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./recovery -update makes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// TestRefusedReports: what a report says of damage, to people and to programs.
func TestRefusedReports(t *testing.T) {
	for _, c := range []struct {
		name  string
		full  bool
		build func(d *dir)
		text  string
		json  string
	}{
		{"corrupt", true, func(d *dir) {
			d.start().append(5).roll().append(5).sync().mark().roll().append(1).close().done()
			d.flip(2, at(3)+40)
		},
			"0000000000000002.seg, offset 4544: bad checksum; from seq 9 on; " +
				"it had been acknowledged as durable",
			`{"segment":2,"file":"0000000000000002.seg","offset":4544,"seq":9,"why":"bad checksum",` +
				`"acknowledged":true,"redundant":false}`},
		{"lost newest", false, func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).done().remove(name(2))
		},
			"0000000000000002.seg, offset 0: segment is missing; it had been acknowledged as durable",
			`{"segment":2,"file":"0000000000000002.seg","offset":0,"why":"segment is missing",` +
				`"acknowledged":true,"redundant":false}`},
		{"gap", false, func(d *dir) { d.start().append(1).close().prepare(3) },
			"0000000000000002.seg, offset 0: segment is missing; from seq 2 on",
			`{"segment":2,"file":"0000000000000002.seg","offset":0,"seq":2,"why":"segment is missing",` +
				`"acknowledged":false,"redundant":false}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			r := d.scan(Options{Full: c.full}).Report
			if r.Verdict != Corrupt || len(r.Damage) != 1 || r.Tail != nil {
				t.Fatalf("%s, damage %v, tail %v", r.Verdict, r.Damage, r.Tail)
			}
			if !strings.HasPrefix(r.String(), testDir+": corrupt (") ||
				!strings.Contains(r.String(), "\ndamage: "+c.text+"\n") {
				t.Errorf("text\n%s\nwant in it\n%s", r, c.text)
			}
			b, err := json.Marshal(r.Damage[0])
			if err != nil || string(b) != c.json {
				t.Errorf("JSON %s, %v\nwant %s", b, err, c.json)
			}
		})
	}
}

// TestReportFields: the numbers in a report.
func TestReportFields(t *testing.T) {
	d := newDir(t)
	d.start().append(3).sync().mark().append(2).roll().append(4).sync().mark().append(1).done()
	r := look(t, d, Options{Full: true}).Report
	if r.Path != testDir || r.ID != d.file.Journal.String() || r.Version != 1 || !r.Full ||
		!r.Created.Equal(d.file.Created) {
		t.Errorf("report %+v", r)
	}
	if r.First != 1 || r.Last != 10 || r.Records != 10 || r.Durable != 9 {
		t.Errorf("records %d to %d (%d), durable to %d", r.First, r.Last, r.Records, r.Durable)
	}
	used := int64(at(5)) + 56 + 80 + int64(at(5)) + 56
	if r.SizeBytes != 2*segment.MinSize || r.UsedBytes != used {
		t.Errorf("%d of %d bytes are used, want %d", r.UsedBytes, r.SizeBytes, used)
	}
	if len(r.Segments) != 2 {
		t.Fatalf("%d segments", len(r.Segments))
	}
	one, two := r.Segments[0], r.Segments[1]
	if one.Ordinal != 1 || one.File != name(1) || one.State != Sealed || one.Reason != "start" ||
		one.Pred != 0 || one.First != 1 || one.Last != 5 || one.Records != 5 {
		t.Errorf("first segment %+v", one)
	}
	if two.Ordinal != 2 || two.State != Active || two.Reason != "roll" || two.Pred != 1 ||
		two.First != 6 || two.Last != 10 || two.Records != 5 || two.Size != segment.MinSize {
		t.Errorf("second segment %+v", two)
	}
}

// TestDurable: the last seq that a claim covers, wherever the claim lies.
func TestDurable(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(d *dir)
		want  segment.Seq
	}{
		{"nothing there", func(*dir) {}, 0},
		{"nothing claimed", func(d *dir) { d.start().append(3) }, 0},
		{"claimed before the first record", func(d *dir) { d.start().sync().append(3).mark() }, 0},
		{"claimed in between", func(d *dir) { d.start().append(3).sync().append(2).mark().append(1) }, 3},
		{"closed", func(d *dir) { d.start().append(3).close() }, 3},
		{"claimed up to a segment's end", func(d *dir) {
			d.start().append(3).roll()
			d.claim = pos(1, d.open[0].End())
			d.mark().append(2)
		}, 3},
		{"claimed up to the next segment's start", func(d *dir) {
			d.start().append(3).roll()
			d.claim = pos(2, segment.FirstFrame)
			d.mark().append(2)
		}, 3},
		{"claimed a segment that is linked", func(d *dir) {
			d.start().append(5).sync().mark().truncateBack(2, 3).append(1)
		}, 3},
		{"claimed inside a record", func(d *dir) { // no writer does that
			d.start().append(3)
			d.claim = pos(1, at(1)+8)
			d.mark()
		}, 0},
		{"all claimed, then truncated in front", func(d *dir) {
			d.start().append(5).sync()
			d.firstLive = 6
			d.mark()
		}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				if st.Err != nil || st.Report.Durable != c.want {
					t.Errorf("durable to %d, want %d (%v)", st.Report.Durable, c.want, st.Err)
				}
			}
		})
	}
}

// TestInspect describes the golden journals of package segment, on the real file system.
func TestInspect(t *testing.T) {
	golden := filepath.Join("..", "segment", "testdata", "v1")
	files, err := filepath.Glob(filepath.Join(golden, "*.json"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d golden journals, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var want struct {
				Label   Label
				First   segment.Seq
				Next    segment.Seq
				Chain   []uint64
				End     segment.Position
				Claim   segment.Position
				Records []struct {
					Seq     segment.Seq
					Payload string
				}
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			path := strings.TrimSuffix(file, ".json")
			for _, full := range []bool{false, true} {
				r, err := Inspect(path, full)
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				if err != nil || r.Err() != nil {
					t.Fatal(err, r.Err())
				}
				verdict := Intact
				if !full && len(want.Chain) > 1 {
					verdict = NoDamage
				}
				if r.Verdict != verdict || r.Label != want.Label || r.First != want.First ||
					r.Last != want.Next-1 || r.Full != full {
					t.Errorf("report\n%s\nwant %+v", r, want)
				}
				st, err := Scan(testutil.OpenDir(t, path), path, Options{Full: full})
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				if st.End != want.End || st.Claim != want.Claim {
					t.Errorf("end %v, claim %v; want %v, %v", st.End, st.Claim, want.End, want.Claim)
				}
				var chain []uint64
				for _, s := range st.Chain {
					chain = append(chain, s.Ordinal)
				}
				var payloads []string
				for i, rec := range want.Records {
					if rec.Seq != want.First+segment.Seq(i) {
						t.Fatalf("%s: record %d has seq %d", file, i, rec.Seq)
					}
					payloads = append(payloads, rec.Payload)
				}
				got, err := shown(st)
				for i := range got {
					got[i] = hex.EncodeToString([]byte(got[i]))
				}
				if !slices.Equal(chain, want.Chain) || !slices.Equal(got, payloads) || err != nil {
					t.Errorf("chain %v, records %q, %v", chain, got, err)
				}
			}
		})
	}
}

// TestInspectErrors: corruption is in the report; the rest are errors.
func TestInspectErrors(t *testing.T) {
	osDir := t.TempDir()
	put := func(d *dir) {
		d.done()
		old, err := filepath.Glob(filepath.Join(osDir, "*"))
		d.must(err)
		for _, path := range old {
			d.must(os.Remove(path))
		}
		for file, content := range d.content() {
			d.must(os.WriteFile(filepath.Join(osDir, file), []byte(content), 0o600))
		}
	}
	if _, err := Inspect(osDir, false); !errors.Is(err, ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	d := newDir(t)
	d.start().append(3).close()
	put(d)
	r, err := Inspect(osDir, true)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || r.Err() != nil || r.Verdict != Intact {
		t.Errorf("a good journal: %v, %v", r, err)
	}
	d.flip(1, at(1)+40)
	put(d)
	if r, err := Inspect(osDir, true); err != nil || r.Verdict != Corrupt ||
		!errors.Is(r.Err(), segment.ErrCorrupt) {
		t.Errorf("a damaged journal: %v, %v", r, err)
	}
	d.edit("JOURNAL", func(b []byte) {
		j := segment.JournalFile{Journal: d.file.Journal}
		copy(b, j.Encode())
		b[8] = 2
		crc := segment.Checksum(b[:12])
		b[12], b[13], b[14], b[15] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	})
	put(d)
	if r, err := Inspect(osDir, false); r != nil || !errors.Is(err, segment.ErrVersion) {
		t.Errorf("a newer journal: %v, %v", r, err)
	}
}

// TestTexts: one sentence for a tail, and for each sort of damage.
func TestTexts(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{(&Damage{File: "f", Offset: 8, Seq: 3, Why: "bad checksum", Acknowledged: true}).String(),
			"f, offset 8: bad checksum; from seq 3 on; it had been acknowledged as durable"},
		{(&Damage{File: "f", Offset: 8, Why: "bad checksum"}).String(), "f, offset 8: bad checksum"},
		{(&Damage{File: "f", Why: "file is missing", Acknowledged: true, Redundant: true}).String(),
			"f, offset 0: file is missing; no live record is lost"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
