package journal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// spaceEnv tells a child process to append to a journal and to die: "DIR DURABILITY BYTES COUNT".
// COUNT 0: until there is no space.
const spaceEnv = "MMJOURNAL_SPACE"

func spaceChild(args string) int {
	var dir string
	var d journal.Durability
	var size, count int
	if _, err := fmt.Sscan(args, &dir, &d, &size, &count); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	j, err := journal.Open(dir, &journal.Options{Durability: d})
	if err == nil {
		for n := 0; err == nil && (count == 0 || n < count); n++ {
			_, err = j.Append([]byte(strings.Repeat("x", size)))
		}
	}
	if err != nil && (count > 0 || !errors.Is(err, journal.ErrNoSpace)) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// appendAndDie appends in a process that is killed then.
func appendAndDie(t *testing.T, dir string, d journal.Durability, size, count int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d", spaceEnv, dir, d, size, count))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.String() != killedStatus {
		t.Fatalf("the child has not been killed: %v: %s", err, out)
	}
}

// bytesIn returns how many bytes the files of a directory in memory have.
func bytesIn(t *testing.T, fsys segment.FS, dir string) (n int64) {
	t.Helper()
	list, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		f, err := fsys.Open(dir+"/"+e.Name(), segment.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		n += size
	}
	return n
}

// TestCrashLoop: a journal that is opened, gets one record and is killed, again and again, takes
// little space, and so does one that is cut again and again.
func TestCrashLoop(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		kills := int(torture.Count(100, 300, 1000))
		fsys := segment.NewHeapFS()
		for n := range kills {
			j, err := journal.OpenFS(fsys, "/j", nil)
			if err != nil {
				t.Fatal(err)
			}
			if j.Last() != journal.Seq(n) {
				t.Fatalf("%d records after %d kills", j.Last(), n)
			}
			mustAppend(t, j, []byte("twenty bytes of text"))
		}
		size, most := bytesIn(t, fsys, "/j"), int64(kills)*(64<<10)+journal.DefaultSegmentSize+(1<<20)
		if size > most {
			t.Errorf("%d bytes after %d kills", size, kills)
		}
	})
	t.Run("cut", func(t *testing.T) {
		fsys := segment.NewHeapFS()
		j, err := journal.OpenFS(fsys, "/j", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for range 100 {
			mustAppend(t, j, []byte("a"))
			mustAppend(t, j, []byte("b"))
			if err := j.TruncateBack(j.Last() - 1); err != nil {
				t.Fatal(err)
			}
		}
		if size := bytesIn(t, fsys, "/j"); size > journal.DefaultSegmentSize+101*(128<<10) {
			t.Errorf("%d bytes after 100 cuts", size)
		}
	})
}

// TestSegmentsGrow: after a cut, segments double from 64 KiB on, up to the size of the options; a
// record that is
// larger than the next segment gets one that holds it, and one that is ready and too small is
// passed over and removed.
func TestSegmentsGrow(t *testing.T) {
	const full = 4 << 20
	fsys := segment.NewHeapFS()
	o := &journal.Options{SegmentSize: full}
	j, err := journal.OpenFS(fsys, "/j", o)
	if err != nil {
		t.Fatal(err)
	}
	sizes := func() (all []int64) {
		list, err := fsys.ReadDir("/j")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if _, ok := segment.ParseFileName(e.Name()); ok {
				f, err := fsys.Open("/j/"+e.Name(), segment.ReadOnly)
				if err != nil {
					t.Fatal(err)
				}
				size, _ := f.Size()
				all = append(all, size)
				f.Close()
			}
		}
		return all
	}
	for range 2 * full / 4096 {
		mustAppend(t, j, make([]byte, 4096))
	}
	if got, want := sizes(), []int64{full, full, full}; !slices.Equal(got[:3], want) {
		t.Errorf("segments of %d bytes, want %d", got, want)
	}
	if err := j.TruncateBack(1); err != nil {
		t.Fatal(err)
	}
	for range full / 4096 {
		mustAppend(t, j, make([]byte, 4096))
	}
	want := []int64{64 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20}
	if got := sizes(); !slices.Equal(got[1:8], want) {
		t.Errorf("after a cut: segments of %d bytes, want %d", got, want)
	}
	if err := j.TruncateBack(1); err != nil {
		t.Fatal(err)
	}
	if err := journal.Prepare(j, 1); err != nil { // a small one is ready
		t.Fatal(err)
	}
	large := make([]byte, journal.MaxRecord(full))
	if seq := mustAppend(t, j, large); seq != 2 {
		t.Errorf("appended as %d", seq)
	}
	mustAppend(t, j, []byte("x"))
	if got := sizes(); len(got) != 4 { // those of the chain
		t.Errorf("segments of %d bytes: is the one that was passed over still there?", got)
	}
	mustClose(t, j)
	j, err = journal.OpenFS(fsys, "/j", &journal.Options{VerifyOnOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if j.Last() != 3 || j.SegmentSize() != full {
		t.Errorf("%d records, segments of %d bytes", j.Last(), j.SegmentSize())
	}
	if _, err := j.Append(make([]byte, len(large)+1)); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("a record that no segment holds: %v", err)
	}
}

