package reader_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
)

var options = &journal.Options{SegmentSize: journal.MinSegmentSize, Durability: journal.Published}

// script writes a journal in dir. It leaves open journals open: crashed copies what is there.
type script func(t *testing.T, j *journal.Journal)

func add(t *testing.T, j *journal.Journal, n, size int) {
	t.Helper()
	for i := range n {
		p := bytes.Repeat([]byte{byte(j.Last()), byte(i)}, size/2)
		if _, err := j.Append(p); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var scripts = map[string]script{
	"empty": func(t *testing.T, j *journal.Journal) {},
	"one":   func(t *testing.T, j *journal.Journal) { add(t, j, 1, 10) },
	"synced": func(t *testing.T, j *journal.Journal) {
		for range 20 {
			add(t, j, 3, 100)
			must(t, j.Sync(t.Context()))
		}
	},
	"rolled": func(t *testing.T, j *journal.Journal) {
		add(t, j, 400, 600)
		must(t, j.Sync(t.Context()))
		add(t, j, 50, 600)
	},
	"batches": func(t *testing.T, j *journal.Journal) {
		for range 30 {
			_, err := j.AppendBatch([][]byte{{1, 2, 3}, nil, make([]byte, 5000)})
			must(t, err)
		}
	},
	"truncated back": func(t *testing.T, j *journal.Journal) {
		add(t, j, 300, 700)
		must(t, j.TruncateBack(120))
		add(t, j, 100, 70)
		must(t, j.TruncateBack(200))
		add(t, j, 5, 0)
	},
	"truncated front": func(t *testing.T, j *journal.Journal) {
		add(t, j, 300, 700)
		must(t, j.TruncateFront(220))
		add(t, j, 10, 70)
	},
	"emptied": func(t *testing.T, j *journal.Journal) {
		add(t, j, 10, 700)
		must(t, j.TruncateFront(11))
	},
	"reset": func(t *testing.T, j *journal.Journal) {
		add(t, j, 10, 700)
		must(t, j.Reset(1000))
		add(t, j, 10, 700)
	},
}

// copyDir copies a journal's files as they are at this moment: what a killed process leaves.
func copyDir(t *testing.T, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".tmp" {
			continue // on its way to another name, or gone
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, e.Name()), b, 0o600))
	}
	return to
}

// lines are a journal's records as the reader prints them, up to the damage if there is some.
func lines(t *testing.T, j *journal.Journal) string {
	t.Helper()
	var b strings.Builder
	for rec, err := range j.Records(0) {
		if errors.Is(err, journal.ErrCorrupt) {
			break
		}
		must(t, err)
		fmt.Fprintf(&b, "%d\t%x\n", rec.Seq, rec.Payload)
	}
	return b.String()
}

// answer is what a reader says of a journal.
type answer struct {
	Verdict string   // of package recovery; "refused" if newer software made it, or there is none
	Corrupt []string // the places where it costs records: "FILE OFFSET"
	Damaged []string // the places where damage costs none
	Records string
}

func (a *answer) equal(b *answer) bool {
	return a.Verdict == b.Verdict && a.Records == b.Records &&
		slices.Equal(a.Corrupt, b.Corrupt) && slices.Equal(a.Damaged, b.Damaged)
}

// String leaves most of the records out.
func (a *answer) String() string {
	return fmt.Sprintf("%s, corrupt at %q, damaged at %q, %d records: %.99q", a.Verdict, a.Corrupt,
		a.Damaged, strings.Count(a.Records, "\n"), a.Records)
}

// truth is what the Go code says of a journal on the disk.
func truth(t *testing.T, dir string) *answer {
	t.Helper()
	r, err := recovery.Inspect(dir, true)
	if errors.Is(err, journal.ErrVersion) || errors.Is(err, recovery.ErrNotExist) {
		return &answer{Verdict: "refused"}
	}
	must(t, err)
	a := &answer{Verdict: string(r.Verdict)}
	for _, d := range r.Damage {
		place := fmt.Sprintf("%s %d", d.File, d.Offset)
		if d.Redundant {
			a.Damaged = append(a.Damaged, place)
		} else {
			a.Corrupt = append(a.Corrupt, place)
		}
	}
	j, err := journal.OpenReadOnly(dir, &journal.Options{ReadDamaged: true, VerifyOnOpen: true})
	must(t, err)
	defer j.Close()
	a.Records = lines(t, j)
	slices.Sort(a.Corrupt)
	slices.Sort(a.Damaged)
	return a
}

