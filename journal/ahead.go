package journal

import "mmjournal/segment"

// What is done ahead of the appends, in the background: preparing the next segments, and, where one
// could not be primed, populating the mapping of the active one, so that appends do not fault at
// the first touch of each folio. An append compares one offset with where the next such thing is
// due.

const (
	// populateUnit is what is populated at least: a folio (largeFolio).
	populateUnit = largeFolio
	// mostPopulated bounds how far ahead is populated; flat out, that is some 500 microseconds.
	mostPopulated = 4 << 20
	// populatedShare bounds it by what has been appended since the last sync: populated pages count
	// as modified, and the kernel writes them back if no append comes to them.
	populatedShare = 8

	never = segment.Offset(segment.MaxSize)
)

// beginAheadLocked decides what is due when in a segment that becomes the active one. Its successor
// is prepared at once where a full one came before, because that may take long beside a disk that
// is busy with that one; otherwise late enough that a journal which is opened for a few records
// prepares nothing in vain.
func (j *Journal) beginAheadLocked(seg *segment.Segment, rolled bool) {
	j.mu.prepareAt = segment.Offset(seg.Size / 4)
	if rolled {
		j.mu.prepareAt = 0
	}
	j.populateLocked(j.mu.writer.Position())
}

// aheadLocked does what is due when appends have come to an offset.
func (j *Journal) aheadLocked(at segment.Offset) {
	if at >= j.mu.prepareAt {
		j.mu.prepareAt = never
		j.factory.want()
	}
	if at >= j.mu.populateAt {
		j.populateLocked(j.mu.writer.Position())
		return
	}
	j.mu.nextAt = min(j.mu.prepareAt, j.mu.populateAt)
}

// populateLocked populates what may be populated now, and decides when to look again.
func (j *Journal) populateLocked(pos segment.Position) {
	j.mu.populateAt = never
	if j.factory.background && j.stage == nil {
		seg := j.mu.writer.Segment()
		from, to := span(pos.Offset, seg.Populated(), j.unsyncedLocked(pos))
		if to > from {
			j.populate(seg, from, to)
		}
		j.mu.populateAt = pos.Offset + max(populateUnit, (to-pos.Offset)*3/4)
	}
	j.mu.nextAt = min(j.mu.prepareAt, j.mu.populateAt)
}

// span returns what is to be populated when so much is and the appends have come to at.
func span(at, populated segment.Offset, unsynced int64) (from, to segment.Offset) {
	ahead := min(unsynced/populatedShare, mostPopulated)
	to = (at + segment.Offset(max(ahead, 0))) &^ (populateUnit - 1)
	return max(at, populated), to
}

// unsyncedLocked returns how many bytes, at least, have been appended since the last sync.
func (j *Journal) unsyncedLocked(pos segment.Position) int64 {
	if pos.Ordinal == j.mu.claim.Ordinal {
		return int64(pos.Offset - j.mu.claim.Offset)
	}
	return j.mu.past + int64(pos.Offset)
}

// populate starts to populate a part of seg, unless that of another part is under way.
func (j *Journal) populate(seg *segment.Segment, from, to segment.Offset) {
	if !j.populating.busy.CompareAndSwap(false, true) {
		return
	}
	seg.Acquire() // it is on the chain: it is mapped
	j.populating.Go(func() {
		seg.Populate(from, to)
		j.populating.busy.Store(false)
		j.drop(seg)
	})
}
