package journal

import (
	"errors"
	"fmt"
	"path/filepath"
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
	written bool         // the file on the disk says the same, twice
	unknown bool         // it may say the same in one copy: the latest update has failed
	next    uint64       // the generation of the next update
	open    segment.File // nil if it has to be made anew

	// garbage are segments to remove when one with a higher ordinal is durable. It belongs to who
	// has the syncer's turn.
	garbage []uint64
}

// create writes the file JOURNAL of a new journal.
func (n *names) create(id segment.ID, size int64) error {
	n.file, n.next = segment.JournalFile{Journal: id, Created: time.Now(), SegmentSize: size}, 1
	return n.write()
}

// found takes over what a scan has found.
func (n *names) found(st *recovery.State) error {
	if st.Journal != nil {
		n.file, n.written = *st.Journal, !st.Faults.Any() && !st.Faults.Behind
		n.next = n.file.NextGeneration(&st.Faults)
		if st.Faults.Size != nil {
			return nil // it is made anew
		}
		var err error
		path := filepath.Join(n.dir, segment.JournalName)
		n.open, err = n.fsys.Open(path, segment.ReadWrite)
		if err == nil && st.StandIn() {
			err = n.foundStandIn()
		}
		return err
	}
	if st.ID == (segment.ID{}) { // JOURNAL is damaged and there is no segment
		st.ID = segment.NewID()
	}
	n.file, n.next = segment.JournalFile{Journal: st.ID, Created: time.Now()}, 1
	return nil
}

// foundStandIn does what setStandIn may not have come to before a crash: the time is durable before
// a segment is removed. A file that a snapshot shares stays as it is.
func (n *names) foundStandIn() error {
	links, err := n.open.Links()
	if err != nil || links != 1 {
		return err
	}
	return segment.SyncJournalTime(n.open)
}

// write makes the file JOURNAL say what it should. It is written over in place, which needs no
// space, unless it is not a file of the right size with this one name: somebody has removed it, or
// a snapshot shares it. Where there is no space for another file, the next write checks that again:
// the snapshot may be gone by then.
func (n *names) write() error {
	if err := n.fsys.Check(); err != nil {
		return err
	}
	n.written, n.unknown = false, false
	n.file.Generation = n.next
	n.next++
	inPlace := n.open != nil
	if inPlace {
		links, err := n.open.Links()
		if err != nil {
			return err
		}
		inPlace = links == 1
	}
	var err error
	if inPlace {
		var done segment.JournalUpdate
		if done, err = segment.UpdateJournalFile(n.open, &n.file); done != segment.JournalWritten {
			n.next++ // the other copy is the good one still
		}
		n.unknown = err != nil && done != segment.JournalUnchanged
	} else {
		var f segment.File
		f, err = segment.CreateJournalFile(n.fsys, n.dir, &n.file)
		if !errors.Is(err, ErrNoSpace) { // otherwise the old file has kept its name
			n.close()
			n.open = f
		}
	}
	n.written = err == nil
	return err
}

// close closes the file JOURNAL: what it says is durable already.
func (n *names) close() {
	if n.open != nil {
		_ = n.open.Close()
		n.open = nil
	}
}

// setSegmentSize notes how large segments are from now on.
func (n *names) setSegmentSize(size int64) error {
	if n.written && n.file.SegmentSize == size {
		return nil
	}
	n.file.SegmentSize = size
	return n.write()
}

// setStandIn notes a link durably that no segment can be had for, with what it claims. If it fails,
// either nothing has changed, or the error matches errUnknown.
//
// The file's time of modification becomes durable, too. A power cut must not set it back to one
// that a backup has seen: with the JOURNAL of that backup, the segments that are removed now would
// be missed. Any other change of JOURNAL can be missing in a backup.
func (n *names) setStandIn(ordinal uint64, l segment.Link) error {
	old := n.file
	n.file.StandInOrdinal, n.file.StandIn, n.file.Newest = ordinal, l, ordinal
	n.file.Claim, n.file.FirstLive = l.Claim, l.FirstLive
	err := n.write()
	if err == nil {
		err = segment.SyncJournalTime(n.open)
		n.unknown = err != nil
	}
	if err != nil {
		n.file = old
	}
	if n.unknown {
		err = fmt.Errorf("%w: %w", errUnknown, err)
	}
	return err
}

// errUnknown: after a failed update JOURNAL may show a change that was not made.
var errUnknown = errors.New("the change may show after the next open")

