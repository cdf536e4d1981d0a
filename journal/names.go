package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// names changes which names the directory holds: the file JOURNAL, and segments that are not needed
// any more.
type names struct {
	fsys segment.FS
	dir  string

	// What the file JOURNAL says; guarded by Journal.mu.
	file    segment.JournalFile
	written bool // the file on the disk says the same

	// garbage are segments to remove when one with a higher ordinal is durable. It belongs to who
	// has the syncer's turn.
	garbage []uint64
}

// create writes the file JOURNAL of a new journal.
func (n *names) create(id segment.ID) error {
	n.file = segment.JournalFile{Journal: id, Created: time.Now()}
	return n.write()
}

// found takes over what a scan has found.
func (n *names) found(st *recovery.State) {
	if st.Journal != nil {
		n.file, n.written = *st.Journal, true
		return
	}
	if st.ID == (segment.ID{}) { // JOURNAL is damaged and there is no segment
		st.ID = segment.NewID()
	}
	n.file = segment.JournalFile{Journal: st.ID, Created: time.Now()}
}

func (n *names) write() error {
	n.written = false
	if err := segment.WriteJournalFile(n.fsys, n.dir, n.file); err != nil {
		return err
	}
	n.written = true
	return nil
}

// setNewest notes durably that the segment with that ordinal, or a newer one with a good link,
// exists. Without it nobody would miss the newest segment of a journal that was cut, if its file
// got lost.
func (n *names) setNewest(ordinal uint64) error {
	if n.written && n.file.Newest == ordinal {
		return nil
	}
	n.file.Newest = ordinal
	return n.write()
}

// setClaim notes durably that everything below pos is durable. The marks say so too; but they may
// lie in the same sector as what they claim, and get lost with it.
func (n *names) setClaim(pos segment.Position) error {
	if n.written && n.file.Claim == pos {
		return nil
	}
	n.file.Claim = pos
	return n.write()
}

// discardPrepared removes, at a clean open, everything that is not on the chain: from the highest
// ordinal down, each durably before the next, so that a power cut leaves no gap.
func (n *names) discardPrepared(st *recovery.State) error {
	if !n.written || n.file.Newest > st.End.Ordinal {
		if err := n.setNewest(st.End.Ordinal); err != nil {
			return err
		}
	}
	for _, ordinal := range st.Prepared() {
		if err := n.remove(ordinal); err != nil {
			return err
		}
	}
	if dead := st.Dead(); len(dead) > 0 {
		return n.remove(dead...)
	}
	return nil
}

// discardSpare removes, at an unclean open, what an earlier life had prepared and not used: a crash
// loop would pile it up. The seal's successor stays: it is missed if it is not there.
func (n *names) discardSpare(st *recovery.State) (left uint64, err error) {
	left = st.Highest
	for _, ordinal := range st.Spare() {
		if err := n.discard(ordinal); err != nil {
			return left, err
		}
		left = ordinal - 1
	}
	return left, nil
}

// discard removes a segment above the newest one that was prepared and not used.
func (n *names) discard(ordinal uint64) error {
	if n.file.Newest >= ordinal {
		if err := n.setNewest(ordinal - 1); err != nil {
			return err
		}
	}
	return n.remove(ordinal)
}

func (n *names) remove(ordinals ...uint64) error {
	files := make([]string, len(ordinals))
	for i, o := range ordinals {
		files[i] = segment.FileName(o)
	}
	err := recovery.Remove(n.fsys, n.dir, files...)
	if syncErr := n.fsys.SyncDir(n.dir); syncErr != nil {
		err = errors.Join(err, segment.Unnamed(syncErr))
	}
	if err != nil {
		return fmt.Errorf("remove segments that are not needed: %w", err)
	}
	return nil
}

// collect removes the garbage, now that a segment with that ordinal is durably linked. What cannot
// be removed only takes up space: the next Open tries again. The only error is that of a failed
// directory sync, which may have been about another name, too.
func (n *names) collect(durable uint64, log *zap.Logger) error {
	var now []uint64
	n.garbage = slices.DeleteFunc(n.garbage, func(o uint64) bool {
		if o < durable {
			now = append(now, o)
		}
		return o < durable
	})
	if len(now) == 0 {
		return nil
	}
	err := n.remove(now...)
	if errors.Is(err, segment.ErrUnnamed) {
		return err
	}
	if err != nil {
		log.Warn("space is not freed", zap.Error(err))
	}
	return nil
}
