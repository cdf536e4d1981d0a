package journal_test

import (
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// TestResumeLooksAgain: the closing mark that a scan has seen may have left the page cache before
// Open goes on behind it. The sync of it had failed, so it is not on the disk.
func TestResumeLooksAgain(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(modelSegment))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &journal.Options{SegmentSize: 12 << 10}
	d := simdisk.New(simdisk.Options{})
	must(d.MkdirAll(modelDir))
	j, err := journal.OpenFS(d, modelDir, o)
	must(err)
	mustAppend(t, j, make([]byte, 3944)) // the closing mark begins at the end of a page
	syncs := 0
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpDatasync {
			if syncs++; syncs == 1 {
				return syscall.EIO
			}
		}
		return nil
	}
	if err := j.Close(); err == nil {
		t.Fatal("the sync of the closing mark has not failed")
	}
	d = d.Kill()
	opens := 0
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpOpen && strings.HasSuffix(op.Path, ".seg") {
			if opens++; opens == 2 { // the first was the scan's, this is resume's
				d.Evict(0)
			}
		}
		return nil
	}
	j, err = journal.OpenFS(d, modelDir, o)
	d.OnOp = nil
	if err != nil {
		t.Log("refused, which is right:", err)
		j, err = journal.OpenFS(d, modelDir, o)
		must(err)
	}
	seq := mustAppend(t, j, []byte("acknowledged"))
	p := d.Pending()
	d = p.Crash(p.Newest())
	j, err = journal.OpenFS(d, modelDir, o)
	must(err)
	if j.Last() != seq {
		t.Errorf("record %d was acknowledged, the last one is %d", seq, j.Last())
	}
}
