//go:build linux

package powercut

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// strictTally counts what the runs of a test were made of.
type strictTally struct {
	cuts    int // images that were checked
	during  int // of these, while an operation was under way
	lost    int // names' changes that the cuts have lost
	records int // found
}

func (y *strictTally) String() string {
	return fmt.Sprintf("%d cuts, %d within an operation, %d changes of names lost, %d records found",
		y.cuts, y.during, y.lost, y.records)
}

// TestStrictDirectory: several lives, each on what a cut has left of the one before, on a file
// system that keeps no name that was not synced.
func TestStrictDirectory(t *testing.T) {
	rig := newStrictRig(t)
	c := torture.Start(t, "directory entries", 50)
	var y strictTally
	for c.Next() {
		if err := rig.lives(c.Seed(), 0, &y); err != nil {
			c.Violation("%v", err)
		}
		c.Note("%v", &y)
	}
	if y.cuts > 50 && (y.lost < y.cuts/5 || y.during < y.cuts/3) {
		t.Errorf("the test is too easy: %v", &y)
	}
}

// TestStrictDirectoryCanFail: a file system that ignores the fsync of directories, or only those
// behind the first ten of each life, loses what was acknowledged, and that is seen.
func TestStrictDirectoryCanFail(t *testing.T) {
	rig := newStrictRig(t)
	c := torture.Start(t, "directory entries, fsync of directories ignored", 10)
	var y strictTally
	seen := 0
	for c.Next() {
		err := rig.lives(c.Seed(), 1+int(c.Seed()%2)*10, &y)
		if errors.Is(err, errStrictCut) {
			seen++
		} else if err != nil {
			c.Violation("%v", err)
		}
		c.Note("seen in %d runs of %d; %v", seen, c.Runs(), &y)
	}
	if c.Runs() >= 10 && int64(seen)*3 < c.Runs() {
		t.Errorf("seen in %d runs of %d only", seen, c.Runs())
	}
}

// errStrictCut: what a cut has left is not what it may leave.
var errStrictCut = errors.New("after a cut")

// lives is one run. Its files are removed.
func (r *strictRig) lives(seed uint64, liesFrom int, y *strictTally) error {
	defer func() {
		entries, _ := os.ReadDir(r.dir)
		for _, e := range entries {
			os.RemoveAll(filepath.Join(r.dir, e.Name()))
		}
	}()
	rnd := strictRand(seed, 1)
	state := &strictFound{first: 1}
	tree := ""
	for number := range 1 + rnd.IntN(3) {
		life := &strictLife{
			dir: strictPath, number: uint64(number + 1), rnd: rnd,
			now: state.outcome(), id: state.id,
		}
		log, err := r.record(life, tree, liesFrom)
		if err != nil {
			return fmt.Errorf("life %d: %w", life.number, err)
		}
		for range 3 { // the last cut's journal lives on
			if tree, state, err = r.cut(life, log, rnd, y); err != nil {
				return fmt.Errorf("life %d: %w", life.number, err)
			}
		}
	}
	return nil
}

// record runs a life on a tree and returns the log.
func (r *strictRig) record(life *strictLife, tree string, liesFrom int) ([]strictOp, error) {
	m, err := r.mount(tree, liesFrom)
	if err != nil {
		return nil, err
	}
	life.fsys = m
	err = life.run(10 + life.rnd.IntN(50))
	if life.j != nil {
		if closeErr := life.j.Close(); err == nil && !errors.Is(closeErr, journal.ErrClosed) {
			err = closeErr
		}
	}
	if err = errors.Join(err, m.stop()); err != nil {
		return nil, err
	}
	return readStrictLog(m.config.Log)
}

// cut draws what a cut leaves and checks the journal in it. It returns an untouched copy of that,
// and what the journal holds.
func (r *strictRig) cut(
	life *strictLife, log []strictOp, rnd *rand.Rand, y *strictTally,
) (tree string, found *strictFound, err error) {
	at := cutOf(log, rnd)
	tree, lost, err := r.drawTree(log[:at], rnd)
	if err != nil {
		return "", nil, err
	}
	again, err := r.newDir()
	if err != nil {
		return "", nil, err
	}
	if err := os.CopyFS(again, os.DirFS(tree)); err != nil {
		return "", nil, err
	}
	allowed := &life.allowed[markBefore(log[:at])]
	y.cuts++
	y.lost += lost
	if allowed.op != "" {
		y.during++
	}
	if found, err = checkTree(filepath.Join(again, life.dir), allowed); err != nil {
		return "", nil, fmt.Errorf("%w at %d of %d, %q: %w",
			errStrictCut, at, len(log), allowed.op, err)
	}
	y.records += len(found.ids)
	return tree, found, nil
}

// checkTree checks the journal that a cut has left, and returns what it holds: looking changes
// nothing, Open for writing succeeds and shows the same, once more, and appending goes on.
func checkTree(dir string, allowed *strictAllowed) (*strictFound, error) {
	looked, err := look(dir)
	if err != nil {
		return nil, err
	}
	var first *strictFound
	for life := range uint64(3) {
		j, err := journal.Open(dir, &journal.Options{
			SegmentSize: journal.MinSegmentSize, VerifyOnOpen: life == 1,
		})
		if err != nil {
			return nil, fmt.Errorf("open %d: %w", life, err)
		}
		found, err := findAll(j)
		if err == nil {
			err = allowed.check(found)
		}
		if err == nil && looked != nil {
			err = errors.Join((&strictAllowed{
				outcomes: []strictOutcome{looked.outcome()}, id: looked.id,
			}).check(found))
		}
		if err == nil && life == 0 {
			first = found
			if looked == nil { // a new journal: another one is as good
				first = &strictFound{first: found.first}
			}
			looked = found
		}
		if err == nil && life > 0 { // life 0 was idle
			id := 1<<60 | life
			_, err = j.Append(strictPayload(id, 3000))
			next := found.outcome().appended(id)
			allowed = &strictAllowed{outcomes: []strictOutcome{next.durable()}, id: found.id}
			looked = nil
		}
		if err = errors.Join(err, j.Close()); err != nil {
			return nil, fmt.Errorf("opened %d: %w", life, err)
		}
	}
	return first, nil
}

// look reads a journal without a lock and returns what it holds, nil if there is none. It sees to it
// that nothing changes.
func look(dir string) (*strictFound, error) {
	before, err := digest(dir)
	if err != nil {
		return nil, err
	}
	j, err := journal.OpenReadOnly(dir, nil)
	if errors.Is(err, journal.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open for reading: %w", err)
	}
	found, err := findAll(j)
	if err = errors.Join(err, j.Close()); err != nil {
		return nil, fmt.Errorf("opened for reading: %w", err)
	}
	after, err := digest(dir)
	if err == nil && before != after {
		err = errors.New("looking has changed the directory")
	}
	return found, err
}

// digest returns a sum of all names and bytes below a directory, which may be missing.
func digest(dir string) (sum [32]byte, err error) {
	h := sha256.New()
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%q %d ", path, len(b))
		h.Write(b)
		return err
	})
	return [32]byte(h.Sum(nil)), err
}
