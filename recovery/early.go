package recovery

import (
	"sync"

	"mmjournal/segment"
)

// leastEarly returns how many bytes behind the last claim a scan of a segment must have read until
// it begins to make them durable. A journal that syncs as it goes hardly ever has so many.
func leastEarly(s *segment.Segment) segment.Offset {
	return min(4<<20, segment.Offset(s.Size/16))
}

// early makes what a scan reads durable while it goes on to read: it does what Settle would do
// first, to mark pages as modified and write them, and Settle does the rest. It changes no byte,
// whatever the scan finds.
type early struct {
	seg      *segment.Segment // open for writing
	from, to segment.Offset   // what the scan has handed over; its own
	todo     chan segment.Offset
	worker   sync.WaitGroup
	err      error // of the worker, when it is done
}

// seen returns what a scan of f is to call; nil if nothing is to be made durable.
func (s *search) seen(f *file) func(at segment.Offset, claim segment.Position) {
	if !s.settles || s.full {
		return nil
	}
	return func(at segment.Offset, claim segment.Position) {
		if claim.Less(s.claim) {
			claim = s.claim
		}
		switch e := f.early; {
		case claim.Ordinal > f.ordinal:
		case e != nil:
			e.to = at
			e.todo <- at
		default:
			from := segment.FirstFrame
			if claim.Ordinal == f.ordinal {
				from = claim.Offset
			}
			if at-from >= leastEarly(f.seg) {
				f.early = begin(s.d.fsys, f.seg.Path(), from, at)
			}
		}
	}
}

// begin begins with a first stretch.
func begin(fsys segment.FS, path string, from, to segment.Offset) *early {
	e := &early{from: from, to: to, todo: make(chan segment.Offset, 64)}
	if e.seg, e.err = segment.Open(fsys, path, segment.ReadWrite); e.err != nil {
		return nil // Settle meets it again
	}
	e.worker.Go(func() {
		at := from
		for to := range e.todo {
			if e.err == nil {
				e.err = e.seg.Dirty(at, to)
				e.seg.WriteBack(at, to)
			}
			at = to
		}
	})
	e.todo <- to
	return e
}

// end waits until all that was handed over is done, and hands the segment over to the caller, who
// must drop it.
func (e *early) end() (*segment.Segment, error) {
	close(e.todo)
	e.worker.Wait()
	return e.seg, e.err
}
