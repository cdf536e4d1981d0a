package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmjournal/internal/testutil/torture"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/segment"
)

// TestEverythingAtOnce runs appends of every kind, reads of every kind, syncs and truncations at
// the same time, then Close into the middle. It is for the race detector, which sees nothing inside
// a real mapping: here the heap is mapped.
func TestEverythingAtOnce(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	c := torture.Start(t, "everything at once", 1)
	for c.Next() {
		for _, d := range []journal.Durability{journal.Synced, journal.Published, journal.Interval} {
			t.Run(d.String(), func(t *testing.T) { everythingAtOnce(t, d, c.Seed()) })
		}
	}
}

// everythingAtOnce moves 512 bytes and more while a sync is under way.
func everythingAtOnce(t *testing.T, d journal.Durability, seed uint64) {
	heap := segment.NewHeapFS()
	j, err := journal.OpenFSBackground(heap, "/j", &journal.Options{Spares: 2,
		SegmentSize: 16384, Durability: d, SyncInterval: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	journal.SetLeastAhead(j, 512)
	wanted := func() bool { return d == journal.Synced && j.Stats().Recycled < 3 }
	storm(t, j, seed, wanted)
	if wanted() {
		t.Errorf("%d of %d segments are recycled", j.Stats().Recycled, j.Stats().Prepared)
	}
	j, err = journal.OpenFS(heap, "/j", &journal.Options{SegmentSize: 8192, VerifyOnOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range collect(t, j, 0) {
		if !proper([]byte(p)) {
			t.Fatalf("a record that nobody wrote: %.40q", p)
		}
	}
	mustClose(t, j)
}

// proper reports whether a payload is one of ours: it says its own length.
func proper(p []byte) bool {
	var n int
	_, err := fmt.Sscanf(string(p), "%d", &n)
	return err == nil && n == len(p) && strings.Count(string(p), ".") == n-len(fmt.Sprint(n))
}

func payload(r *rand.Rand) []byte {
	n := 10 + r.IntN(700)
	s := fmt.Sprint(n)
	return []byte(s + strings.Repeat(".", n-len(s)))
}

// storm uses j in every way at once until it is closed: for some time, and as long as more of it is
// wanted, within reason.
func storm(t *testing.T, j *journal.Journal, seed uint64, wanted func() bool) {
	var done sync.WaitGroup
	var steps atomic.Int64
	var stop atomic.Bool
	run := func(n int, f func(r *rand.Rand) error) {
		for i := range n {
			done.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(n)|seed<<8))
				for !stop.Load() {
					err := f(r)
					steps.Add(1)
					if errors.Is(err, journal.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, journal.ErrNotFound) {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	check := func(p []byte) error {
		if !proper(p) {
			return fmt.Errorf("wrong bytes: %.40q", p)
		}
		return nil
	}
	// On a busy machine appends must not fill the journal before a truncation has its turn.
	ahead := func() bool {
		if j.Last() < j.First()+5000 {
			return false
		}
		runtime.Gosched()
		return true
	}
	run(2, func(r *rand.Rand) error {
		if ahead() {
			return nil
		}
		return second(j.Append(payload(r)))
	})
	run(1, func(r *rand.Rand) error {
		if ahead() {
			return nil
		}
		return second(j.AppendBatch([][]byte{payload(r), payload(r), payload(r)}))
	})
	run(1, func(r *rand.Rand) error {
		if ahead() {
			return nil
		}
		p := payload(r)
		return second(j.AppendFunc(len(p), func(dst []byte) error { copy(dst, p); return nil }))
	})
	run(2, func(r *rand.Rand) error {
		p, err := j.Read(j.First()+journal.Seq(r.IntN(50)), nil)
		if err != nil {
			return err
		}
		return check(p)
	})
	run(1, func(r *rand.Rand) error {
		return j.View(j.Last(), check)
	})
	run(2, func(r *rand.Rand) error {
		n := journal.Seq(0)
		for rec, err := range j.Records(0) {
			if err != nil {
				return err
			}
			if n != 0 && rec.Seq != n+1 {
				return fmt.Errorf("seq %d after %d", rec.Seq, n)
			}
			n = rec.Seq
			if err := check(rec.Payload); err != nil {
				return err
			}
		}
		return nil
	})
	run(1, func(r *rand.Rand) error { return beyond(j, r, false) })
	run(1, func(r *rand.Rand) error { return j.Sync(t.Context()) })
	run(1, func(r *rand.Rand) error { j.Stats(); return j.WaitDurable(t.Context(), j.Last()) })
	run(1, func(r *rand.Rand) error {
		if last := j.Last(); last > j.First()+60 {
			return j.TruncateFront(last - 40)
		}
		return nil
	})
	run(1, func(r *rand.Rand) error {
		if r.IntN(1000) == 0 {
			return j.TruncateBack(j.Last() - journal.Seq(r.IntN(5)))
		}
		return nil
	})
	run(2, func(r *rand.Rand) error { return withLimit(j, r) })
	rounds := int64(50_000)
	if testing.Short() {
		rounds /= 10
	}
	for steps.Load() < rounds || wanted() && !wait.Over(t) {
		if t.Failed() {
			break
		}
		if err := j.View(j.Last(), check); err != nil && !errors.Is(err, journal.ErrNotFound) {
			t.Error(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	stop.Store(true)
	done.Wait()
}

// withLimit makes a call whose context ends at any moment, or before it.
func withLimit(j *journal.Journal, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(),
		time.Duration(r.IntN(200))*time.Microsecond)
	defer cancel()
	p := payload(r)
	var seq journal.Seq
	var err error
	switch r.IntN(8) {
	case 0:
		err = j.Sync(ctx)
	case 1:
		err = j.WaitDurable(ctx, j.Last()+1)
	case 2:
		err = j.TruncateFrontContext(ctx, j.First()+1)
	case 3:
		seq, err = j.AppendBatchContext(ctx, [][]byte{p, p})
	case 4:
		seq, err = j.AppendFuncContext(ctx, len(p), func(dst []byte) error {
			copy(dst, p)
			return nil
		})
	default:
		seq, err = j.AppendContext(ctx, p)
	}
	clear(p)
	if err != nil && errors.Is(err, ctx.Err()) {
		if seq != 0 && !errors.Is(err, journal.ErrPending) {
			return fmt.Errorf("seq %d, and %v", seq, err)
		}
		return nil
	}
	return err
}

// failingFS fails the n-th sync of a segment's content, and no other.
type failingFS struct {
	segment.FS
	left *atomic.Int64
}

func (f failingFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	file, err := f.FS.Open(path, mode)
	return failingFile{file, f.left}, err
}

type failingFile struct {
	segment.File
	left *atomic.Int64
}

var errDisk = errors.New("the disk is gone")

func (f failingFile) Datasync() error {
	if f.left.Add(-1) == 0 {
		return errDisk
	}
	return f.File.Datasync()
}

func (f failingFile) DatasyncRange(*segment.Mapping, segment.Offset, segment.Offset) error {
	return f.Datasync()
}

// A failing disk under load: every call ends, and with the same error.
func TestFailureUnderLoad(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	fsys := failingFS{segment.NewHeapFS(), new(atomic.Int64)}
	fsys.left.Store(20)
	j, err := journal.OpenFSBackground(fsys, "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		done.Go(func() {
			for errs[i] == nil {
				_, errs[i] = j.Append(make([]byte, 100))
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != errs[0] || !errors.Is(err, journal.ErrFailed) || !errors.Is(err, errDisk) {
			t.Errorf("%v; want %v", err, errs[0])
		}
	}
	if err := j.Close(); !errors.Is(err, errs[0]) {
		t.Errorf("Close: %v", err)
	}
}
