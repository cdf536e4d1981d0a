package journal

import (
	"testing"
	"time"

	"mmjournal/internal/testutil/wait"
	"mmjournal/segment"
)

// TestPace: segments are zeroed as long as that is done before they are needed, and again when
// there is time again, or may be.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	var p pace
	now := time.Now()
	p.take(now)
	prepare := func(want bool, takes, needed time.Duration) {
		t.Helper()
		if p.inTime() != want {
			t.Fatalf("in time: %v; zeroing takes %v, a segment lasts %v", !want, p.zeroing, p.lasted)
		}
		p.prepared(takes, want)
		p.need(now.Add(needed))
		now = now.Add(max(takes, needed)) // a stall does not count for what it lasts
		p.take(now)
	}
	prepare(true, 100*ms, 150*ms) // nothing is known
	prepare(true, 100*ms, 99*ms)
	prepare(false, 5*ms, 90*ms)
	prepare(true, 89*ms, 90*ms) // it may have become faster
	prepare(true, 200*ms, 90*ms)
	for range 6 {
		prepare(false, 5*ms, 90*ms)
	}
	prepare(true, 95*ms, 90*ms)
	prepare(false, 5*ms, 95*ms)
	prepare(true, 95*ms, 95*ms)
	prepare(true, 95*ms, 0)
	prepare(false, 5*ms, 0)
}

// TestHurry: two segments are to be ready where one lasts less than four times as long as a
// preparation took lately.
func TestHurry(t *testing.T) {
	const ms = time.Millisecond
	var p pace
	now := time.Now()
	last := func(d time.Duration) {
		p.need(now.Add(d))
		now = now.Add(d)
		p.take(now)
	}
	want := func(hurry bool) {
		t.Helper()
		if p.hurry() != hurry {
			t.Fatalf("hurry: %v; a preparation took %v, a segment lasts %v", !hurry, p.slowest, p.lasted)
		}
	}
	p.prepared(100*ms, true)
	last(10 * ms) // the first one: nothing was taken before
	want(false)
	last(400 * ms)
	want(false)
	last(399 * ms)
	want(true)
	p.prepared(50*ms, true)
	want(false)
	last(340 * ms)
	want(true)
	for range 5 {
		p.prepared(50*ms, false)
	}
	want(false)
}

// slowZeros takes a moment to write zeros.
type slowZeros struct{ segment.FS }

func (f slowZeros) Open(path string, mode segment.OpenMode) (segment.File, error) {
	file, err := f.FS.Open(path, mode)
	return slowZerosFile{file}, err
}

type slowZerosFile struct{ segment.File }

func (f slowZerosFile) WriteAt(p []byte, off int64) (int, error) {
	if off > 0 { // the identity is at 0
		time.Sleep(2 * time.Millisecond)
	}
	return f.File.WriteAt(p, off)
}

