package journal

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mmjournal/internal/testutil/wait"
)

// TestChangeGivesUp: a structural change whose context ends lets those go on that wait behind it.
func TestChangeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s syncer
		s.enter()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() { gaveUp <- s.enterContext(ctx) }()
		synctest.Wait()
		var appends sync.WaitGroup
		for range 3 {
			appends.Go(func() {
				for wait := s.tryEnter(); wait != nil; wait = s.tryEnter() {
					<-wait
				}
				s.leave()
			})
		}
		synctest.Wait()
		// The change has not run since the turn has ended: appends still wait for it.
		s.mu.Lock()
		s.mu.busy = false
		s.mu.Unlock()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		appends.Wait() // synctest panics if they wait for ever
		if s.mu.changes != 0 {
			t.Errorf("%d changes wait", s.mu.changes)
		}
	})
}

// TestGivenUpAppendsLeaveNothing: appends that give up while another one has the lock leave no
// goroutine each, and nothing in the queue.
func TestGivenUpAppendsLeaveNothing(t *testing.T) {
	j, err := OpenMemory(&Options{Durability: Published})
	if err != nil {
		t.Fatal(err)
	}
	j.mu.Lock() // as an append that waits for the disk
	before := runtime.NumGoroutine()
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		defer cancel()
		if seq, err := j.AppendContext(ctx, []byte("given up")); seq != 0 ||
			!errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrPending) {
			t.Fatalf("seq %d, %v", seq, err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > 1 {
		t.Errorf("%d goroutines are left", n)
	}
	j.queue.mu.Lock()
	if n := j.queue.mu.waiting.Len(); n > 0 {
		t.Errorf("%d appends are in the queue", n)
	}
	j.queue.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	kept := make(chan error)
	go func() {
		_, err := j.AppendContext(ctx, []byte("kept"))
		kept <- err
	}()
	wait.Until(t, "for an append in the queue", func() bool {
		j.queue.mu.Lock()
		defer j.queue.mu.Unlock()
		return j.queue.mu.serving
	})
	j.mu.Unlock()
	if err := <-kept; err != nil {
		t.Error(err)
	}
	if p, err := j.Read(1, nil); err != nil || string(p) != "kept" || j.Last() != 1 {
		t.Errorf("last %d; the first one is %q, %v", j.Last(), p, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestClosingGivenUp: the result of a close that goes on in the background is for one caller.
func TestClosingGivenUp(t *testing.T) {
	j, err := OpenMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	j.syncer.enter() // as a sync that waits for the disk
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		err := j.CloseContext(ended)
		if !errors.Is(err, ErrPending) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	_ = j.fail(errors.New("a disk"))
	results := make(chan error)
	for range 3 {
		go func() { results <- j.Close() }()
	}
	j.syncer.leave()
	failed := 0
	for range 3 {
		switch err := <-results; {
		case errors.Is(err, ErrFailed):
			failed++
		case !errors.Is(err, ErrClosed):
			t.Error(err)
		}
	}
	if failed != 1 {
		t.Errorf("%d calls return the result", failed)
	}
}

// TestSyncCoversStaged: Sync covers a record that was appended and is not published yet, and
// WaitDurable finds it.
func TestSyncCoversStaged(t *testing.T) {
	for name, wait := range map[string]func(*Journal) error{
		"Sync":        func(j *Journal) error { return j.Sync(t.Context()) },
		"WaitDurable": func(j *Journal) error { return j.WaitDurable(t.Context(), 1) },
		"given up":    func(j *Journal) error { j.syncLater(); return j.WaitDurable(t.Context(), 1) },
	} {
		j, err := OpenMemory(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Stage(j, []byte("staged")); err != nil {
			t.Fatal(err)
		}
		if j.Published() != 0 {
			t.Fatal("it is published")
		}
		if err := j.WaitDurable(t.Context(), 2); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: seq 2: %v", name, err)
		}
		if err := wait(j); err != nil || j.Durable() != 1 {
			t.Errorf("%s: %v, and %d is durable", name, err, j.Durable())
		}
		if err := j.TruncateBack(0); err != nil {
			t.Fatal(err)
		}
		if err := j.WaitDurable(t.Context(), 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: dropped: %v", name, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
