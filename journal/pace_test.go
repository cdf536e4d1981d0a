package journal

import (
	"testing"
	"time"

	"mmjournal/segment"
)

// TestPace: segments are zeroed as long as that is done before they are needed, and again when
// there is time again, or may be.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	var p pace
	now := time.Now()
	prepare := func(want bool, takes, needed time.Duration) {
		t.Helper()
		p.begin(now)
		if p.inTime != want {
			t.Fatalf("in time: %v; zeroing takes %v, slack is %v", p.inTime, p.zeroing, p.slack)
		}
		p.end(now.Add(takes), p.inTime)
		p.need(now.Add(needed))
		now = now.Add(max(takes, needed))
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
	f.begin(segment.NewID(), 1)
	zeroed := uint64(0)
	const n = 60
	for i := range n {
		f.want()
		f.mu.Lock()
		if f.mu.pace.inTime {
			zeroed++
		}
		f.mu.Unlock()
		if i%20 >= 10 { // these are not needed before they are ready
			if _, err := f.peek(); err != nil {
				t.Fatal(err)
			}
		}
		seg, err := f.take()
		if err != nil {
			t.Fatal(err)
		}
		if got := f.stats().zeroed; got != zeroed {
			t.Fatalf("segment %d: %d were zeroed, want %d", seg.Ordinal, got, zeroed)
		}
		if err := seg.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	if zeroed == 0 || zeroed == n {
		t.Errorf("%d of %d segments were zeroed", zeroed, n)
	}
}
