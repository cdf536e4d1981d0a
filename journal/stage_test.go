package journal_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/segment"
)

// during opens a journal whose appends wait for a sync, on a disk that calls f once, within the
// first sync of a file's content after arm.
func during(
	t *testing.T, f func(j *journal.Journal),
) (d *simdisk.Disk, j *journal.Journal, arm func()) {
	t.Helper()
	d = simdisk.New(simdisk.Options{})
	var armed atomic.Bool
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpDatasync && armed.CompareAndSwap(true, false) {
			f(j)
		}
		return nil
	}
	if err := d.MkdirAll("j"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenFSBackground(d, "j", &journal.Options{SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return d, j, func() { armed.Store(true) }
}

// eventually waits until ok, and fails the test if that never happens.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.Until(t, what, ok)
}

// checkRecords opens what is on the disk and compares.
func checkRecords(t *testing.T, d *simdisk.Disk, want ...string) {
	t.Helper()
	j, err := journal.OpenFS(d, "j", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	var got []string
	for rec, err := range j.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(rec.Payload))
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// TestStagedIsDropped: what is staged after the sync of a TruncateBack that drops what is before it
// is dropped as well, whatever is appended later.
func TestStagedIsDropped(t *testing.T) {
	d, j, arm := during(t, func(j *journal.Journal) {
		if err := journal.Stage(j, []byte("dropped while staged")); err != nil {
			t.Error(err)
		}
	})
	mustAppend(t, j, []byte("one"))
	mustAppend(t, j, []byte("two"))
	if err := journal.Stage(j, []byte("dropped when synced")); err != nil {
		t.Fatal(err)
	}
	arm()
	if err := j.TruncateBack(1); err != nil {
		t.Fatal(err)
	}
	if err := journal.WaitAppended(j, 4); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("who waits for the sync of what was dropped gets %v", err)
	}
	if seq := mustAppend(t, j, []byte("new")); seq != 2 {
		t.Errorf("the next record is %d", seq)
	}
	mustClose(t, j)
	checkRecords(t, d, "one", "new")
}

// TestMovedAhead: what is staged while a sync is under way is published during it, if it is much,
// and durable with the next one.
func TestMovedAhead(t *testing.T) {
	const writers, size = 4, 100_000
	var wg sync.WaitGroup
	var want []string
	for i := range writers {
		want = append(want, string(bytes.Repeat([]byte{'a' + byte(i)}, size)))
	}
	d, j, arm := during(t, func(j *journal.Journal) {
		for i := range writers {
			wg.Go(func() { mustAppend(t, j, []byte(want[i])) })
		}
		eventually(t, "published during the sync", func() bool { return j.Published() > 2 })
		if j.Durable() != 1 {
			t.Errorf("durable up to %d before the sync has ended", j.Durable())
		}
	})
	mustAppend(t, j, []byte("one"))
	arm()
	mustAppend(t, j, []byte("two"))
	wg.Wait()
	if j.Durable() != 2+writers {
		t.Errorf("durable up to %d, want %d", j.Durable(), 2+writers)
	}
	mustClose(t, j)
	got := map[string]bool{}
	again, err := journal.OpenFS(d, "j", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, again)
	for rec, err := range again.Records(3) {
		if err != nil {
			t.Fatal(err)
		}
		got[string(rec.Payload)] = true
	}
	for i, w := range want {
		if !got[w] {
			t.Errorf("record %d of the sync's company is not there", i)
		}
	}
}

// TestMoveFails: an error of the write that moves a group is the journal's failure, for everybody
// who waits; what was durable is there.
func TestMoveFails(t *testing.T) {
	broken := errors.New("broken disk")
	d := simdisk.New(simdisk.Options{})
	var fails bool
	d.OnOp = func(op simdisk.Op) error {
		if fails && op.Kind == simdisk.OpWrite {
			return broken
		}
		return nil
	}
	if err := d.MkdirAll("j"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenFS(d, "j", &journal.Options{SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, []byte("one"))
	fails = true
	for range 2 {
		_, err := j.Append(make([]byte, 100_000))
		if !errors.Is(err, journal.ErrFailed) || !errors.Is(err, broken) {
			t.Errorf("append: %v", err)
		}
	}
	if err := j.Close(); !errors.Is(err, broken) {
		t.Errorf("close: %v", err)
	}
	fails = false
	checkRecords(t, d, "one")
}

// TestFolios: small groups get small folios, larger ones at most an eighth of what they sync, and
// the largest are not written twice. What is stored to is primed, unless small groups are synced
// or it is too large.
func TestFolios(t *testing.T) {
	for _, c := range []struct{ group, want int }{
		{0, 4}, {144, 4}, {63 << 10, 4}, {64 << 10, 8}, {127 << 10, 8}, {128 << 10, 16},
		{255 << 10, 16}, {256 << 10, 0}, {64 << 20, 0},
	} {
		got := journal.SyncedFolio(int64(c.group), 1<<20)
		if got != (segment.Zeros{Chunk: c.want << 10}) {
			t.Errorf("groups of %d bytes: %+v", c.group, got)
		}
		got = journal.StoredFolio(int64(c.group), 1<<20)
		if want := c.group == 0 || c.want == 0; got.Primed != want || !want && got.Chunk != c.want<<10 {
			t.Errorf("groups of %d bytes that are stored: %+v", c.group, got)
		}
	}
	if got := journal.StoredFolio(0, 1<<30); got != (segment.Zeros{Chunk: 256 << 10}) {
		t.Errorf("1 GiB: %+v", got)
	}
}