// fatal reports whether an error of an operation on names must make the journal fail: it is not
// known which names the directory has or what JOURNAL says, or the directory is not the journal's
// any more.
func fatal(err error) bool {
	return errors.Is(err, segment.ErrUnnamed) || errors.Is(err, ErrReplaced) ||
		errors.Is(err, errUnknown)
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
// lie in the same sector as what they claim, and get lost with it. firstLive likewise.
func (n *names) setClaim(pos segment.Position, firstLive Seq) error {
	if n.written && n.file.Claim == pos && n.file.FirstLive == firstLive {
		return nil
	}
	n.file.Claim, n.file.FirstLive = pos, firstLive
	if pos.Ordinal > n.file.StandInOrdinal { // a segment does what it stood in for
		n.file.StandInOrdinal, n.file.StandIn = 0, segment.Link{}
	}
	return n.write()
}

// discardSpare removes what an earlier life had prepared and not used, from the highest ordinal
// down, each durably before the next, so that a power cut leaves no gap: a crash loop would pile it
// up. It returns the highest ordinal that is left. What else is not on the chain becomes garbage.
func (n *names) discardSpare(st *recovery.State) (highest uint64, err error) {
	highest = st.Highest
	spare := st.Spare()
	// One above them may have been removed by an earlier life, and not durably.
	if len(spare) > 0 {
		if err := n.fsys.SyncDir(n.dir); err != nil {
			return highest, segment.Unnamed(err)
		}
	}
	gone, err := n.discard(spare...)
	if gone > 0 {
		highest = spare[gone-1] - 1
	}
	if err != nil {
		return highest, err
	}
	n.garbage = slices.DeleteFunc(append(st.Dead(), st.Prepared()...), func(o uint64) bool {
		return o > highest
	})
	return highest, nil
}

// tidy removes the garbage below the newest segment of a journal that was closed cleanly, and
// writes the file JOURNAL if it is missing or damaged.
func (n *names) tidy(newest uint64, log *zap.Logger) error {
	if !n.written {
		if err := n.setNewest(newest); err != nil {
			return err
		}
	}
	_, err := n.collect(newest, 0, log)
	return err
}

// discard removes segments above the newest one that were prepared and not used, in descending
// order of ordinals, each durably before the next, and up to the first that stays: there must be no
// gap. It returns how many are gone.
func (n *names) discard(ordinals ...uint64) (gone int, err error) {
	for gone, ordinal := range ordinals {
		if n.file.Newest >= ordinal {
			if err := n.setNewest(ordinal - 1); err != nil {
				return gone, err
			}
		}
		if _, err := n.remove(0, ordinal); err != nil {
			return gone, err
		}
	}
	return len(ordinals), nil
}

// remove removes segments, but for so many whose files are kept, under names that the next Open
// removes: these it returns. They have those names durably: if the directory cannot be synced it
// keeps none. A file that cannot be removed does not touch the others.
func (n *names) remove(keep int, ordinals ...uint64) (kept []string, err error) {
	if err := n.fsys.Check(); err != nil {
		return nil, err
	}
	for _, o := range ordinals {
		path := filepath.Join(n.dir, segment.FileName(o))
		if len(kept) < keep && n.fsys.Rename(path, path+segment.TempSuffix) == nil {
			kept = append(kept, path+segment.TempSuffix)
			continue
		}
		err = errors.Join(err, recovery.Remove(n.fsys, n.dir, segment.FileName(o)))
	}
	if syncErr := n.fsys.SyncDir(n.dir); syncErr != nil {
		err = errors.Join(err, segment.Unnamed(syncErr))
		for _, path := range kept {
			err = errors.Join(err, recovery.Remove(n.fsys, n.dir, filepath.Base(path)))
		}
		kept = nil
	}
	if err != nil {
		err = fmt.Errorf("remove segments that are not needed: %w", err)
	}
	return kept, err
}

// collect removes the garbage, now that a segment with that ordinal is durably linked; it keeps and
// returns files as remove does. What cannot be removed only takes up space: the next Open tries
// again. The only errors are those of a failed directory sync, which may have been about another
// name, too, and of a directory that is not the journal's any more.
func (n *names) collect(durable uint64, keep int, log *zap.Logger) (kept []string, err error) {
	var now []uint64
	n.garbage = slices.DeleteFunc(n.garbage, func(o uint64) bool {
		if o < durable {
			now = append(now, o)
		}
		return o < durable
	})
	if len(now) == 0 {
		return nil, nil
	}
	kept, err = n.remove(keep, now...)
	if fatal(err) {
		return nil, err
	}
	if err != nil {
		log.Warn("space is not freed", zap.Error(err))
	}
	return kept, nil
}
