//go:build linux

package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// fullStages are when the disk becomes full.
var fullStages = []string{"open", "append", "roll", "close", "hole", "killed"}

// fullBlocks is one more than how many free blocks a case has at most. A segment takes 16.
const fullBlocks = 49

// fullCase is one journal on a disk that becomes full.
type fullCase struct {
	world   *fullWorld
	stage   string
	dir     string
	rnd     *rand.Rand
	options journal.Options
	j       *journal.Journal
	now     strictOutcome
	other   []strictOutcome // what it may be as well
	ids     uint64
	note    string
	failed  bool // the journal that is open
}

// run runs the case of a seed: all stages with one number of free blocks, then the next number.
func (w *fullWorld) run(seed uint64) (note string, err error) {
	n := int(seed-1) / len(fullStages) * 17 % fullBlocks // every one, in another order
	w.n++
	c := &fullCase{
		world: w, stage: fullStages[int(seed-1)%len(fullStages)], rnd: strictRand(seed, 2),
		dir: filepath.Join(w.mount, fmt.Sprint(w.n)), now: strictOutcome{first: 1, base: 1},
		note: fullEnough,
	}
	c.options = journal.Options{
		SegmentSize: journal.MinSegmentSize, Durability: journal.Durability(c.rnd.IntN(2)),
	}
	goroutines := runtime.NumGoroutine()
	err = c.story(int64(n))
	if err == nil {
		err = noLeaks(c.dir, goroutines)
	}
	if c.j != nil {
		c.j.Close()
	}
	err = errors.Join(err, w.unfill(), os.RemoveAll(c.dir), w.settle())
	if err != nil {
		err = fmt.Errorf("%d blocks free at %s, %v: %w", n, c.stage, c.options.Durability, err)
	}
	return c.note, err
}

// story is the life of the journal before, on and after the full disk.
func (c *fullCase) story(n int64) error {
	if c.stage != "open" {
		if err := c.before(); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	if err := c.world.fill(n); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := c.full(); err != nil {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if c.j == nil && c.note != fullNoSpace && c.note != fullFailed || c.stage == "close" {
		if err := c.look(); err != nil {
			return fmt.Errorf("open for reading on a full disk: %w", err)
		}
	}
	if err := c.freed(); err != nil {
		return fmt.Errorf("freed by truncation: %w", err)
	}
	if err := c.world.unfill(); err != nil {
		return fmt.Errorf("unfill: %w", err)
	}
	if err := c.goesOn(); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	return c.reopened()
}

// before fills a segment and a half, or all but the end of the second.
func (c *fullCase) before() (err error) {
	if c.j, err = journal.Open(c.dir, &c.options); err != nil {
		return err
	}
	records := 30
	if c.stage == "roll" {
		records = 36 // the next ones roll, into the segment that is prepared
	}
	for range records {
		if err := c.append(3000); err != nil {
			return err
		}
	}
	for c.j.Stats().Prepared <= uint64(c.j.Stats().Segments) {
		time.Sleep(time.Millisecond)
	}
	if c.stage == "hole" {
		return c.punch()
	}
	return nil
}

// punch takes away the space that was reserved for the rest of the active segment.
func (c *fullCase) punch() error {
	if err := c.j.Sync(context.Background()); err != nil {
		return err
	}
	c.now = c.now.durable()
	r, err := recovery.Inspect(c.dir, false)
	if err != nil {
		return err
	}
	for _, s := range r.Segments {
		if s.State != recovery.Active {
			continue
		}
		f, err := os.OpenFile(filepath.Join(c.dir, segment.FileName(s.Ordinal)), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		from := (s.Used + 4095) &^ 4095
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		return unix.Fallocate(int(f.Fd()), mode, from, journal.MinSegmentSize-from)
	}
	return errors.New("there is no active segment")
}

// append appends a record. Whatever comes back, it may be there.
func (c *fullCase) append(size int) error {
	c.ids++
	after := c.now.appended(c.ids)
	seq, err := c.j.Append(strictPayload(c.ids, size))
	switch {
	case err == nil:
		if uint64(seq) != after.last() {
			return fmt.Errorf("seq %d, want %d", seq, after.last())
		}
		c.now = after
	case errors.Is(err, journal.ErrFailed):
		c.other = append(c.other, after)
	}
	c.now.lo = max(c.now.lo, min(uint64(c.j.Durable()), c.now.last()))
	return err
}

// full does what the stage does on the full disk. Errors of a full disk become the note.
func (c *fullCase) full() (err error) {
	switch c.stage {
	case "open":
		if c.j, err = journal.Open(c.dir, &c.options); err != nil {
			return c.take(err)
		}
	case "close":
		j := c.j
		c.j = nil
		return c.take(j.Close())
	case "killed":
		return c.killed()
	}
	for range 60 {
		if err = c.append(3000); err != nil {
			break
		}
	}
	if err := c.take(err); err != nil || c.note != fullNoSpace {
		return err
	}
	for range 3 { // it stays as it is
		if err := c.take(c.append(60_000)); err != nil {
			return err
		}
	}
	if err := c.take(c.j.Sync(context.Background())); err != nil || c.note == fullFailed {
		return err
	}
	if c.note = fullNoSpace; c.j.Durable() != c.j.Published() {
		return errors.New("a sync on a full disk leaves records that are not durable")
	}
	c.now = c.now.durable()
	return nil
}

// take takes an error of a full disk down, and returns any other.
func (c *fullCase) take(err error) error {
	note, wrong := c.world.fullTyped(err, c.stage == "hole")
	if wrong != nil {
		return wrong
	}
	c.failed = c.failed || note == fullFailed
	if err != nil && c.note != fullFailed {
		c.note = note
	}
	return nil
}

// look reads the journal on the full disk: that takes no space.
func (c *fullCase) look() error {
	j, err := journal.OpenReadOnly(c.dir, nil)
	if err != nil {
		return err
	}
	defer j.Close()
	found, err := findAll(j)
	if err != nil {
		return err
	}
	return c.check(found)
}

func (c *fullCase) check(found *strictFound) error {
	return (&strictAllowed{Outcomes: append([]strictOutcome{c.now}, c.other...)}).check(found)
}

// goesOn appends with space again, in the same life unless the journal has failed, and closes.
func (c *fullCase) goesOn() error {
	if err := c.reopen(); err != nil {
		return err
	}
	for range 30 {
		if err := c.append(3000); err != nil {
			return err
		}
	}
	j := c.j
	c.j = nil
	c.now = c.now.durable()
	return j.Close()
}

// reopen opens the journal if it is not open, or has failed.
func (c *fullCase) reopen() error {
	if c.failed && c.j != nil {
		err := c.append(10)
		if !errors.Is(err, journal.ErrFailed) {
			return fmt.Errorf("a failed journal returns %w", err)
		}
		c.other = c.other[:len(c.other)-1] // nothing was stored
		c.j.Close()
		c.j = nil
	}
	if c.j != nil {
		return nil
	}
	j, err := journal.Open(c.dir, &c.options)
	if err != nil {
		return err
	}
	c.j = j
	found, err := findAll(j)
	if err == nil {
		err = c.check(found)
	}
	if err != nil {
		return err
	}
	c.now, c.other, c.failed = found.outcome(), nil, false
	return nil
}

// reopened checks every byte at last.
func (c *fullCase) reopened() error {
	j, err := journal.Open(c.dir, &journal.Options{VerifyOnOpen: true})
	if err != nil {
		return err
	}
	found, err := findAll(j)
	if err == nil {
		err = c.check(found)
	}
	return errors.Join(err, j.Close())
}
