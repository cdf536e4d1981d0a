package journal

import (
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mmjournal/segment"
)

// TestChangeComesFirst: a structural change gets the turn that ends next, however many goroutines
// wait for it that append; and all of them get theirs.
func TestChangeComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s syncer
		var order []string // guarded by the turn
		var all sync.WaitGroup
		s.enter()
		for range 50 {
			all.Go(func() {
				for wait := s.tryEnter(); wait != nil; wait = s.tryEnter() {
					<-wait
				}
				order = append(order, "append")
				s.leave()
			})
		}
		synctest.Wait()
		for range 2 {
			all.Go(func() {
				s.enter()
				order = append(order, "change")
				s.leave()
			})
			synctest.Wait()
		}
		s.leave()
		all.Wait()
		if len(order) != 52 || order[0] != "change" || order[1] != "change" {
			t.Errorf("%d turns, in this order: %v", len(order), order)
		}
	})
}

// TestTurnIsGivenUpForAChange: a turn that would go on ends if a structural change waits for it.
func TestTurnIsGivenUpForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s syncer
		s.enter()
		s.cover()
		if !s.goOn() {
			t.Error("nobody waits, and the turn does not go on")
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.enter()
		}()
		synctest.Wait()
		if s.goOn() {
			t.Error("a change waits, and the turn goes on")
		}
		s.leave()
		<-done
		s.leave()
	})
}

// TestPanicLeavesTheTurn: a panic within a sync, of a logger here, does not keep the turn.
func TestPanicLeavesTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := stagedJournal(t, segment.NewHeapFS(), "x", 0)
		j.log = zap.New(zapcore.NewNopCore())
		if _, err := j.Append([]byte("x")); err != nil {
			t.Fatal(err)
		}
		j.log = zap.New(panicCore{zapcore.NewNopCore()})
		j.mu.Lock()
		j.mu.writer.Segment().Release() // so that the next sync fails
		j.mu.Unlock()
		func() {
			defer func() {
				if r := recover(); r != "logger" {
					t.Errorf("%v, want the logger's panic", r)
				}
			}()
			_, _ = j.Append([]byte("y"))
		}()
		j.log = zap.NewNop()
		if err := j.Close(); err == nil {
			t.Error("closed without an error")
		}
	})
}

// panicCore panics on errors.
type panicCore struct{ zapcore.Core }

func (panicCore) Enabled(zapcore.Level) bool { return true }

func (c panicCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level >= zapcore.ErrorLevel {
		panic("logger")
	}
	return ce
}
