package journal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
	"mmjournal/segment"
)

// volume mounts a small file system in memory.
func volume(t *testing.T, size string) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillVolume takes what space is left.
func fillVolume(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullVolume: whatever was going on when the disk became full, records can be dropped, which
// gives space back, and appends go on then.
func TestFullVolume(t *testing.T) {
	drop := map[string]func(j *journal.Journal) error{
		"front": func(j *journal.Journal) error { return j.TruncateFront(j.Last() - 1) },
		"all":   func(j *journal.Journal) error { return j.TruncateFront(j.Last() + 1) },
		"back":  func(j *journal.Journal) error { return j.TruncateBack(j.First() + 1) },
		"reset": func(j *journal.Journal) error { return j.Reset(1000) },
	}
	for _, d := range []journal.Durability{journal.Synced, journal.Published, journal.Interval} {
		for name, drop := range drop {
			for _, end := range []string{"killed", "closed", "open"} {
				t.Run(fmt.Sprintf("%v, %s, %s", d, name, end), func(t *testing.T) {
					top := volume(t, "1m")
					dir, o := filepath.Join(top, "j"), &journal.Options{Durability: d}
					if end == "killed" {
						appendAndDie(t, dir, d, 1000, 0)
					}
					j := mustOpen(t, dir, o)
					if end != "killed" {
						for err := error(nil); err == nil; {
							_, err = j.Append(make([]byte, 1000))
						}
					}
					free := fillVolume(t, top)
					if end == "closed" {
						mustClose(t, j)
						j = mustOpen(t, dir, o)
					}
					if j.Last() < 100 {
						t.Fatalf("%d records", j.Last())
					}
					if err := drop(j); err != nil {
						t.Fatal(err)
					}
					first, last := j.First(), j.Last()
					mustClose(t, j)
					j = mustOpen(t, dir, o) // still full, but for what was dropped
					if j.First() != first || j.Last() != last {
						t.Errorf("%d to %d instead of %d to %d", j.First(), j.Last(), first, last)
					}
					free()
					if seq := mustAppend(t, j, []byte("goes on")); seq != last+1 {
						t.Errorf("appended as %d after %d", seq, last)
					}
					mustClose(t, j)
					j = mustOpen(t, dir, &journal.Options{VerifyOnOpen: true})
					if n := j.Last() + 1 - j.First(); n != last+2-first {
						t.Errorf("%d records instead of %d", n, last+2-first)
					}
					mustClose(t, j)
				})
			}
		}
	}
}

// TestSmallVolume: a volume that is smaller than two segments is used up, and used again after the
// records were dropped.
func TestSmallVolume(t *testing.T) {
	dir := filepath.Join(volume(t, "100m"), "j")
	j := mustOpen(t, dir, &journal.Options{Durability: journal.Published})
	for round := range 3 {
		bytes := 0
		for err := error(nil); err == nil; bytes += 100_000 {
			if _, err = j.Append(make([]byte, 100_000)); err != nil && !errors.Is(err, journal.ErrNoSpace) {
				t.Fatal(err)
			}
		}
		if bytes < 80<<20 {
			t.Errorf("round %d: %d bytes fit", round, bytes)
		}
		if err := j.TruncateFront(j.Last() + 1); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
}

// TestKilledOften: twenty processes that append twenty bytes and are killed leave little.
func TestKilledOften(t *testing.T) {
	dir := t.TempDir()
	for range 20 {
		appendAndDie(t, dir, journal.Synced, 20, 1)
	}
	if used := allocated(t, dir); used > journal.DefaultSegmentSize+20*(128<<10) {
		t.Errorf("%d bytes on the disk", used)
	}
	j := mustOpen(t, dir, nil)
	if j.Last() != 20 {
		t.Errorf("%d records", j.Last())
	}
	mustClose(t, j)
}

// allocated returns how many bytes of the disk the files of a directory take.
func allocated(t *testing.T, dir string) (n int64) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		if errors.Is(err, unix.ENOENT) { // the preparation of a segment has ended: it has its name
			return allocated(t, dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		n += st.Blocks * 512
	}
	return n
}

// TestSparseCopy: a journal that was restored without its reservation gets it back, and where there
// is no space for that, an append says so instead of being a fault.
func TestSparseCopy(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, full: %v", d, full), func(t *testing.T) {
				top := volume(t, "8m")
				dir, sparse := filepath.Join(top, "j"), filepath.Join(top, "copy")
				j := mustOpen(t, dir, &journal.Options{SegmentSize: 1 << 20, Durability: d})
				mustAppend(t, j, make([]byte, 10_000))
				mustClose(t, j)
				out, err := exec.Command("cp", "-a", "--sparse=always", dir, sparse).CombinedOutput()
				if err != nil {
					t.Fatalf("cp: %v: %s", err, out)
				}
				if n := allocated(t, sparse); n > 256<<10 {
					t.Fatalf("the copy is not sparse: %d bytes", n)
				}
				free := func() {}
				if full {
					free = fillVolume(t, top)
				}
				// On tmpfs a hole cannot even be read where there is no space for it.
				j, err = journal.Open(sparse, &journal.Options{Durability: d})
				if err == nil {
					_, err = j.Append(make([]byte, 500_000))
				}
				if full != errors.Is(err, journal.ErrNoSpace) || errors.Is(err, journal.ErrFailed) {
					t.Errorf("open or append: %v", err)
				}
				if j == nil {
					free()
					free = func() {}
					j = mustOpen(t, sparse, &journal.Options{Durability: d})
				}
				if !full {
					if n := allocated(t, sparse); n < 1<<20 {
						t.Errorf("%d bytes are reserved", n)
					}
				}
				free()
				mustAppend(t, j, make([]byte, 500_000))
				mustClose(t, j)
			})
		}
	}
}

