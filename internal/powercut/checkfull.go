//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
	"mmjournal/segment"
)

// standIn reports whether JOURNAL holds the link of a segment that the disk had no space for.
func (c *imageCheck) standIn() bool {
	b, err := os.ReadFile(filepath.Join(c.dir, segment.JournalName))
	if err != nil {
		return false
	}
	j, _, err := segment.DecodeJournalFile(b)
	return err == nil && j.StandInOrdinal != 0
}

// removeFiller makes space.
func (c *imageCheck) removeFiller() error {
	root := filepath.Join(c.dir, "../..")
	err := os.Remove(filepath.Join(root, fillerName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d, err := os.Open(root)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// truncateFull drops records on the full disk, and removes the filler then.
func (c *imageCheck) truncateFull(j *journal.Journal) error {
	segments := j.Stats().Segments
	first, ids, op, err := c.drop(j)
	if err != nil {
		return fmt.Errorf("%s on a full disk: %w", op, err)
	}
	c.first, c.ids = first, ids
	if len(ids) == 0 && segments > 1 {
		if err := c.appendOne(j); err != nil {
			return fmt.Errorf("%s has dropped %d segments: %w", op, segments, err)
		}
	}
	return c.removeFiller()
}

// drop drops records in one of the ways that there are, and returns what is left if it succeeds.
func (c *imageCheck) drop(j *journal.Journal) (first uint64, ids []ID, op string, err error) {
	n := c.r.IntN(len(c.ids) + 1)
	switch c.r.IntN(5) {
	case 0:
		first = c.first + uint64(n)
		return first, c.ids[n:], "TruncateFront", j.TruncateFront(journal.Seq(first))
	case 1:
		first = c.first + uint64(len(c.ids))
		return first, nil, "TruncateFront of all", j.TruncateFront(journal.Seq(first))
	case 2:
		last := c.first + uint64(n) - 1
		return c.first, slices.Clip(c.ids[:n]), "TruncateBack", j.TruncateBack(journal.Seq(last))
	case 3:
		return c.first, nil, "TruncateBack of all", j.TruncateBack(journal.Seq(c.first - 1))
	}
	first = 1 + uint64(c.r.IntN(1000))
	return first, nil, "Reset", j.Reset(journal.Seq(first))
}
