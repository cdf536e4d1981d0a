package segment

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The golden journals in testdata/v1 pin the format: what is written there must be read for ever,
// and the encoder must still write the same. They are made here by the real writer, with fixed
// identities and times. NAME.json says what is in the journal NAME/, for readers in any language.
const goldenDir = "testdata/v1"

var goldens = []struct {
	name  string
	build func(g *golden)
}{
	{"hello", goldenHello},
	{"rolled", goldenRolled},
	{"truncated", goldenTruncated},
	{"torn", goldenTorn},
	{"standin", goldenStandIn},
}

// goldenContent is what NAME.json says.
type goldenContent struct {
	What    string         `json:"what"`
	Label   string         `json:"label"` // that package recovery gives it
	First   Seq            `json:"first"` // live
	Next    Seq            `json:"next"`
	Chain   []uint64       `json:"chain"` // ordinals
	End     Position       `json:"end"`
	Claim   Position       `json:"claim"`
	Records []goldenRecord `json:"records"`
}

type goldenRecord struct {
	Seq     Seq    `json:"seq"`
	Payload string `json:"payload"` // hexadecimal
}

// goldenHello is the example of FORMAT.md §8.
func goldenHello(g *golden) {
	g.What = "one record, closed"
	g.begin(1, 64<<10, Link{Base: 1, Reason: ReasonStart})
	g.append("hello")
	g.close()
}

// goldenRolled is a journal of three segments.
func goldenRolled(g *golden) {
	g.What = "three segments, batches, empty records, the first record dropped; closed"
	g.begin(1, MinSize, Link{Base: 1, Reason: ReasonStart})
	g.append("first", "", strings.Repeat("r", 700))
	g.batch("batch a", "", strings.Repeat("b", 300))
	g.mark()
	g.append(strings.Repeat("m", 2000), "")
	g.roll(MinSize)
	g.mark()
	g.batch(strings.Repeat("2", 1500), "two")
	g.append(strings.Repeat("z", 2000))
	g.mark()
	g.roll(3 * 4096)
	g.batch("", "")
	g.First = 2
	g.mark()
	g.append(strings.Repeat("w", 4000), "last")
	g.close()
}

// goldenTruncated was truncated back into the middle of a batch, and went on.
func goldenTruncated(g *golden) {
	g.What = "truncated back into a batch, seq 5 written anew; closed"
	g.begin(1, MinSize, Link{Base: 1, Reason: ReasonStart})
	g.append("one", "two")
	g.batch("three", "four", "five, dead")
	g.append("six, dead")
	g.mark()
	pred := g.w.s
	end, err := pred.After(4)
	g.check(err)
	g.Records = g.Records[:4]
	g.begin(2, MinSize, Link{
		Base: 5, Pred: 1, PredSalt: pred.Salt, PredEnd: end, Claim: g.Claim,
		Reason: ReasonTruncateBack,
	})
	g.mark()
	g.append("five again")
	g.close()
}

// goldenTorn was not closed; a sector of its unsynced end is lost, what follows is there.
func goldenTorn(g *golden) {
	g.What = "not closed; behind the last claim a sector is lost; a prepared segment follows"
	g.begin(1, MinSize, Link{Base: 1, Reason: ReasonStart})
	g.append("synced one", "synced two", "synced three")
	g.mark()
	g.append("not synced, but there")
	g.End = g.w.Position()
	kept := len(g.Records)
	g.append(strings.Repeat("lost", 200), "behind what is lost")
	g.Records = g.Records[:kept]
	lost := (g.End.Offset | 511) + 1
	clear(g.w.s.m.b[lost : lost+512])
	g.prepare(2, MinSize)
	g.Label = "torn"
}

