package journal

import (
	"errors"
	"testing"

	"mmjournal/segment"
)

// TestNothingAfterFailure: whoever waited for the lock while an append failed under it does not
// sync, move or mark anything.
func TestNothingAfterFailure(t *testing.T) {
	j, err := OpenMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]byte("durable")); err != nil {
		t.Fatal(err)
	}
	if err := Stage(j, []byte("staged")); err != nil {
		t.Fatal(err)
	}
	_ = j.fail(errors.New("a disk"))
	j.stage.Ahead = 1
	for name, call := range map[string]func() error{
		"sync":       j.syncAll,
		"move ahead": j.moveStaged,
		"mark":       j.writeMark,
		"first live": func() error { return j.noteFirstLive(2) },
		"cut":        func() error { return j.cut(1, 2, j.view.Load().chain, segment.Link{}) },
		"close":      func() error { _, err := j.closingMark(); return err },
	} {
		if err := call(); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.Published() != 1 || j.Durable() != 1 {
		t.Errorf("published %d, durable %d", j.Published(), j.Durable())
	}
	if err := j.Close(); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// TestNoSyncAfterFailure is the same for records that are published, so that a sync has nothing to
// move or to mark.
func TestNoSyncAfterFailure(t *testing.T) {
	j, err := OpenMemory(&Options{Durability: Published})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]byte("published")); err != nil {
		t.Fatal(err)
	}
	_ = j.fail(errors.New("a disk"))
	if err := j.syncAll(); !errors.Is(err, ErrFailed) || j.Durable() != 0 {
		t.Errorf("%v, durable %d", err, j.Durable())
	}
	if err := j.Close(); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}