// TestOneSegment: a journal has one segment, which takes all the space that there is. Where nothing
// in it is live any more, and it has no room, it is given up.
func TestOneSegment(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, closed %v", d, closed), func(t *testing.T) {
				const large = 20_000
				top := volume(t, "2m")
				dir, o := filepath.Join(top, "j"), &journal.Options{SegmentSize: 1 << 20, Durability: d}
				j := mustOpen(t, dir, o)
				mustAppend(t, j, make([]byte, large))
				free := fillVolume(t, top)
				// The first of the rounds begins in a segment that has room left.
				if err := j.TruncateFront(j.Last() + 1); err != nil {
					t.Fatal(err)
				}
				for round := range 3 {
					n := 0
					for err := error(nil); err == nil; n++ {
						_, err = j.Append(make([]byte, large))
						if err != nil && !errors.Is(err, journal.ErrNoSpace) {
							t.Fatal(err)
						}
					}
					if n < 20 {
						t.Errorf("round %d: %d records", round, n)
					}
					last := j.Last()
					if closed {
						mustClose(t, j)
						j = mustOpen(t, dir, o)
					}
					if err := j.TruncateFront(last + 1); err != nil {
						t.Fatal(err)
					}
					if j.First() != last+1 || j.Last() != last || j.Durable() != last {
						t.Errorf("%d to %d, durable to %d", j.First(), j.Last(), j.Durable())
					}
				}
				mustClose(t, j)
				j = mustOpen(t, dir, o)
				mustAppend(t, j, make([]byte, large))
				free()
				mustClose(t, j)
				mustBeIntact(t, dir)
			})
		}
	}
}

// TestOneSegmentLarge: a record does not fit in the only segment, which has room for others, and
// the disk is full. If the journal is emptied after that, it fits.
func TestOneSegmentLarge(t *testing.T) {
	top := volume(t, "2m")
	j := mustOpen(t, filepath.Join(top, "j"), &journal.Options{SegmentSize: 1 << 20})
	mustAppend(t, j, make([]byte, 200_000))
	if err := j.TruncateFront(2); err != nil {
		t.Fatal(err)
	}
	free := fillVolume(t, top)
	if _, err := j.Append(make([]byte, 900_000)); !errors.Is(err, journal.ErrNoSpace) {
		t.Fatal(err)
	}
	if err := j.TruncateFront(2); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, make([]byte, 900_000))
	free()
	mustClose(t, j)
}

// onVolume returns a journal with some segments on a small volume, and where to put a snapshot.
func onVolume(t *testing.T, d journal.Durability) (top, dir, snap string, j *journal.Journal) {
	t.Helper()
	top = volume(t, "2m")
	dir, snap = filepath.Join(top, "j"), filepath.Join(top, "snapshot")
	j = openSmall(t, dir, d)
	appendText(t, j, "x", 500)
	return top, dir, snap, j
}

// TestSnapshotOnFullVolume: while a snapshot shares the file JOURNAL, a full disk has no space for
// another one, and nothing changes. When the snapshot is gone, truncations work.
func TestSnapshotOnFullVolume(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		t.Run(d.String(), func(t *testing.T) {
			top, dir, snap, j := onVolume(t, d)
			for err := error(nil); err == nil; {
				_, err = j.Append(make([]byte, 1000))
			}
			fillVolume(t, top)
			snapshot(t, dir, snap)
			err := j.TruncateFront(400)
			if !errors.Is(err, journal.ErrNoSpace) || errors.Is(err, journal.ErrFailed) {
				t.Errorf("with a snapshot: %v", err)
			}
			if err := os.RemoveAll(snap); err != nil {
				t.Fatal(err)
			}
			if err := j.TruncateFront(400); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, j, make([]byte, 1000))
			mustClose(t, j)
		})
	}
}

// TestSharedSegmentsOnFullVolume: a snapshot shares the prepared segment, too, but not JOURNAL: a
// truncation on a full disk does not need another segment.
func TestSharedSegmentsOnFullVolume(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		t.Run(d.String(), func(t *testing.T) {
			top, dir, snap, j := onVolume(t, d)
			if err := journal.Prepare(j, 1); err != nil {
				t.Fatal(err)
			}
			snapshot(t, dir, snap)
			if err := os.Remove(filepath.Join(snap, segment.JournalName)); err != nil {
				t.Fatal(err)
			}
			free := fillVolume(t, top)
			for _, cut := range []func() error{
				func() error { return j.TruncateFront(400) },
				func() error { return j.TruncateBack(450) },
				func() error { return j.Reset(1000) },
			} {
				if err := cut(); err != nil {
					t.Fatal(err)
				}
				mustBeIntact(t, dir)
			}
			free()
			if seq := mustAppend(t, j, make([]byte, 1000)); seq != 1000 {
				t.Errorf("appended as %d", seq)
			}
			mustClose(t, j)
			mustBeIntact(t, dir)
		})
	}
}
