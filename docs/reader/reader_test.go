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

// truth is what the Go code says of a journal on the disk: an exit code, and its records.
func truth(t *testing.T, dir string) (code int, records string) {
	t.Helper()
	r, err := recovery.Inspect(dir, true)
	must(t, err)
	if r.Verdict != recovery.Intact {
		code = 1
	}
	j, err := journal.OpenReadOnly(dir, &journal.Options{ReadDamaged: true, VerifyOnOpen: true})
	must(t, err)
	defer j.Close()
	return code, lines(t, j)
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
				code, records := truth(t, dir)
				got := read(dir)
				if code != 0 || records != want {
					t.Errorf("%s: Go says %d, %d bytes of records; want 0, %d",
						what, code, len(records), len(want))
				}
				if got.Code != 0 || got.Lines != want {
					t.Errorf("%s: the reader says %d, %d bytes of records; want 0, %d\n%s",
						what, got.Code, len(got.Lines), len(want), got.Messages)
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

// TestReaderOnDamage damages a journal, open or closed, in one place at a time. The two readers
// come to the same verdict, and what the Python reader prints are the first records of the
// undamaged journal.
func TestReaderOnDamage(t *testing.T) {
	runs := int(torture.Count(2, 6, 20))
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
			counts := map[int]int{}
			for _, whole := range []string{crashed, dir} {
				for range runs {
					d := copyDir(t, whole)
					what := damage(t, d, r)
					code, _ := truth(t, d)
					got := read(d)
					if got.Code != code {
						t.Errorf("%s: the reader says %d, Go says %d\n%s", what, got.Code, code, got.Messages)
					}
					if !strings.HasPrefix(records, got.Lines) {
						t.Errorf("%s: the reader prints records that are not the first ones", what)
					}
					counts[code]++
				}
			}
			t.Logf("exit codes: %v", counts)
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
