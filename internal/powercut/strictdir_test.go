//go:build linux

package powercut

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	kills   int // of processes, before a cut
}

func (y *strictTally) String() string {
	return fmt.Sprintf("%d cuts, %d within an operation, %d changes of names lost, %d records found, "+
		"%d processes killed", y.cuts, y.during, y.lost, y.records, y.kills)
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
	c := torture.Start(t, "directory entries, fsync of directories ignored", 20)
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
	if c.Runs() >= 20 && int64(seen)*5 < c.Runs() {
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
	for power := range 1 + rnd.IntN(3) {
		rec, err := r.record(seed, uint64(power)*10, tree, state, liesFrom, rnd)
		if err != nil {
			return fmt.Errorf("power %d: %w", power, err)
		}
		y.kills += rec.kills
		for range 3 { // the last cut's journal lives on
			if tree, state, err = r.cut(rec, rnd, y); err != nil {
				return fmt.Errorf("power %d: %w", power, err)
			}
		}
	}
	return nil
}

// strictRecording is what one or two processes have done between two cuts.
type strictRecording struct {
	log     []strictOp
	allowed []strictAllowed // by the number of a mark
	kills   int             // processes that were killed
}

// record has one process or two, one after the other, live on a tree. The first may be killed; what
// it has published must then be seen by the second.
func (r *strictRig) record(
	seed, number uint64, tree string, state *strictFound, liesFrom int, rnd *rand.Rand,
) (*strictRecording, error) {
	m, err := r.mount(tree, liesFrom)
	if err != nil {
		return nil, err
	}
	rec := &strictRecording{}
	start := []strictOutcome{state.outcome()}
	config := lifeConfig{
		Tree: m.tree(), Control: filepath.Join(m.config.Mount, strictControl), Log: m.config.Log,
		Notes: m.config.Log + ".notes", Dir: strictPath, Seed: seed, ID: state.id,
		Start: start, Seen: start,
	}
	lives := 1 + rnd.IntN(2)
	for n := range lives {
		config.Number, config.Steps = number+uint64(n)+1, 10+rnd.IntN(50/lives)
		if config.KillAt = 0; n+1 < lives && rnd.IntN(4) > 0 {
			config.KillAt = 1 + rnd.Int64N([]int64{100_000, 1_000_000}[rnd.IntN(2)])
		}
		if err = r.live(&config, rec); err != nil {
			break
		}
	}
	if err = errors.Join(err, m.stop()); err != nil {
		return nil, err
	}
	rec.log, err = readStrictLog(m.config.Log)
	return rec, err
}

// live has a process live, and sets the configuration of the next one.
func (r *strictRig) live(config *lifeConfig, rec *strictRecording) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	path := config.Notes + ".config"
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	w := jobWorker{name: "strict life", arg: path}
	err = w.run(config.Seed)
	w.stop()
	if config.KillAt > 0 && w.killed {
		err = nil
		rec.kills++
	}
	if err != nil {
		return err
	}
	if rec.allowed, err = readNotes(config.Notes); err != nil || len(rec.allowed) == 0 {
		return err
	}
	last := rec.allowed[len(rec.allowed)-1]
	config.Marks, config.ID = int64(len(rec.allowed)), last.ID
	config.Start, config.Seen = last.Outcomes, nil
	for _, o := range last.Outcomes {
		if o.last() >= o.lo { // published records survive a process
			config.Seen = append(config.Seen, o.durable())
		}
	}
	return nil
}

// readNotes reads what a cut may leave after each mark. A process that was killed may have left the
// beginning of a note; readNotes removes it, since the next process appends.
func readNotes(path string) (notes []strictAllowed, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the process was killed at once
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var a strictAllowed
		end := d.InputOffset()
		switch err := d.Decode(&a); {
		case errors.Is(err, io.EOF):
			return notes, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return notes, os.Truncate(path, end)
		case err != nil:
			return nil, err
		}
		notes = append(notes, a)
	}
}

// cut draws what a cut leaves and checks the journal in it. It returns an untouched copy of that,
// and what the journal holds.
func (r *strictRig) cut(
	rec *strictRecording, rnd *rand.Rand, y *strictTally,
) (tree string, found *strictFound, err error) {
	log := rec.log
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
	allowed := &rec.allowed[markBefore(log[:at])]
	y.cuts++
	y.lost += lost
	if allowed.Op != "" {
		y.during++
	}
	if found, err = checkTree(filepath.Join(again, strictPath), allowed); err != nil {
		return "", nil, fmt.Errorf("%w at %d of %d, %q: %w",
			errStrictCut, at, len(log), allowed.Op, err)
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
				Outcomes: []strictOutcome{looked.outcome()}, ID: looked.id,
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
			allowed = &strictAllowed{Outcomes: []strictOutcome{next.durable()}, ID: found.id}
			looked = nil
		}
		if err = errors.Join(err, j.Close()); err != nil {
			return nil, fmt.Errorf("opened %d: %w", life, err)
		}
	}
	return first, nil
}

// look reads a journal without a lock and returns what it holds, nil if there is none. Nothing may
// change.
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
