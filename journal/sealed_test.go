package journal_test

import (
	"math/rand/v2"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
)

// TestSealedAreDurable: what the sync of full segments in the background has called durable is
// there after every power cut, also where the journal was cut in the meantime.
func TestSealedAreDurable(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	cuts := []func(*journal.Journal) error{
		func(*journal.Journal) error { return nil },
		func(j *journal.Journal) error { return j.TruncateBack(20) },
		func(j *journal.Journal) error { return j.Reset(100) },
		func(j *journal.Journal) error { return j.TruncateFront(10) },
	}
	for round := range 8 {
		d := simdisk.New(simdisk.Options{})
		if err := d.MkdirAll("/j"); err != nil {
			t.Fatal(err)
		}
		o := &journal.Options{SegmentSize: 8192, Durability: journal.Published}
		j, err := journal.OpenFSBackground(d, "/j", o)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1500) // two of them fill a segment
		for i := range 40 + round {
			mustAppend(t, j, p)
			if i == 33 { // before the sync of 16 segments, which is about to begin
				if err := cuts[round%len(cuts)](j); err != nil {
					t.Fatal(err)
				}
			}
		}
		wait.Until(t, "something is synced", func() bool { return j.Durable() > 0 })
		checkSealed(t, d, j, o)
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// checkSealed cuts the power in many ways.
func checkSealed(t *testing.T, d *simdisk.Disk, j *journal.Journal, o *journal.Options) {
	t.Helper()
	first, durable := j.First(), j.Durable()
	pending := d.Clone().Pending() // the journal goes on
	newest := pending.Newest()
	r := rand.New(rand.NewPCG(1, uint64(durable)))
	for cut := range 40 {
		c := make(simdisk.Choice, len(newest)) // cut 0: all that can be lost is
		for i := range c {
			if cut > 0 {
				c[i] = r.IntN(newest[i] + 1)
			}
		}
		opts := *o
		opts.VerifyOnOpen = cut%2 == 0
		k, err := journal.OpenFS(pending.Crash(c), "/j", &opts)
		if err != nil {
			t.Fatalf("power cut %v: %v", c, err)
		}
		if k.First() > first || k.Last() < durable || len(k.Report().Damage) > 0 {
			t.Errorf("power cut %v: %d to %d, durable were %d to %d; damage %v",
				c, k.First(), k.Last(), first, durable, k.Report().Damage)
		}
		next := k.First()
		for rec, err := range k.Records(0) {
			if err != nil || rec.Seq != next || len(rec.Payload) != 1500 {
				t.Fatalf("power cut %v: record %d instead of %d: %v", c, rec.Seq, next, err)
			}
			next++
		}
		if next != k.Last()+1 {
			t.Errorf("power cut %v: records up to %d, last is %d", c, next-1, k.Last())
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTruncationsAreNoGroups: the syncs of a truncation have a mark to sync, and say nothing about
// how the journal is used: its segments are primed as before.
func TestTruncationsAreNoGroups(t *testing.T) {
	o := &journal.Options{SegmentSize: 1 << 20, Durability: journal.Published}
	j := mustOpen(t, t.TempDir(), o)
	p := make([]byte, 16<<10)
	for i := range 1200 {
		mustAppend(t, j, p)
		if i%32 == 0 && j.Stats().Rolls > 0 { // there is time to prepare segments
			wait.Until(t, "a segment is ready", func() bool {
				s := j.Stats()
				return s.Prepared > s.Rolls+1
			})
		}
		if i == 300 {
			if err := j.TruncateFront(100); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if s := j.Stats(); s.Primed == 0 || s.Zeroed > 0 {
		t.Errorf("of %d segments %d are primed, %d zeroed", s.Prepared, s.Primed, s.Zeroed)
	}
}

// TestTornIndex: a kill or a power cut leaves a sealed segment whose index is torn, above the last
// claim. The next Open writes it again before a claim covers it: no damage is found later.
func TestTornIndex(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	disk, j := onDisk(t, journal.Published)
	for len(parseSegments(disk.Files())) < 3 {
		mustAppend(t, j, make([]byte, 1500))
	}
	dead := disk.Kill()
	s := parseSegments(dead.Files())[0]
	if !s.sealed(s.end) {
		t.Fatal("the first segment is not sealed")
	}
	dead.Edit(s.path, func(b []byte) { b[s.end] ^= 1 })
	j, err := journal.OpenFS(dead, "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, []byte("durable"))
	mustClose(t, j)
	r, err := journal.OpenReadOnlyFS(dead, "/j", &journal.Options{VerifyOnOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	if found := r.Report().Damage; len(found) > 0 {
		t.Errorf("%v", found)
	}
	mustClose(t, r)
}
