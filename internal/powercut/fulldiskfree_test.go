//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// freed drops records while the disk is full, again and again, and all of them at last: that works,
// and appends go on then. A file system that never writes a file over in place may have no space
// for that; then nothing has changed.
func (c *fullCase) freed() error {
	if c.stage == "open" && c.j == nil {
		return nil // there is no journal
	}
	if err := c.reopen(); err != nil {
		return c.cowOnly(err)
	}
	for range 1 + c.rnd.IntN(3) {
		if ok, err := c.cut(c.rnd.IntN(5)); !ok || err != nil {
			return err
		}
	}
	if c.rnd.IntN(2) == 0 {
		j := c.j
		c.j = nil
		if err := j.Close(); err != nil {
			return c.cowOnly(err)
		}
		if err := c.reopen(); err != nil {
			return c.cowOnly(err)
		}
	}
	segments := c.j.Stats().Segments
	op := []int{cutReset, cutAll}[c.rnd.IntN(2)]
	if ok, err := c.cut(op); !ok || err != nil {
		return err
	}
	if op == cutAll && segments < 2 {
		return nil // no file could go
	}
	return c.cowOnly(c.append(3000))
}

// cowOnly returns an error, unless it is one of a full disk that this file system may give.
func (c *fullCase) cowOnly(err error) error {
	if err == nil || !c.world.cow {
		return err
	}
	if c.j == nil && errors.Is(err, journal.ErrFault) {
		return nil // Open has to write what is there, to make it durable
	}
	return c.take(err)
}

const (
	cutAll   = 3
	cutReset = 4
)

// cut drops records on the full disk. It reports false if it could not, as it may on some file
// systems, or if the journal has failed.
func (c *fullCase) cut(op int) (ok bool, err error) {
	first, last := c.now.first, c.now.last()
	after := c.now.durable()
	switch op {
	default:
		after.first = first + c.rnd.Uint64N(last-first+2)
		err = c.j.TruncateFront(journal.Seq(after.first))
	case 1, 2:
		after = after.cut(last - c.rnd.Uint64N(last-first+2))
		err = c.j.TruncateBack(journal.Seq(after.last()))
	case cutAll:
		after.first = last + 1
		err = c.j.TruncateFront(journal.Seq(after.first))
	case cutReset:
		next := 1 + c.rnd.Uint64N(1000)
		after = strictOutcome{first: next, base: next}.durable()
		err = c.j.Reset(journal.Seq(next))
	}
	switch {
	case err == nil:
		c.now = after
		return true, nil
	case errors.Is(err, journal.ErrFailed):
		c.other = append(c.other, after)
	case c.j.First() != journal.Seq(first) || c.j.Last() != journal.Seq(last):
		return false, fmt.Errorf("a truncation has changed the journal and says %w", err)
	}
	return false, c.cowOnly(err)
}

// fullLife is what a process is told that appends until the disk is full and is killed then, and
// what it says.
type fullLife struct {
	Dir, Said string // Said is a file on another file system
	Options   journal.Options
	IDs       uint64 // have been used

	Appended, Durable uint64
	Failed            bool
}

// killed has another process append, which is killed where there is no space.
func (c *fullCase) killed() error {
	j := c.j
	c.j = nil
	if err := j.Close(); err != nil {
		return c.take(err)
	}
	c.now = c.now.durable()
	life := fullLife{Dir: c.dir, Said: c.world.mount + ".said", Options: c.options, IDs: c.ids}
	text, err := json.Marshal(&life)
	if err != nil {
		return err
	}
	w := jobWorker{name: "full life", arg: string(text)}
	err = w.run(1)
	if w.stop(); !w.killed {
		return fmt.Errorf("the process was not killed: %w", err)
	}
	if text, err = os.ReadFile(life.Said); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &life); err != nil {
		return err
	}
	for range life.Appended {
		c.ids++
		c.now = c.now.appended(c.ids)
	}
	c.now.lo = max(c.now.lo, life.Durable)
	c.ids++
	if c.note = fullNoSpace; life.Failed {
		c.note = fullFailed
		c.other = append(c.other, c.now.appended(c.ids))
	}
	return nil
}

// fullLifeJob is that process.
func fullLifeJob(_, arg string) (jobRun, error) {
	var life fullLife
	if err := json.Unmarshal([]byte(arg), &life); err != nil {
		return nil, err
	}
	return func(uint64) (string, error) { return "", life.run() }, nil
}

func (l *fullLife) run() error {
	j, err := journal.Open(l.Dir, &l.Options)
	if err == nil {
		for err == nil && l.Appended < 200 {
			if _, err = j.Append(strictPayload(l.IDs+l.Appended+1, 3000)); err == nil {
				l.Appended++
			}
		}
		l.Failed = errors.Is(err, journal.ErrFailed)
		err = errors.Join(err, j.Sync(context.Background()))
		l.Durable = uint64(j.Durable())
	}
	if err != nil && !errors.Is(err, journal.ErrNoSpace) && !l.Failed {
		return err
	}
	text, err := json.Marshal(l)
	if err == nil {
		err = os.WriteFile(l.Said, text, 0o600)
	}
	return errors.Join(err, unix.Kill(os.Getpid(), unix.SIGKILL))
}
