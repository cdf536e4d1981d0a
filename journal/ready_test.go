package journal_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/segment"
)

// stubbornFS removes what it is asked to, but for one file.
type stubbornFS struct {
	segment.FS
	stays   string
	removed *[]string
}

func (f stubbornFS) Remove(path string) error {
	name := filepath.Base(path)
	if name == f.stays {
		return fs.ErrPermission
	}
	*f.removed = append(*f.removed, name)
	return f.FS.Remove(path)
}

// TestReadyRemoved: Close removes the segments that are ready from the highest down, and up to the
// first that stays: a gap would be taken for a lost segment.
func TestReadyRemoved(t *testing.T) {
	name := segment.FileName
	for _, c := range []struct {
		stays string
		want  []string
	}{
		{"", []string{name(3), name(2)}},
		{name(2), []string{name(3)}},
		{name(3), nil},
	} {
		t.Run("stays: "+c.stays, func(t *testing.T) {
			var removed []string
			fsys := stubbornFS{segment.NewHeapFS(), c.stays, &removed}
			j, err := journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Append([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := journal.Prepare(j, 2); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); errors.Is(err, fs.ErrPermission) != (c.stays != "") {
				t.Error(err)
			}
			removed = slices.DeleteFunc(removed, func(n string) bool { return filepath.Ext(n) != ".seg" })
			if !slices.Equal(removed, c.want) {
				t.Errorf("removed %q, want %q", removed, c.want)
			}
			fsys.stays = ""
			j, err = journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if last := j.Last(); last != 1 {
				t.Errorf("%d records instead of 1", last)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// readyOn returns a journal with a record, of which so many segments are ready, and its disk.
func readyOn(t *testing.T, durability journal.Durability, n int) (*simdisk.Disk, *journal.Journal) {
	t.Helper()
	d := simdisk.New(simdisk.Options{})
	if err := d.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	j := openReady(t, d, durability)
	if _, err := j.Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := journal.Prepare(j, n); err != nil {
		t.Fatal(err)
	}
	return d, j
}

func openReady(t *testing.T, d *simdisk.Disk, durability journal.Durability) *journal.Journal {
	t.Helper()
	j, err := journal.OpenFS(d, "/j", &journal.Options{
		SegmentSize: 64 << 10, Durability: durability,
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestKillInClose: the process is killed in Close after each removal of a segment that was ready,
// and the power goes at each operation of the next life. No gap is left.
func TestKillInClose(t *testing.T) {
	for _, durability := range []journal.Durability{journal.Synced, journal.Published} {
		d, j := readyOn(t, durability, 2)
		var killed []*simdisk.Disk
		removed := false
		d.OnOp = func(op simdisk.Op) error {
			if removed {
				killed = append(killed, d.Kill())
			}
			removed = op.Kind == simdisk.OpRemove
			return nil
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if len(killed) < 2 {
			t.Fatalf("%d kills", len(killed))
		}
		for _, left := range killed {
			crashes := 0
			left.OnOp = func(op simdisk.Op) error {
				pending := left.Pending()
				for c := range pending.Choices(64, 1) {
					crashes++
					again := openReady(t, pending.Crash(c), durability)
					if last := again.Last(); last != 1 && durability == journal.Synced {
						t.Errorf("%d records instead of 1", last)
					}
					if err := again.Close(); err != nil {
						t.Errorf("power cut at %v: %v", op, err)
					}
				}
				return nil
			}
			if err := openReady(t, left, durability).Close(); err != nil {
				t.Error(err)
			}
			if crashes < 10 {
				t.Errorf("%d crashes", crashes)
			}
		}
	}
}

// TestFailedAboveReady: the preparation of the second segment fails when it has its name already,
// and the name cannot be removed: Close removes it before the first one.
func TestFailedAboveReady(t *testing.T) {
	for _, failing := range []simdisk.OpKind{simdisk.OpMap, simdisk.OpSyncDir} {
		d, j := readyOn(t, journal.Published, 1)
		d.OnOp = func(op simdisk.Op) error {
			if op.Kind == failing || op.Kind == simdisk.OpRemove {
				return syscall.EIO
			}
			return nil
		}
		if err := journal.Prepare(j, 2); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.OnOp = nil
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if err := openReady(t, d, journal.Published).Close(); err != nil {
			t.Error(err)
		}
	}
}
