//go:build linux

package powercut

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// checkImage mounts what a power cut has left, recovers the journal in it, and holds it against the
// model. It returns how many records were there. An error is a violation, or a *mountError.
func (r *Rig) checkImage(img *Image, m *Model, rnd *rand.Rand) (records int, err error) {
	r.runs++
	dir := filepath.Join(r.dir, fmt.Sprint("image", r.runs))
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.MkdirAll(filepath.Join(dir, "fs"), 0o700); err != nil {
		return 0, err
	}
	path, mnt := filepath.Join(dir, diskName), filepath.Join(dir, "fs")
	if err := img.save(path); err != nil {
		return 0, err
	}
	if err := mountImage(path, mnt, r.kind); err != nil {
		return 0, &mountError{err}
	}
	c := &imageCheck{
		dir: filepath.Join(mnt, journalDir), model: m, r: rnd, full: r.full,
	}
	if c.standIn() {
		r.standIns++
	}
	err = c.run()
	if err == nil {
		err = c.checkSnapshots()
		r.snapshots += len(m.snapshots)
	}
	if uerr := unmount(mnt); uerr != nil {
		err = errors.Join(err, &mountError{uerr})
	}
	return len(c.ids), err
}

// imageCheck is the life of a journal on an image.
type imageCheck struct {
	dir   string
	model *Model
	r     *rand.Rand
	first uint64
	ids   []ID
	more  int  // records that were appended since
	full  bool // the disk is nearly full
}

func (c *imageCheck) run() error {
	if err := c.readOnly(); err != nil {
		return err
	}
	j, err := c.open()
	if err != nil {
		return err
	}
	if c.first, c.ids, err = contents(j); err == nil {
		err = c.model.check(c.first, c.ids)
	}
	if err != nil {
		return errors.Join(err, j.Close())
	}
	if c.r.IntN(4) == 0 {
		if j, err = c.idle(j); err != nil {
			return err
		}
	}
	if c.full {
		if err := c.truncateFull(j); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	if err := c.appendMore(j); err != nil {
		return errors.Join(err, j.Close())
	}
	if j, err = c.again(j); err != nil {
		return err
	}
	return j.Close()
}

// open opens for writing, which has to succeed after whatever power cut.
func (c *imageCheck) open() (*journal.Journal, error) {
	j, err := journal.Open(c.dir, &journal.Options{
		SegmentSize: segmentSize, VerifyOnOpen: c.r.IntN(2) == 0,
	})
	if err != nil {
		return nil, fmt.Errorf("I15: Open refuses: %w", err)
	}
	return j, nil
}

// readOnly looks before anything is changed: the journal is not corrupt, and a read-only open shows
// what the model allows.
func (c *imageCheck) readOnly() error {
	if c.r.IntN(4) > 0 {
		return nil
	}
	before, err := files(c.dir)
	if err != nil {
		return err
	}
	if err := c.look(); err != nil {
		return err
	}
	after, err := files(c.dir)
	if err == nil && !maps.Equal(before, after) {
		err = fmt.Errorf("I5: looking has changed files: %v, then %v", before, after)
	}
	return err
}

func (c *imageCheck) look() error {
	report, err := recovery.Inspect(c.dir, true)
	if c.model.opens == 0 && isNoJournal(err) {
		return nil
	}
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return fmt.Errorf("I13: inspect: %w", err)
	}
	j, err := journal.OpenReadOnly(c.dir, nil)
	if err != nil {
		return fmt.Errorf("I15: OpenReadOnly: %w", err)
	}
	first, ids, err := contents(j)
	if err == nil {
		err = c.model.check(first, ids)
	}
	if err != nil {
		err = fmt.Errorf("read-only: %w", err)
	}
	return errors.Join(err, j.Close())
}

func isNoJournal(err error) bool {
	return errors.Is(err, journal.ErrNotExist) || errors.Is(err, os.ErrNotExist)
}

// files returns a checksum of each of the journal's files.
func files(dir string) (map[string]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	sums := map[string]uint64{}
	for _, e := range entries {
		b, rerr := os.ReadFile(filepath.Join(dir, e.Name()))
		err = errors.Join(err, rerr)
		h := fnv.New64a()
		h.Write(b)
		sums[e.Name()] = h.Sum64()
	}
	return sums, err
}

// idle closes and opens several times: after the first time not a byte changes any more (I5).
func (c *imageCheck) idle(j *journal.Journal) (*journal.Journal, error) {
	var before map[string]uint64
	for i := range 3 {
		if err := j.Close(); err != nil {
			return nil, fmt.Errorf("close: %w", err)
		}
		after, err := files(c.dir)
		if c.full { // LOCK has the process id where there was space for it
			delete(after, segment.LockName)
		}
		if err == nil && i > 0 && !maps.Equal(before, after) {
			err = fmt.Errorf("I5: opening and closing it for time %d has changed files: %v, then %v",
				i+1, before, after)
		}
		if err != nil {
			return nil, err
		}
		before = after
		if j, err = c.open(); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// again closes and opens: everything is as it was (I5).
func (c *imageCheck) again(j *journal.Journal) (*journal.Journal, error) {
	if err := j.Close(); err != nil {
		return nil, fmt.Errorf("close: %w", err)
	}
	j, err := c.open()
	if err != nil {
		return nil, err
	}
	first, ids, err := contents(j)
	if err == nil && (first != c.first || !slices.Equal(ids, c.ids)) {
		err = fmt.Errorf("I5: reopened, it shows %d records from %d; before, %d from %d",
			len(ids), first, len(c.ids), c.first)
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// afterLife is the life number of records that are appended to an image after its check.
const afterLife = 1_000_000

// appendMore appends durable records, enough for a roll now and then.
func (c *imageCheck) appendMore(j *journal.Journal) error {
	n := 1 + c.r.IntN(4)
	if c.r.IntN(8) == 0 {
		n = 60
	}
	for range n {
		if err := c.appendOne(j); err != nil {
			return err
		}
	}
	return j.Sync(context.Background())
}

// appendOne appends a record.
func (c *imageCheck) appendOne(j *journal.Journal) error {
	id := ID{Life: afterLife, N: c.more, Of: 1}
	c.more++
	seq, err := j.Append(id.payload())
	if err != nil {
		return fmt.Errorf("append after recovery: %w", err)
	}
	if want := c.first + uint64(len(c.ids)); uint64(seq) != want {
		return fmt.Errorf("I2: append after recovery gets seq %d, want %d", seq, want)
	}
	c.ids = append(c.ids, id)
	return nil
}