// serve has one Python process read many journals: a directory a line, answered by an object.
const serve = `
import contextlib, io, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, ".")
import mmjournal_reader
for line in sys.stdin:
    sys.argv = ["mmjournal_reader.py", line.rstrip("\n")]
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            mmjournal_reader.main()
        except SystemExit as e:
            code = int(e.code)
    answer = {"code": code, "lines": out.buffer.getvalue().decode(), "messages": err.getvalue()}
    print(json.dumps(answer), flush=True)
`

// result is what the Python reader says of a journal.
type result struct {
	Code            int
	Lines, Messages string
}

// answer is what the exit code, the output and the messages of the Python reader say.
func (r *result) answer() *answer {
	a := &answer{Verdict: "intact", Records: r.Lines}
	for line := range strings.Lines(r.Messages) {
		var what, file string
		var offset uint64
		if n, _ := fmt.Sscanf(line, "%s %s at offset %d", &what, &file, &offset); n < 3 {
			continue
		}
		place := fmt.Sprintf("%s %d", file, offset)
		switch what {
		case "corrupt:":
			a.Corrupt = append(a.Corrupt, place)
		case "damaged:":
			a.Damaged = append(a.Damaged, place)
		}
	}
	switch {
	case r.Code == 3:
		a.Verdict = "refused"
	case r.Code == 1 && len(a.Corrupt) > 0:
		a.Verdict = "corrupt"
	case r.Code == 1:
		a.Verdict = "damaged"
	}
	slices.Sort(a.Corrupt)
	slices.Sort(a.Damaged)
	return a
}

// start starts the Python reader; the function that it returns has it read a journal.
func start(t *testing.T) (read func(dir string) result) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: ", err)
	}
	cmd := exec.Command(python, "-c", serve)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	answers := json.NewDecoder(out)
	return func(dir string) (r result) {
		_, err := fmt.Fprintln(in, dir)
		must(t, err)
		must(t, answers.Decode(&r))
		return r
	}
}

// TestReader writes journals with the Go code, and has the reader, which was written from FORMAT.md
// alone, read them: open, crashed, torn, cut after a crash, and closed.
func TestReader(t *testing.T) {
	read := start(t)
	for name, write := range scripts {
		t.Run(name, func(t *testing.T) {
			check := func(what, dir, want string) {
				t.Helper()
				intact := &answer{Verdict: "intact", Records: want}
				if got := truth(t, dir); !got.equal(intact) {
					t.Errorf("%s: Go says\n%v, want\n%v", what, got, intact)
				}
				if got := read(dir); !got.answer().equal(intact) {
					t.Errorf("%s: the reader says\n%v, want\n%v\n%s", what, got.answer(), intact, got.Messages)
				}
			}
			dir := t.TempDir()
			j, err := journal.Open(dir, options)
			must(t, err)
			write(t, j)
			want := lines(t, j)
			crashed := copyDir(t, dir)
			check("crashed", crashed, want)
			must(t, j.Close())
			check("closed", dir, want)
			torn := tear(t, copyDir(t, crashed))
			check("torn", torn, want)
			for _, d := range []string{crashed, torn} {
				j, err := journal.Open(d, options)
				must(t, err)
				add(t, j, 3, 50)
				want := lines(t, j)
				check("cut, and open", d, want)
				must(t, j.Close())
				check("cut, and closed", d, want)
			}
		})
	}
}

// tear writes bytes behind the end of the journal, as an interrupted append does.
func tear(t *testing.T, dir string) string {
	t.Helper()
	r, err := recovery.Inspect(dir, false)
	must(t, err)
	for _, s := range r.Segments {
		if s.State != recovery.Active {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, s.File), os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt([]byte("interrupted"), s.Used+8)
		must(t, errors.Join(err, f.Close()))
	}
	return dir
}

