package journal

import (
	"context"
	"sync"
	"time"

	"mmjournal/segment"
)

// syncer lets one goroutine at a time sync. A goroutine that needs durability takes the turn if it
// is free. Those that arrive during the turn wait, and one of them takes the next turn for all of
// them. If much was appended during a sync, its goroutine keeps the turn for the next sync and
// wakes only the goroutines that the last one has covered.
type syncer struct {
	mu struct {
		sync.Mutex
		busy    bool
		covered chan struct{} // closed when the current sync is done; nil if no goroutine waits
		done    chan struct{} // the same for the one after it, at the latest when the turn ends

		waiting  int // goroutines that wait for done, but for those for a structural change
		covering int // that wait for covered
		released int // that the end of the last turn has woken
		changes  int // structural changes that wait for the turn: the next one is theirs
	}

	// pos is how far the chain is durable. It belongs to who has the turn.
	pos segment.Position

	stats struct {
		sync.Mutex
		syncs    uint64
		syncTime time.Duration
	}
}

// tryEnter takes the turn, or returns a channel that is closed when the present one ends.
func (s *syncer) tryEnter() (wait chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.busy && s.mu.changes == 0 {
		s.mu.busy = true
		return nil
	}
	s.mu.waiting++
	return s.doneLocked()
}

func (s *syncer) doneLocked() chan struct{} {
	if s.mu.done == nil {
		s.mu.done = make(chan struct{})
	}
	return s.mu.done
}

// enter takes the turn, after waiting for it. It comes before those who append: one of many, it
// would wait for as many turns as there are of them.
func (s *syncer) enter() { _ = s.enterContext(context.Background()) }

// enterContext is enter. If ctx ends while it waits, it returns the error of ctx, and the caller
// does not have the turn.
func (s *syncer) enterContext(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.changes++
	for s.mu.busy {
		if err := s.waitLocked(ctx); err != nil {
			s.mu.changes--
			s.retryLocked()
			return err
		}
	}
	s.mu.changes--
	s.mu.busy = true
	return nil
}

// waitLocked waits without the lock until the present turn ends, or ctx.
func (s *syncer) waitLocked(ctx context.Context) error {
	wait := s.doneLocked()
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryLocked wakes the goroutines that wait for a turn that is free: it was kept for a structural
// change, which has given up.
func (s *syncer) retryLocked() {
	if !s.mu.busy && s.mu.changes == 0 {
		s.mu.released, s.mu.waiting = s.mu.waiting, 0
		s.wakeLocked(&s.mu.done)
	}
}

// leave ends the turn and wakes everybody.
func (s *syncer) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.busy = false
	s.mu.released, s.mu.covering, s.mu.waiting = s.mu.covering+s.mu.waiting, 0, 0
	s.wakeLocked(&s.mu.covered)
	s.wakeLocked(&s.mu.done)
}

func (s *syncer) wakeLocked(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// cover notes that a sync begins: it covers those who wait now. The caller has the turn.
func (s *syncer) cover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked(&s.mu.covered)
	s.mu.covered, s.mu.done = s.mu.done, nil
	s.mu.covering, s.mu.waiting = s.mu.waiting, 0
}

// goOn wakes those whom the last sync has covered. The caller keeps the turn, unless a structural
// change waits for it: then goOn does nothing and returns false.
func (s *syncer) goOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.changes > 0 {
		return false
	}
	s.wakeLocked(&s.mu.covered)
	s.mu.covering = 0
	return true
}
