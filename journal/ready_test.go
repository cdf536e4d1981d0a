package journal_test

import (
	"context"
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

// cutEverywhere cuts the power at each operation of a life on d, which live ends, and opens what is
// left.
func cutEverywhere(
	t *testing.T, d *simdisk.Disk, durability journal.Durability, live func() error,
) {
	t.Helper()
	crashes := 0
	d.OnOp = func(op simdisk.Op) error {
		pending := d.Pending()
		for c := range pending.Choices(64, 1) {
			crashes++
			again := openReady(t, pending.Crash(c), durability)
			if last := again.Last(); last != 1 {
				t.Errorf("power cut at %v: %d records instead of 1", op, last)
			}
			if err := again.Close(); err != nil {
				t.Errorf("power cut at %v: %v", op, err)
			}
		}
		return nil
	}
	if err := live(); err != nil {
		t.Error(err)
	}
	d.OnOp = nil
	if crashes < 10 {
		t.Errorf("%d crashes", crashes)
	}
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
			cutEverywhere(t, left, durability, func() error {
				return openReady(t, left, durability).Close()
			})
		}
	}
}

// TestFailedAboveReady: the preparation of the second segment fails when it has its name already,
// and the name may not be removed, or not durably: Close removes it before the first one, and none
// of them if it is not known what names there are.
func TestFailedAboveReady(t *testing.T) {
	for _, c := range []struct {
		name    string
		failing []simdisk.OpKind
		left    int
	}{
		{"map", []simdisk.OpKind{simdisk.OpMap}, 1},
		{"map and remove", []simdisk.OpKind{simdisk.OpMap, simdisk.OpRemove}, 1},
		{"sync and remove", []simdisk.OpKind{simdisk.OpSyncDir, simdisk.OpRemove}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, j := readyOn(t, journal.Published, 1)
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			d.OnOp = func(op simdisk.Op) error {
				if slices.Contains(c.failing, op.Kind) {
					return syscall.EIO
				}
				return nil
			}
			if err := journal.Prepare(j, 2); !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			cutEverywhere(t, d, journal.Published, j.Close)
			segments := 0
			for name := range d.Files() {
				if filepath.Ext(name) == ".seg" {
					segments++
				}
			}
			if segments != c.left {
				t.Errorf("%d segments are left, want %d", segments, c.left)
			}
			if err := openReady(t, d, journal.Published).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