// goldenStandIn was truncated back into a batch on a full disk, and has not begun a segment since.
func goldenStandIn(g *golden) {
	g.What = "truncated back where no space was left: JOURNAL has the link of segment 3, which has " +
		"no file; segment 2 is not removed yet"
	g.begin(1, MinSize, Link{Base: 1, Reason: ReasonStart})
	g.append("one", "two")
	g.batch("three", "four, dead")
	pred := g.w.s
	g.roll(MinSize)
	g.append("five, dead")
	g.mark()
	g.standIn(3, pred, 3)
}

// golden builds one journal.
type golden struct {
	t    *testing.T
	fsys FS
	goldenContent
	journal JournalFile
	w       *Writer
	ticks   int64
}

// buildGolden returns a journal's files, and the file that says what is in it.
func buildGolden(t *testing.T, name string, build func(g *golden)) map[string][]byte {
	t.Helper()
	g := &golden{t: t, fsys: NewMemFS()}
	g.First = 1
	copy(g.journal.Journal[:], "golden\x4a\x6e\x8a"+name)
	g.journal.Generation, g.journal.Created = 1, g.now()
	build(g)
	g.Next = Seq(len(g.Records)) + 1
	g.Records = g.Records[g.First-1:]
	g.check(writeJournalFile(g.fsys, ".", g.journal))
	files := map[string][]byte{}
	for _, file := range names(t, g.fsys, ".") {
		files[filepath.Join(name, file)] = readFile(t, g.fsys, file)
	}
	content, err := json.MarshalIndent(g.goldenContent, "", "  ")
	g.check(err)
	files[name+".json"] = append(content, '\n')
	return files
}

func (g *golden) check(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// now is one second later with each call.
func (g *golden) now() time.Time {
	g.ticks++
	return time.Date(2026, 1, 1, 0, 0, int(g.ticks), 0, time.UTC)
}

func (g *golden) prepare(ordinal uint64, size int64) *Segment {
	g.t.Helper()
	s, err := Prepare(g.fsys, ".", Identity{
		Journal: g.journal.Journal, Ordinal: ordinal, Salt: 0x5a17_0123_4567_8900 + ordinal,
		Size: size, Created: g.now(),
	}, Zeros{})
	g.check(err)
	g.t.Cleanup(func() { s.Drop() })
	return s
}

// begin starts a segment that does not follow its predecessor's seal.
func (g *golden) begin(ordinal uint64, size int64, l Link) {
	g.t.Helper()
	s := g.prepare(ordinal, size)
	g.journal.Newest = ordinal
	g.start(s, l)
}

func (g *golden) start(s *Segment, l Link) {
	g.t.Helper()
	l.FirstLive, l.Time = g.First, g.now()
	w, err := NewWriter(s, l, nil)
	g.check(err)
	g.w, g.Chain = w, append(g.Chain, s.Ordinal)
}

// roll seals the segment and goes on in the next one.
func (g *golden) roll(size int64) {
	g.t.Helper()
	old := g.w.s
	succ := g.prepare(old.Ordinal+1, size)
	g.check(g.w.Seal(&succ.Identity))
	g.start(succ, Link{
		Base: g.w.Next(), Pred: old.Ordinal, PredSalt: old.Salt, PredEnd: old.End(),
		Claim: g.Claim, Reason: ReasonRoll,
	})
}

func (g *golden) append(payloads ...string) {
	g.t.Helper()
	mustAppend(g.t, g.w, payloads...)
	g.note(payloads)
}

func (g *golden) batch(payloads ...string) {
	g.t.Helper()
	mustBatch(g.t, g.w, payloads...)
	g.note(payloads)
}

func (g *golden) note(payloads []string) {
	for _, p := range payloads {
		seq := Seq(len(g.Records) + 1)
		g.Records = append(g.Records, goldenRecord{seq, hex.EncodeToString([]byte(p))})
	}
}

// mark says that everything up to here is durable.
func (g *golden) mark() {
	g.t.Helper()
	g.Claim = g.w.Position()
	mustMark(g.t, g.w, Mark{Claim: g.Claim, FirstLive: g.First, Time: g.now()})
}

func (g *golden) close() {
	g.t.Helper()
	g.Claim = g.w.Position()
	mustMark(g.t, g.w, Mark{FirstLive: g.First, Time: g.now(), Clean: true})
	g.journal.Claim = g.Claim
	g.End, g.Label = g.w.Position(), "clean"
}

// standIn puts a link into JOURNAL that keeps the records up to last, which is in segment pred.
func (g *golden) standIn(ordinal uint64, pred *Segment, last Seq) {
	g.t.Helper()
	end, err := pred.After(last)
	g.check(err)
	g.Records = g.Records[:last]
	g.journal.Newest, g.journal.StandInOrdinal = ordinal, ordinal
	g.journal.StandIn = Link{
		Base: last + 1, Pred: pred.Ordinal, PredSalt: pred.Salt, PredEnd: end, FirstLive: g.First,
		Claim: g.Claim, Time: g.now(), Reason: ReasonTruncateBack,
	}
	g.journal.Claim, g.journal.FirstLive = g.Claim, g.First
	g.Chain = append(g.Chain[:len(g.Chain)-1], ordinal)
	g.End, g.Label = Position{Ordinal: ordinal, Offset: LinkEnd}, "clean"
}

// readGolden returns the files of a golden journal that are on the disk, by the names that
// buildGolden gives them.
func readGolden(t testing.TB, name string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(goldenDir, name, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range append(paths, filepath.Join(goldenDir, name+".json")) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v (go test ./segment -update makes it)", err)
		}
		rel, err := filepath.Rel(goldenDir, path)
		if err != nil {
			t.Fatal(err)
		}
		files[rel] = b
	}
	return files
}

