package segment_test

import (
	"errors"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/segment"
)

// primed returns a primed segment on a simulated disk, with a writer that has one record of a page.
func primed(t *testing.T) (*simdisk.Disk, *segment.Segment, *segment.Writer) {
	t.Helper()
	d := simdisk.New(simdisk.Options{})
	if err := d.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	id := segment.NewIdentity(segment.NewID(), 1, 256<<10, time.Now())
	s, err := segment.Prepare(d, "/j", id, segment.Zeros{Chunk: 16 << 10, Primed: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := segment.NewWriter(s, segment.Link{Base: 1, FirstLive: 1, Time: time.Now()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, w, 4096)
	return d, s, w
}

func add(t *testing.T, w *segment.Writer, n int) {
	t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = 'x'
	}
	if err := w.Append(p, segment.Checksum(p)); err != nil {
		t.Fatal(err)
	}
}

// crashed returns what a scan finds after a power cut that takes all that was not synced.
func crashed(t *testing.T, d *simdisk.Disk) *segment.Scan {
	t.Helper()
	p := d.Pending()
	after := p.Crash(make(simdisk.Choice, len(p.Newest()))) // all of them the durable ones
	s, err := segment.Open(after, "/j/"+segment.FileName(1), segment.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop()
	sc, err := s.Scan(0)
	if err != nil {
		t.Fatal(err)
	}
	if sc.Seal != nil {
		if err := s.CheckIndex(sc); err != nil {
			t.Error(err)
		}
	}
	return sc
}

// TestSyncFrames: what it was called for is durable, also what came while the last one was under
// way; the zeros of a primed segment are not written.
func TestSyncFrames(t *testing.T) {
	d, s, w := primed(t)
	defer s.Drop()
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpDatasync {
			d.OnOp = nil
			add(t, w, 100)
		}
		return nil
	}
	for want := range uint64(3) {
		if sc := crashed(t, d); sc.Records != want {
			t.Errorf("sync %d: %d records, want %d", want, sc.Records, want)
		}
		if err := s.SyncFrames(); err != nil {
			t.Fatal(err)
		}
	}
	if sc := crashed(t, d); sc.Tail.Bytes != 0 {
		t.Errorf("tail %+v", sc.Tail)
	}
}

// TestSyncFramesFull: the index behind the frames of a full segment is durable with them.
func TestSyncFramesFull(t *testing.T) {
	d, s, w := primed(t)
	defer s.Drop()
	for range 49 { // an index of more than a sector
		add(t, w, 4096)
	}
	succ := segment.NewIdentity(s.Journal, 2, s.Size, time.Now())
	if err := w.Seal(&succ); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncFrames(); err != nil {
		t.Fatal(err)
	}
	sc := crashed(t, d)
	if sc.Seal == nil || sc.Records != 50 {
		t.Fatalf("%d records, seal %+v", sc.Records, sc.Seal)
	}
}

// TestSyncFramesWiped: bytes of an append that was taken back, which the kernel has written
// meanwhile, are zero on the disk as well.
func TestSyncFramesWiped(t *testing.T) {
	d, s, w := primed(t)
	defer s.Drop()
	refused := errors.New("refused")
	got, err := w.AppendFunc(9000, func(dst []byte) error {
		for i := range dst {
			dst[i] = 'y'
		}
		if err := s.Sync(); err != nil {
			t.Error(err)
		}
		return refused
	})
	if got != refused || err != nil {
		t.Fatal(got, err)
	}
	if sc := crashed(t, d); sc.Tail.Bytes == 0 {
		t.Fatal("they were not written")
	}
	if err := s.SyncFrames(); err != nil {
		t.Fatal(err)
	}
	if sc := crashed(t, d); sc.Tail.Bytes != 0 || sc.Records != 1 {
		t.Errorf("%d records, tail %+v", sc.Records, sc.Tail)
	}
	add(t, w, 100)
	if err := s.SyncFrames(); err != nil {
		t.Fatal(err)
	}
	if sc := crashed(t, d); sc.Records != 2 {
		t.Errorf("%d records, want 2", sc.Records)
	}
}
