package journal_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// A FIFO under a name of ours must not block anybody.
func TestFIFO(t *testing.T) {
	for _, name := range []string{segment.FileName(1), segment.JournalName, segment.LockName} {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skip("mkfifo: ", err)
		}
		if j, err := journal.Open(dir, smallSegments); err == nil {
			t.Errorf("%s: opened", name)
			j.Close()
		}
		if name == segment.LockName {
			continue // not looked at by readers
		}
		if r, err := recovery.Inspect(dir, true); err == nil && r.Verdict == recovery.Intact &&
			len(r.Warnings) == 0 {
			t.Errorf("%s: inspected, and nothing said: %v", name, r)
		}
	}
}

// A LOCK that is a link must not lead to somebody else's file.
func TestLockIsNoLink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, segment.LockName)); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Open(dir, smallSegments); err == nil {
		t.Error("opened")
		j.Close()
	}
	if b, err := os.ReadFile(victim); string(b) != "precious" {
		t.Errorf("the other file: %q, %v", b, err)
	}
}

// Full segments do not pile up unsynced, each with a descriptor, if nobody ever syncs.
func TestUnsyncedSegmentsAreBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	j := mustOpen(t, t.TempDir(), &journal.Options{
		SegmentSize: journal.MinSegmentSize, Durability: journal.Published,
	})
	p := make([]byte, 50_000)
	for range 300 {
		mustAppend(t, j, p)
	}
	wait.Until(t, "200 of 300 are durable", func() bool { return j.Durable() >= 200 })
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) > 150 {
		t.Errorf("%d descriptors are open", len(fds))
	}
}

// A reader beside a writer that never rests sees no damage, however long its look takes.
func TestInspectBesideBusyWriter(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, &journal.Options{SegmentSize: 256 << 20, Durability: journal.Published})
	mustAppend(t, j, nil)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		p := make([]byte, 200)
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			for range 20 {
				if _, err := j.Append(p); err != nil {
					stopped <- err
					return
				}
			}
			if err := j.Sync(t.Context()); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 4 {
		r, err := recovery.Inspect(dir, true)
		if err != nil || r.Verdict != recovery.Intact {
			t.Errorf("%v %v", err, r)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