// fullDisk is a journal on a disk that is full on demand, with small segments.
func fullDisk(
	t *testing.T, d journal.Durability,
) (disk *simdisk.Disk, full *bool, j *journal.Journal) {
	t.Helper()
	t.Cleanup(journal.SetMinSegmentSize(8192))
	disk, full = simdisk.New(simdisk.Options{}), new(bool)
	if err := disk.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	disk.OnOp = func(op simdisk.Op) error {
		if *full && (op.Kind == simdisk.OpCreate || op.Kind == simdisk.OpAllocate) {
			return syscall.ENOSPC
		}
		return nil
	}
	j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192, Durability: d})
	if err != nil {
		t.Fatal(err)
	}
	return disk, full, j
}

// reopen opens a journal whose process was killed.
func reopen(t *testing.T, disk *simdisk.Disk) *journal.Journal {
	t.Helper()
	j, err := journal.OpenFS(disk.Kill(), "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestFullDiskCuts: cuts on a full disk, one after the other, and what was appended after them.
func TestFullDiskCuts(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		t.Run(d.String(), func(t *testing.T) {
			disk, full, j := fullDisk(t, d)
			for range 40 {
				mustAppend(t, j, make([]byte, 500))
			}
			*full = true
			for _, cut := range []func() error{
				func() error { return j.TruncateBack(30) },
				func() error { return j.TruncateFront(20) },
				func() error { return j.TruncateBack(25) },
				func() error { return j.TruncateFront(26) },
				func() error { return j.Reset(100) },
			} {
				if err := cut(); err != nil {
					t.Fatal(err)
				}
				k := reopen(t, disk)
				if k.First() != j.First() || k.Last() != j.Last() || k.Report().End != recovery.EndClean {
					t.Errorf("%d to %d instead of %d to %d, the end is %s",
						k.First(), k.Last(), j.First(), j.Last(), k.Report().End)
				}
				mustClose(t, k)
			}
			*full = false
			for range 40 {
				mustAppend(t, j, make([]byte, 500))
			}
			if err := j.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			k := reopen(t, disk)
			if k.First() != 100 || k.Last() != 139 {
				t.Errorf("%d to %d", k.First(), k.Last())
			}
			mustClose(t, k)
			mustClose(t, j)
		})
	}
}

// TestFullDiskCutFails: JOURNAL cannot be written over to note a cut on a full disk. If nothing was
// written, nothing has changed, and a later update of JOURNAL does not note the cut. Otherwise the
// next open may find the cut, so the journal fails.
func TestFullDiskCutFails(t *testing.T) {
	for _, kind := range []simdisk.OpKind{simdisk.OpWrite, simdisk.OpDatasync} {
		t.Run(kind.String(), func(t *testing.T) {
			disk, full, j := fullDisk(t, journal.Synced)
			for range 40 {
				mustAppend(t, j, make([]byte, 500))
			}
			*full = true
			space := disk.OnOp
			disk.OnOp = func(op simdisk.Op) error {
				if op.Kind == kind && filepath.Base(op.Path) == segment.JournalName {
					disk.OnOp = space
					return syscall.ENOSPC // as btrfs does
				}
				return space(op)
			}
			err := j.TruncateBack(30)
			if !errors.Is(err, journal.ErrNoSpace) {
				t.Fatal(err)
			}
			want := journal.Seq(40)
			if unknown := kind == simdisk.OpDatasync; errors.Is(err, journal.ErrFailed) != unknown {
				t.Errorf("%v", err)
			} else if !unknown {
				*full = false
				for range 40 { // rolls, which updates JOURNAL
					mustAppend(t, j, make([]byte, 500))
				}
				want = 80
			}
			k := reopen(t, disk)
			if k.First() != 1 || k.Last() != want && k.Last() != 30 {
				t.Errorf("%d to %d, want 1 to %d", k.First(), k.Last(), want)
			}
			mustClose(t, k)
			if err := j.Close(); err != nil && !errors.Is(err, journal.ErrFailed) {
				t.Error(err)
			}
		})
	}
}

// TestReserveAtResume: a journal that is opened after a clean end reserves the space of the segment
// that it goes on in. Where there is none, it goes on in another one, when there is.
func TestReserveAtResume(t *testing.T) {
	disk, full, j := fullDisk(t, journal.Published)
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
	*full = true
	j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]byte("y")); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("append to a segment without space: %v", err)
	}
	*full = false
	if seq := mustAppend(t, j, []byte("y")); seq != 2 {
		t.Errorf("appended as %d", seq)
	}
	mustClose(t, j)
}