// TestGoldenBytes: the encoder writes the golden journals byte by byte.
func TestGoldenBytes(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			want := buildGolden(t, g.name, g.build)
			if *update {
				writeGolden(t, g.name, want)
			}
			got := readGolden(t, g.name)
			for name, b := range want {
				if d := firstDifference(got[name], b); d != "" {
					t.Errorf("%s: %s", name, d)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d files, want %d", len(got), len(want))
			}
		})
	}
}

func writeGolden(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(goldenDir, name)); err != nil {
		t.Fatal(err)
	}
	for file, b := range files {
		path := filepath.Join(goldenDir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoldenRecords: a chain of scans, as recovery does them, finds the records in the golden
// journals.
func TestGoldenRecords(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			files := readGolden(t, g.name)
			var want goldenContent
			if err := json.Unmarshal(files[g.name+".json"], &want); err != nil {
				t.Fatal(err)
			}
			fsys := NewMemFS()
			for name, b := range files {
				if filepath.Dir(name) == g.name {
					writeFile(t, fsys, filepath.Base(name), b)
				}
			}
			j, faults, err := DecodeJournalFile(files[filepath.Join(g.name, JournalName)])
			if err != nil || faults.Any() {
				t.Fatal(err, faults)
			}
			checkGolden(t, fsys, &j, &want)
		})
	}
}

