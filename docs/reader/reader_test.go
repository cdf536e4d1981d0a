package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

// truth is what the Go code says of a journal: an exit code, and lines like the reader's.
func truth(t *testing.T, dir string) (code int, lines string) {
	t.Helper()
	r, err := recovery.Inspect(dir, true)
	must(t, err)
	if r.Verdict != recovery.Intact {
		code = 1
	}
	j, err := journal.OpenReadOnly(dir, &journal.Options{ReadDamaged: true, VerifyOnOpen: true})
	must(t, err)
	defer j.Close()
	var b strings.Builder
	for rec, err := range j.Records(0) {
		if errors.Is(err, journal.ErrCorrupt) {
			break
		}
		must(t, err)
		fmt.Fprintf(&b, "%d\t%x\n", rec.Seq, rec.Payload)
	}
	return code, b.String()
}

// read runs the Python reader.
func read(t *testing.T, dir string) (code int, lines, messages string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: ", err)
	}
	cmd := exec.Command(python, "-B", "mmjournal_reader.py", dir)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// compare holds the two readers against each other, and returns what they agree on.
func compare(t *testing.T, what, dir string) (code int, lines string) {
	t.Helper()
	code, lines = truth(t, dir)
	gotCode, gotLines, messages := read(t, dir)
	if gotCode != code || gotLines != lines {
		t.Errorf("%s: the reader says %d with %d bytes of lines, Go says %d with %d bytes\n%s",
			what, gotCode, len(gotLines), code, len(lines), messages)
	}
	return code, lines
}

// TestReader writes journals with the Go code, and has the reader, which was written from FORMAT.md
// alone, read them: open, crashed, torn, cut after a crash, and closed.
func TestReader(t *testing.T) {
	for name, write := range scripts {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := journal.Open(dir, options)
			must(t, err)
			write(t, j)
			crashed := copyDir(t, dir)
			compare(t, "crashed", crashed)
			must(t, j.Close())
			if code, _ := compare(t, "closed", dir); code != 0 {
				t.Errorf("closed: exit code %d", code)
			}
			torn := tear(t, copyDir(t, crashed))
			compare(t, "torn", torn)
			for _, d := range []string{crashed, torn} {
				j, err := journal.Open(d, options)
				must(t, err)
				add(t, j, 3, 50)
				compare(t, "cut, and open", d)
				must(t, j.Close())
				if code, _ := compare(t, "cut, and closed", d); code != 0 {
					t.Errorf("cut: exit code %d", code)
				}
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

// TestReaderOnDamage damages a closed journal in one place at a time. The two readers come to the
// same verdict and print the same records, which are the first ones of the undamaged journal.
func TestReaderOnDamage(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 10
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"synced", "rolled", "truncated back", "reset"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := journal.Open(dir, options)
			must(t, err)
			scripts[name](t, j)
			must(t, j.Close())
			_, whole := truth(t, dir)
			counts := map[int]int{}
			for range runs / 4 {
				d := copyDir(t, dir)
				what := damage(t, d, r)
				code, lines := compare(t, what, d)
				if !strings.HasPrefix(whole, lines) || code == 0 && lines != whole {
					t.Errorf("%s: exit code %d, and other records", what, code)
				}
				counts[code]++
			}
			t.Logf("exit codes: %v", counts)
		})
	}
}

// damage flips a bit or zeroes a sector of a file, in its used part as a rule, and says where.
func damage(t *testing.T, dir string, r *rand.Rand) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	must(t, err)
	path := paths[r.IntN(len(paths))]
	b, err := os.ReadFile(path)
	must(t, err)
	at := r.IntN(len(bytes.TrimRight(b, "\x00")))
	what := fmt.Sprintf("%s: bit %d of byte %d flipped", filepath.Base(path), at%8, at)
	if r.IntN(3) == 0 {
		clear(b[at&^511 : at&^511+512])
		what = fmt.Sprintf("%s: sector at %d zeroed", filepath.Base(path), at&^511)
	} else {
		b[at] ^= 1 << (at % 8)
	}
	must(t, os.WriteFile(path, b, 0o600))
	return what
}