// TestZeroedInTime: the factory zeroes what is needed late, and not what is needed at once.
func TestZeroedInTime(t *testing.T) {
	folio := func(_, _ int64) segment.Zeros { return segment.Zeros{Chunk: 8 << 10} }
	f := newFactory(slowZeros{segment.NewHeapFS()}, "/j", 64<<10, folio, true)
	f.begin(segment.NewID(), 1, 0)
	const n = 60
	for i := range n {
		f.want()
		if i%20 >= 10 { // these are not needed before they are ready
			if _, err := f.peek(0); err != nil {
				t.Fatal(err)
			}
		}
		seg, _, err := f.take(0, true)
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(i + 1); seg.Ordinal != want {
			t.Fatalf("segment %d, want %d", seg.Ordinal, want)
		}
		if err := seg.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	dropReady(t, f)
	if s := f.stats(); s.zeroed == 0 || s.zeroed == s.prepared {
		t.Errorf("%d of %d segments were zeroed", s.zeroed, s.prepared)
	}
}

// dropReady stops a factory and returns how many segments were ready, in the order of ordinals.
func dropReady(t *testing.T, f *factory) int {
	t.Helper()
	ready := f.stop().ready
	for i, seg := range ready {
		if i > 0 && seg.Ordinal != ready[i-1].Ordinal+1 {
			t.Errorf("segment %d follows %d", seg.Ordinal, ready[i-1].Ordinal)
		}
		if err := seg.Drop(); err != nil {
			t.Error(err)
		}
	}
	return len(ready)
}

// TestTwoReady: where segments are needed fast two are ready, in order; not where they are large,
// or last long, or appends wait for syncs.
func TestTwoReady(t *testing.T) {
	for _, c := range []struct {
		name  string
		opts  Options
		hurry bool
		want  int
	}{
		{"fast", Options{SegmentSize: 64 << 10, Durability: Published}, true, 2},
		{"by interval", Options{SegmentSize: 128 << 20, Durability: Interval}, true, 2},
		{"slow", Options{SegmentSize: 64 << 10, Durability: Published}, false, 1},
		{"large", Options{SegmentSize: 128<<20 + 4096, Durability: Published}, true, 1},
		{"synced", Options{SegmentSize: 64 << 10, Durability: Synced}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFactory(slowZeros{segment.NewHeapFS()}, "/j", 64<<10, noFolio, true)
			f.most = mostReady(&c.opts)
			f.begin(segment.NewID(), 1, 0)
			f.mu.pace.lasted = 1
			if !c.hurry {
				f.mu.pace.lasted = time.Hour
			}
			f.want()
			f.mu.Lock()
			for f.mu.busy {
				f.idle.Wait()
			}
			f.mu.Unlock()
			if n := dropReady(t, f); n != c.want {
				t.Errorf("%d are ready, want %d", n, c.want)
			}
		})
	}
}

// gatedDirFS syncs directories when its gate says so.
type gatedDirFS struct {
	segment.FS
	arrived, gate chan struct{}
}

func (f gatedDirFS) SyncDir(dir string) error {
	f.arrived <- struct{}{}
	<-f.gate
	return f.FS.SyncDir(dir)
}

// TestTakeFirst: who waits for a segment gets it while the second one is prepared.
func TestTakeFirst(t *testing.T) {
	fsys := gatedDirFS{segment.NewHeapFS(), make(chan struct{}, 2), make(chan struct{})}
	f := newFactory(fsys, "/j", 64<<10, noFolio, true)
	f.begin(segment.NewID(), 1, 0)
	f.most = 2
	f.mu.pace = pace{taken: time.Now(), lasted: time.Minute, slowest: time.Hour}
	f.want()
	<-fsys.arrived
	taken := make(chan error)
	go func() {
		seg, _, err := f.take(0, true)
		if err == nil {
			err = seg.Drop()
		}
		taken <- err
	}()
	for waits := false; !waits; { // need has changed what lasted says, and the lock is free again
		f.mu.Lock()
		waits = f.mu.pace.lasted != time.Minute
		f.mu.Unlock()
	}
	fsys.gate <- struct{}{}
	<-fsys.arrived // the second one is under way
	// It must not wait until the gate opens.
	if err := wait.For(t, "the first one, which is ready, is taken", taken); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	f.most = 1 // no third one
	f.mu.Unlock()
	close(fsys.gate)
	if n := dropReady(t, f); n != 1 {
		t.Errorf("%d are ready, want 1", n)
	}
}

// TestCutsAreNoHurry: a segment that was cut says nothing of how long one lasts.
func TestCutsAreNoHurry(t *testing.T) {
	f := newFactory(segment.NewHeapFS(), "/j", 64<<10, noFolio, false)
	f.begin(segment.NewID(), 1, 0)
	for i, full := range []bool{false, false, false, true} {
		seg, _, err := f.take(0, full)
		if err != nil {
			t.Fatal(err)
		}
		if lasted := f.mu.pace.lasted > 0; lasted != full {
			t.Errorf("take %d: a segment lasts %v", i, f.mu.pace.lasted)
		}
		if err := seg.Drop(); err != nil {
			t.Error(err)
		}
	}
}
