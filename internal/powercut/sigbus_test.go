//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// TestSIGBUS: whatever makes the memory of a segment inaccessible, no call ends the process: it
// returns an error or the right bytes; what is not hit can be read; nothing leaks; and what was
// acknowledged is there when the fault can be healed.
func TestSIGBUS(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	names := sigbusNames()
	c := torture.Start(t, "SIGBUS", int64(len(names)*len(sigbusFaults)))
	w := jobWorker{name: "sigbus", dir: scratch(t)}
	defer w.stop()
	for c.Next() {
		if err := w.run(c.Seed()); errors.Is(err, errSkipJob) {
			t.Skip(err)
		} else if err != nil {
			c.Violation("%v", err)
		}
	}
	c.Note("%d calls, %d faults; outcomes: %v", len(names), len(sigbusFaults), w.notes)
	all := len(names) * len(sigbusFaults)
	if c.Runs() >= int64(all) && w.notes[sigbusFaulted] < all/5 {
		t.Errorf("only %d of %d calls have met a fault", w.notes[sigbusFaulted], c.Runs())
	}
}

// TestSIGBUSIsSeen: a fault that nobody catches ends the process, which is a violation; the next
// case gets a new process.
func TestSIGBUSIsSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a process with mounts of its own")
	}
	w := jobWorker{name: "crash", dir: scratch(t)}
	defer w.stop()
	for seed := range uint64(4) {
		err := w.run(seed)
		if crash := err != nil && strings.Contains(err.Error(), "unexpected fault address"); crash !=
			(seed%2 == 1) {
			t.Errorf("case %d: %v", seed, err)
		}
	}
}

// crashJob dies of SIGBUS in odd cases.
func crashJob(dir, _ string) (jobRun, error) {
	return func(seed uint64) (string, error) {
		f, err := createIn(dir, fmt.Sprint(seed))
		if err != nil {
			return "", err
		}
		if err := f.Truncate(8192); err != nil {
			return "", err
		}
		m, err := f.Map(8192, segment.ReadWrite)
		if err != nil {
			return "", err
		}
		if err := f.Truncate(8192 - int64(seed%2)*8192); err != nil {
			return "", err
		}
		m.Bytes()[5000] = 1
		return "", errors.Join(m.Close(), f.Close())
	}, nil
}

// TestSIGBUSKnowsEveryCall: a method or function that is new has to be tried, too.
func TestSIGBUSKnowsEveryCall(t *testing.T) {
	known := map[string]bool{}
	for name := range sigbusCalls {
		known[strings.Split(name, ",")[0]] = true
	}
	for m := range reflect.TypeFor[*journal.Journal]().Methods() {
		if !known[m.Name] {
			t.Errorf("sigbusCalls lacks the method %s", m.Name)
		}
	}
	const source = "../../journal"
	if _, err := os.Stat(source); err != nil {
		t.Skip("needs the source: ", err)
	}
	files := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(source), ".", func(p string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, filepath.Join(source, p), nil, 0)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv == nil && fn.Name.IsExported() && !known[fn.Name.Name] {
				t.Errorf("sigbusCalls lacks the function %s", fn.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func sigbusNames() []string {
	var names []string
	for name := range sigbusCalls {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sigbusTarget is the segment that a fault hits.
type sigbusTarget int

const (
	activeTarget sigbusTarget = iota
	fullTarget
	preparedTarget // waits to be used
)

// sigbusFault makes pages of a mapped file inaccessible.
type sigbusFault struct {
	name   string
	target sigbusTarget
	size   int64  // that a file is cut to; 0: none, or nothing is left
	home   string // the file system that it takes: "plain", "strict" or "full"
	apply  func(c *sigbusCase, ordinal uint64) error
	heal   func(c *sigbusCase, ordinal uint64) error // nil: it cannot be
}

var sigbusFaults = makeSigbusFaults()

func makeSigbusFaults() (faults []*sigbusFault) {
	cut := func(target sigbusTarget, sizes ...int64) {
		for _, size := range sizes {
			faults = append(faults, &sigbusFault{
				name: fmt.Sprintf("cut to %d bytes", size), target: target, home: "plain",
				size: size,
				apply: func(c *sigbusCase, ordinal uint64) error {
					return os.Truncate(c.path(ordinal), size)
				},
			})
		}
	}
	cut(activeTarget, 0, 4096, 5000, 32768)
	cut(fullTarget, 0, 4096, 20001)
	cut(preparedTarget, 0, 4096)
	unreadable := func(target sigbusTarget, from, to int64) {
		faults = append(faults, &sigbusFault{
			name: fmt.Sprintf("bytes %d to %d cannot be read", from, to), target: target, home: "strict",
			apply: func(c *sigbusCase, ordinal uint64) error {
				return c.failReads(ordinal, from, to)
			},
			heal: func(c *sigbusCase, ordinal uint64) error { return c.failReads(ordinal, 0, 0) },
		})
	}
	unreadable(activeTarget, 0, 65536)
	unreadable(activeTarget, 24576, 65536)
	unreadable(fullTarget, 0, 65536)
	unreadable(fullTarget, 8192, 12288)
	unreadable(preparedTarget, 0, 65536)
	for _, target := range []sigbusTarget{activeTarget, preparedTarget} {
		faults = append(faults, &sigbusFault{
			name: "no space for a hole", target: target, home: "full",
			apply: (*sigbusCase).punchAndFill,
			heal:  func(c *sigbusCase, _ uint64) error { return os.Remove(c.filler()) },
		})
	}
	return faults
}

func (f *sigbusFault) String() string {
	return []string{"the active segment", "a full segment", "the prepared segment"}[f.target] +
		": " + f.name
}

func (c *sigbusCase) failReads(ordinal uint64, from, to int64) error {
	path, err := filepath.Rel(c.world.strict.tree(), c.path(ordinal))
	if err != nil {
		return err
	}
	return c.world.strict.command(strictCommand{Path: path, From: from, To: to})
}

func (c *sigbusCase) filler() string { return filepath.Join(filepath.Dir(c.dir), "filler") }

// punchAndFill takes the space of a segment's unused pages away.
func (c *sigbusCase) punchAndFill(ordinal uint64) error {
	f, err := os.OpenFile(c.path(ordinal), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	from := int64(4096)
	r, err := recovery.Inspect(c.dir, false)
	if err != nil {
		return err
	}
	for _, s := range r.Segments {
		if s.Ordinal == ordinal && s.State == recovery.Active {
			from = (s.Used + 4095) &^ 4095
		}
	}
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(int(f.Fd()), mode, from, journal.MinSegmentSize-from); err != nil {
		return err
	}
	filler, err := os.Create(c.filler())
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

// createIn creates a file in a directory.
func createIn(dir, name string) (segment.File, error) {
	d, err := segment.OpenDir(dir, segment.DirOptions{})
	if err != nil {
		return nil, err
	}
	f, err := d.Open(filepath.Join(d.Path(), name), segment.Create)
	return f, errors.Join(err, d.Close())
}