// TestAppendedWhileEmptied: a record is appended while a full disk makes TruncateFront give up the
// segment that is appended to. The record stays, and so does the segment.
func TestAppendedWhileEmptied(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprintf("%v, sync %d", d, n), func(t *testing.T) {
				disk, full, j := fullDisk(t, d)
				mustAppend(t, j, make([]byte, 3000))
				*full = true
				space, syncs := disk.OnOp, 0
				disk.OnOp = func(op simdisk.Op) error {
					if op.Kind == simdisk.OpDatasync && filepath.Base(op.Path) != segment.JournalName {
						if syncs++; syncs == n {
							run(t, journal.Stage(j, []byte("here")))
						}
					}
					return space(op)
				}
				if err := j.TruncateFront(2); err != nil {
					t.Fatal(err)
				}
				if syncs < n {
					t.Errorf("%d syncs", syncs)
				}
				if err := j.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				k := reopen(t, disk)
				if k.First() != 2 || k.Last() != 2 || j.Last() != 2 {
					t.Errorf("%d to %d, then %d to %d", j.First(), j.Last(), k.First(), k.Last())
				}
				mustClose(t, k)
				mustClose(t, j)
			})
		}
	}
}

// TestTimeOfJournal: a truncation on a full disk is in the file JOURNAL alone. Its time is durable
// before a segment is removed. Lack of space for that is no error; another one makes the journal
// fail, since the truncation may show after the next open.
func TestTimeOfJournal(t *testing.T) {
	for _, fault := range []error{nil, syscall.ENOSPC, syscall.EIO} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			disk, full, j := fullDisk(t, journal.Synced)
			for range 40 {
				mustAppend(t, j, make([]byte, 500))
			}
			*full = true
			space, synced, removed := disk.OnOp, false, 0
			disk.OnOp = func(op simdisk.Op) error {
				switch {
				case op.Kind == simdisk.OpTouch && filepath.Base(op.Path) == segment.JournalName:
					synced = true
					return fault
				case op.Kind == simdisk.OpRemove && strings.HasSuffix(op.Path, ".seg"):
					removed++
					if !synced {
						t.Errorf("%s is removed before", op.Path)
					}
				}
				return space(op)
			}
			err := j.TruncateBack(2)
			if fails := fault == syscall.EIO; errors.Is(err, journal.ErrFailed) != fails ||
				err != nil != fails {
				t.Fatal(err)
			}
			if (removed == 0) != (err != nil) {
				t.Errorf("%d segments are removed", removed)
			}
			if err := j.Close(); err != nil && !errors.Is(err, journal.ErrFailed) {
				t.Error(err)
			}
			k := reopen(t, disk)
			if k.Last() != 2 {
				t.Errorf("%d records", k.Last())
			}
			mustClose(t, k)
		})
	}
}