// checkGolden walks the chain of a journal back from its newest segment.
func checkGolden(t *testing.T, fsys FS, j *JournalFile, want *goldenContent) {
	t.Helper()
	var chain []uint64
	var records []goldenRecord
	var claim Position
	limit, next := Offset(0), want.Next
	for ordinal := want.End.Ordinal; ordinal != 0; {
		s, sc := openGolden(t, fsys, j, ordinal, limit)
		defer s.Drop()
		if s.Journal != j.Journal {
			t.Errorf("segment %d is of the journal %v, want %v", ordinal, s.Journal, j.Journal)
		}
		if limit == 0 && (sc.End != want.End.Offset || sc.FirstLive != want.First) {
			t.Errorf("ends at %d with first live %d, want %+v", sc.End, sc.FirstLive, want)
		}
		if limit == 0 && sc.Clean != (want.Label == "clean") {
			t.Errorf("clean: %v, want %s", sc.Clean, want.Label)
		}
		if limit > 0 && sc.Stop != nil || sc.Next != next {
			t.Errorf("segment %d: %v, next seq %d, want %d", ordinal, sc.Stop, sc.Next, next)
		}
		if sc.Seal != nil {
			if err := s.CheckIndex(sc); err != nil {
				t.Error(err)
			}
		}
		if claim.Less(sc.Promised()) {
			claim = sc.Promised()
		}
		var own []goldenRecord
		for i, p := range payloads(t, s) {
			own = append(own, goldenRecord{sc.Link.Base + Seq(i), hex.EncodeToString([]byte(p))})
		}
		records = append(own, records...)
		chain = append([]uint64{ordinal}, chain...)
		ordinal, limit, next = sc.Link.Pred, sc.Link.PredEnd, sc.Link.Base
	}
	records = slices.DeleteFunc(records, func(r goldenRecord) bool { return r.Seq < want.First })
	if !slices.Equal(records, want.Records) {
		t.Errorf("records %v, want %v", records, want.Records)
	}
	if !slices.Equal(chain, want.Chain) || claim != want.Claim {
		t.Errorf("chain %v, claim %v, want %v and %v", chain, claim, want.Chain, want.Claim)
	}
}

// openGolden opens a segment, which may be the one that JOURNAL stands in for.
func openGolden(
	t *testing.T, fsys FS, j *JournalFile, ordinal uint64, limit Offset,
) (*Segment, *Scan) {
	t.Helper()
	if ordinal == j.StandInOrdinal {
		return NewStandIn(JournalName, j.Journal, ordinal, j.StandIn), StandInScan(j.StandIn)
	}
	s, err := Open(fsys, FileName(ordinal), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	sc := scan(t, s, limit)
	s.Adopt(sc)
	return s, sc
}

// TestFormatExample holds the dump in FORMAT.md §8 against the golden files: every byte that is not
// in the dump is zero.
func TestFormatExample(t *testing.T) {
	_, section, _ := strings.Cut(formatText(t), "\n## 8. Example\n")
	section, _, found := strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("FORMAT.md has no section 8")
	}
	line := regexp.MustCompile(`^([0-9a-f]{8}): ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:   +\S.*)?$`)
	fileName := regexp.MustCompile("^`?(JOURNAL|[0-9]{16}\\.seg)`?, ([0-9,]+) bytes")
	dumped := map[string][]byte{}
	var file []byte
	for text := range strings.Lines(section) {
		text = strings.TrimSpace(text)
		if m := fileName.FindStringSubmatch(text); m != nil {
			size, err := strconv.Atoi(strings.ReplaceAll(m[2], ",", ""))
			if err != nil {
				t.Fatal(err)
			}
			file = make([]byte, size)
			dumped[m[1]] = file
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		off, err := strconv.ParseUint(m[1], 16, 31)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		if err != nil || int(off)+len(b) > len(file) {
			t.Fatalf("%q: %v, the file has %d bytes", text, err, len(file))
		}
		if zero(b) || !zero(file[off:int(off)+len(b)]) {
			t.Errorf("%q: bytes are dumped twice, or are zero", text)
		}
		copy(file[off:], b)
	}
	golden := readGolden(t, "hello")
	if len(dumped) != len(golden)-1 {
		t.Errorf("%d files are dumped, want %d", len(dumped), len(golden)-1)
	}
	for name, got := range dumped {
		want := golden[filepath.Join("hello", name)]
		if d := firstDifference(got, want); d != "" {
			t.Errorf("%s: %s; the bytes that are not zero are\n%s", name, d, dump(want))
		}
	}
}

// dump returns the bytes that are not zero as lines of FORMAT.md §8, for whoever has to write them.
func dump(b []byte) string {
	var out strings.Builder
	for off := 0; off < len(b); off += 8 {
		if word := b[off:min(off+8, len(b))]; !bytes.Equal(word, make([]byte, len(word))) {
			fmt.Fprintf(&out, "%08x: % x\n", off, word)
		}
	}
	return out.String()
}
