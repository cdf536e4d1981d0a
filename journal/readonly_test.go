package journal_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// TestReadDamagedAfterReset: what JOURNAL says of records that were dropped in front does not hide
// those that a reset to a lower seq made room for, although JOURNAL does not know of the reset yet.
func TestReadDamagedAfterReset(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := simdisk.New(simdisk.Options{})
	must(d.MkdirAll(modelDir))
	j, err := journal.OpenFS(d, modelDir, &journal.Options{SegmentSize: modelSegment})
	must(err)
	for range 9 {
		mustAppend(t, j, []byte("dropped"))
	}
	must(j.TruncateFront(8))
	files := 0
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind != simdisk.OpWrite || !strings.HasSuffix(op.Path, "JOURNAL") {
			return nil
		}
		if files++; files > 2 { // both copies say first which segment is the newest
			return syscall.EIO
		}
		return nil
	}
	must(j.Reset(3))
	d.OnOp = nil
	if files != 3 {
		t.Fatalf("JOURNAL was to be written %d times by the reset", files)
	}
	for _, p := range []string{"third", "fourth", "fifth", "sixth"} {
		mustAppend(t, j, []byte(p))
	}
	must(j.Sync(context.Background()))

	d = d.Kill()
	for path := range d.Files() {
		d.Edit(path, func(b []byte) {
			if at := bytes.Index(b, []byte("fifth")); at >= 0 {
				b[at]++
			}
		})
	}
	r, err := journal.OpenReadOnlyFS(d, modelDir,
		&journal.Options{SegmentSize: modelSegment, ReadDamaged: true})
	must(err)
	defer r.Close()
	got, err := readAll(r)
	if !errors.Is(err, journal.ErrCorrupt) || got.first != 3 || len(got.recs) != 2 ||
		string(got.recs[1]) != "fourth" {
		t.Errorf("%v (%q), %v", got, got.recs, err)
	}
	must(j.Close())
}
