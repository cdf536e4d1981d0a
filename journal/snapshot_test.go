package journal_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// TestSharedWhileBuffered: a record is buffered while the sync is under way that notices a second
// name of the segment. It stays in the segment, unmarked, and the journal goes on in another one.
func TestSharedWhileBuffered(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	disk, j := onDisk(t, journal.Synced)
	mustAppend(t, j, []byte("a"))
	disk.Share()
	duringNext(disk, simdisk.OpDatasync, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if seq, err := j.AppendContext(ctx, []byte("c")); seq != 3 {
			t.Errorf("seq %d, %v", seq, err)
		}
	})
	mustAppend(t, j, []byte("b"))
	mustAppend(t, j, []byte("d"))
	if n := j.Stats().Rolls; n != 1 {
		t.Errorf("%d rolls", n)
	}
	mustClose(t, j)
	expectOnDisk(t, disk, "a", "b", "c", "d")
}

// TestSyncedAfterCut: a record is appended to a segment while TruncateBack is about to cut behind
// an earlier one. The truncation syncs the segment again, gives it up, and the next one cuts it
// too.
func TestSyncedAfterCut(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			disk, j := onDisk(t, journal.Published)
			for _, text := range []string{"a", "b", "c", "d"} {
				mustAppend(t, j, []byte(text))
			}
			if shared {
				disk.Share()
			}
			n := 0
			disk.OnOp = func(op simdisk.Op) error {
				if op.Kind == simdisk.OpTouch || op.Kind == simdisk.OpSize {
					if n++; n == 2 {
						mustAppend(t, j, []byte("under way"))
					}
				}
				return nil
			}
			for _, last := range []journal.Seq{3, 2, 1} {
				if err := j.TruncateBack(last); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, j)
			expectOnDisk(t, disk, "a")
		})
	}
}

// duringNext runs f once, during the next operation of a kind.
func duringNext(disk *simdisk.Disk, kind simdisk.OpKind, f func()) {
	disk.OnOp = func(op simdisk.Op) error {
		if op.Kind == kind && f != nil {
			g := f
			f = nil
			g()
		}
		return nil
	}
}

// expectOnDisk opens a journal, verifies every byte, and checks its records.
func expectOnDisk(t *testing.T, disk *simdisk.Disk, want ...string) {
	t.Helper()
	disk.OnOp = nil
	j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192, VerifyOnOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, j, j.First(), want...)
	mustClose(t, j)
}