// TestReaderOnDamage damages a journal, open or closed, in one place at a time, or in two. The two
// readers come to the same verdict, about the same places, and show the same records: the first
// ones of the undamaged journal, unless files are missing or misplaced, too.
func TestReaderOnDamage(t *testing.T) {
	runs := int(torture.Count(2, 6, 60))
	read := start(t)
	for i, name := range slices.Sorted(maps.Keys(scripts)) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			dir := t.TempDir()
			j, err := journal.Open(dir, options)
			must(t, err)
			scripts[name](t, j)
			records := lines(t, j)
			crashed := copyDir(t, dir)
			must(t, j.Close())
			counts := map[string]int{}
			for _, whole := range []string{crashed, dir} {
				for i := range runs {
					d := copyDir(t, whole)
					what := damage(t, d, r)
					if i%2 > 0 {
						what += ", " + damage(t, d, r)
					} else if i%4 == 2 {
						what += ", " + misplace(t, d, r)
					}
					want, got := truth(t, d), read(d)
					if !got.answer().equal(want) {
						t.Errorf("%s:\nthe reader says %v\nGo says         %v\n%s", what, got.answer(), want,
							got.Messages)
					}
					if i%4 != 2 && !strings.HasPrefix(records, got.Lines) {
						t.Errorf("%s: the reader prints records that are not the first ones", what)
					}
					counts[want.Verdict]++
				}
			}
			t.Logf("verdicts: %v", counts)
		})
	}
}

// damage flips a bit or zeroes a sector of a file, as a rule in its used part, and says where.
func damage(t *testing.T, dir string, r *rand.Rand) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	must(t, err)
	paths = append(paths, filepath.Join(dir, "JOURNAL"))
	path := paths[r.IntN(len(paths))]
	b, err := os.ReadFile(path)
	must(t, err)
	from, to := 0, len(bytes.TrimRight(b, "\x00"))
	if to > 4096 && r.IntN(4) > 0 {
		from = 4096 // behind the identity
	}
	at := from + r.IntN(to-from)
	what := fmt.Sprintf("%s: bit %d of byte %d flipped", filepath.Base(path), at%8, at)
	if r.IntN(3) == 0 {
		at &^= 511
		clear(b[at:min(at+512, len(b))])
		what = fmt.Sprintf("%s: sector at %d zeroed", filepath.Base(path), at)
	} else {
		b[at] ^= 1 << (at % 8)
	}
	must(t, os.WriteFile(path, b, 0o600))
	return what
}

// misplace removes a file, or copies a segment to another ordinal, and says which.
func misplace(t *testing.T, dir string, r *rand.Rand) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	must(t, err)
	path := append(paths, filepath.Join(dir, "JOURNAL"))[r.IntN(len(paths)+1)]
	if r.IntN(3) == 0 || len(paths) == 0 {
		must(t, os.Remove(path))
		return filepath.Base(path) + " removed"
	}
	to := fmt.Sprintf("%016d.seg", 1+r.IntN(len(paths)+3))
	b, err := os.ReadFile(paths[r.IntN(len(paths))])
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, to), b, 0o600))
	return "a copy of a segment is " + to
}

// TestVerdicts has both readers read the cases of test_verdicts.py, which FORMAT.md decides.
func TestVerdicts(t *testing.T) {
	read := start(t)
	folder := t.TempDir()
	out, err := exec.Command("python3", "-B", "test_verdicts.py", "--write", folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	must(t, err)
	var cases []struct {
		Dir, Name string
		answer
	}
	must(t, json.Unmarshal(b, &cases))
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			dir := filepath.Join(folder, c.Dir)
			if got := truth(t, dir); !got.equal(&c.answer) {
				t.Errorf("Go says\n%v, want\n%v", got, &c.answer)
			}
			if got := read(dir); !got.answer().equal(&c.answer) {
				t.Errorf("the reader says\n%v, want\n%v\n%s", got.answer(), &c.answer, got.Messages)
			}
		})
	}
}

// TestReaderOnGoldens has the reader read the golden journals of package segment.
func TestReaderOnGoldens(t *testing.T) {
	read := start(t)
	files, err := filepath.Glob(filepath.Join("..", "..", "segment", "testdata", "v1", "*.json"))
	must(t, err)
	if len(files) < 5 {
		t.Fatalf("%d golden journals", len(files))
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		var content struct {
			Records []struct {
				Seq     uint64
				Payload string
			}
		}
		must(t, json.Unmarshal(b, &content))
		var want strings.Builder
		for _, r := range content.Records {
			fmt.Fprintf(&want, "%d\t%s\n", r.Seq, r.Payload)
		}
		dir, err := filepath.Abs(strings.TrimSuffix(file, ".json"))
		must(t, err)
		if got := read(dir); got.Code != 0 || got.Lines != want.String() {
			t.Errorf("%s: the reader says %d and %q, want 0 and %q\n%s",
				filepath.Base(dir), got.Code, got.Lines, want.String(), got.Messages)
		}
	}
}
