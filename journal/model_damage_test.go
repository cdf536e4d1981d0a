package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/recovery"
)

// damage is one change to the files of a journal.
type damage struct {
	path  string
	off   int64 // of the first byte that differs
	to    int64 // behind the last that may
	what  string
	edit  func(b []byte)
	claim rawPosition // the highest among those that are not hit
	below bool        // it covers a byte that differs
}

// final is a journal to damage.
type final struct {
	w      *walk
	d      *simdisk.Disk
	want   image
	was    []image // all that it has held
	files  map[string][]byte
	segs   []rawSegment
	ends   map[uint64]int64 // of the segments on the chain
	newest uint64
	report *recovery.Report
}

// TestModelDamage: damage to what a claim covers is a *CorruptError that names the segment and the
// frame, at the latest when the record is read, and changes nothing; damage to what none covers is
// a torn tail.
func TestModelDamage(t *testing.T) {
	modelSetup(t)
	tries := modelStates(t, 300_000) / len(scripts) / 2 / 8
	below, above, wrong := 0, 0, 0
	for i, text := range scripts {
		for _, closed := range []bool{false, true} {
			w := newWalk(text, uint64(i), 0, simdisk.Options{})
			f, err := newFinal(w, closed)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			for _, dm := range f.damages(newRand(uint64(i)), tries) {
				if dm.below {
					below++
				} else {
					above++
				}
				if err := f.try(dm); err != nil && wrong < tooMany {
					wrong++
					t.Errorf("%v\n    script %q, closed %v, claim %v: %s at %d of %s", err,
						text, closed, dm.claim, dm.what, dm.off, filepath.Base(dm.path))
				}
			}
		}
	}
	t.Logf("%d damages below the last claim, %d above", below, above)
}

// newFinal runs the script of a walk and returns the disk at its end: after Close, or after a power
// cut before it that lost nothing.
func newFinal(w *walk, closed bool) (*final, error) {
	w.opts.Coarse = simdisk.IsTemporary
	f := &final{w: w}
	l := w.first(nil)
	if err := l.open(); err != nil {
		return nil, err
	}
	for _, s := range parseScript(w.text) {
		if err := l.do(s); err != nil {
			return nil, err
		}
		f.was = append(f.was, l.or.now())
	}
	p := l.d.Pending()
	f.d, f.want = p.Crash(p.Newest()), l.or.now()
	if err := l.close(); err != nil {
		return nil, err
	}
	if closed {
		f.d = l.d.Clone()
	}
	return f, f.describe()
}

func (f *final) describe() error {
	j, err := journal.OpenReadOnlyFS(f.d, modelDir, f.options(false))
	if err != nil {
		return err
	}
	f.report = j.Report()
	f.files = f.d.Files()
	f.segs = parseSegments(f.files)
	for _, s := range f.report.Segments {
		if s.State == recovery.Active {
			f.newest = s.Ordinal
		}
	}
	f.ends = chainEnds(f.segs, f.newest)
	return j.Close()
}

func (f *final) options(verify bool) *journal.Options {
	return &journal.Options{Spares: 2,
		SegmentSize: modelSegment, Durability: f.w.durability, VerifyOnOpen: verify,
	}
}

// damages returns up to n of the ways to damage the journal's segments: bits flipped, sectors
// zeroed or overwritten, everywhere on the chain.
func (f *final) damages(r *rand.Rand, n int) (all []damage) {
	for _, s := range f.segs {
		end, ok := f.ends[s.ordinal]
		if !ok {
			continue
		}
		for range n / len(f.ends) / 2 {
			off, bit := r.Int64N(end), r.IntN(8)
			what := fmt.Sprintf("bit %d flipped", bit)
			all = append(all, f.damage(s, off, off+1, what, func(b []byte) { b[off] ^= 1 << bit }))
		}
		for at := int64(0); at < end; at += 512 {
			noise := make([]byte, 512)
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			for what, sector := range map[string][]byte{
				"sector zeroed": make([]byte, 512), "sector overwritten": noise,
				"sector of another place": s.bytes[4096:4608],
			} {
				same := 0
				for same < 512 && s.bytes[at+int64(same)] == sector[same] {
					same++
				}
				if off := at + int64(same); same < 512 && off < end {
					edit := func(b []byte) { copy(b[at:at+512], sector) }
					all = append(all, f.damage(s, off, at+512, what, edit))
				}
			}
		}
	}
	return all
}

func (f *final) damage(
	s rawSegment, off, to int64, what string, edit func(b []byte),
) damage {
	dm := damage{path: s.path, off: off, to: to, what: what, edit: edit}
	dm.claim = highestClaim(f.files, f.segs, func(t *rawSegment, fr *rawFrame) bool {
		return t.ordinal != s.ordinal || fr.off >= to || fr.off+fr.size <= off
	})
	// An identity is durable before the segment has its name.
	dm.below = off < 4096 || rawPosition{s.ordinal, uint64(off)}.less(dm.claim)
	return dm
}

// try damages a copy, and opens and reads it in every way.
func (f *final) try(dm damage) error {
	for _, verify := range []bool{true, false} {
		d := f.d.Clone()
		d.Edit(dm.path, dm.edit)
		before := d.Files()
		got, report, err := f.read(d, verify)
		if report != nil && !dm.below && err == nil {
			err = checkTail(before, report)
		}
		if broken := f.verdict(dm, report, got, err); broken != nil {
			return fmt.Errorf("verify %v: %w", verify, broken)
		}
		if err != nil {
			if diff := diffFiles(before, d.Files()); diff != "" && verify {
				return fmt.Errorf("I7: refusing to open changed %s", diff)
			}
		}
	}
	return nil
}

// read opens for writing and reads everything.
func (f *final) read(d *simdisk.Disk, verify bool) (image, *recovery.Report, error) {
	j, err := journal.OpenFS(d, modelDir, f.options(verify))
	if err != nil {
		return image{}, nil, err
	}
	got, err := readAll(j)
	report := j.Report()
	return got, report, errors.Join(err, j.Close())
}

// verdict says what is wrong with an outcome. report is nil if opening failed.
func (f *final) verdict(
	dm damage, report *recovery.Report, got image, err error,
) error {
	whole := err == nil && got.equal(f.want)
	switch {
	case dm.below && whole && !report.Full:
		return nil // nothing that was read is damaged
	case dm.below && whole:
		return f.reports(dm, report)
	case dm.below:
		return f.blames(dm, err)
	case err != nil:
		return fmt.Errorf("I15: %w", err)
	case whole:
		return nil
	}
	if !slices.ContainsFunc(f.was, got.begins) && len(got.recs) > 0 {
		return fmt.Errorf("I8: %v is no beginning of what it held", got)
	}
	if durable := f.durable(dm.claim); got.next() <= durable {
		return fmt.Errorf("I8: %v, but up to %d is durable", got, durable)
	}
	return nil
}

// durable returns the seq of the last record that a claim covers.
func (f *final) durable(claim rawPosition) (last journal.Seq) {
	for _, s := range f.segs {
		for _, fr := range s.frames {
			at := rawPosition{s.ordinal, uint64(fr.off)}
			if fr.off < f.ends[s.ordinal] && fr.isRecord() && at.less(claim) {
				last = max(last, journal.Seq(fr.seq))
			}
		}
	}
	return last
}

// reports returns nil if a report names damage that costs no record where it is.
func (f *final) reports(dm damage, r *recovery.Report) error {
	from, to := f.frameAround(dm)
	for _, d := range r.Damage {
		if d.File == filepath.Base(dm.path) && d.Redundant && from <= int64(d.Offset) &&
			int64(d.Offset) < to {
			return nil
		}
	}
	return fmt.Errorf("I7: damage below a claim is not noticed\n%v", r)
}

// blames returns nil if err is a *CorruptError that says where the damage is.
func (f *final) blames(dm damage, err error) error {
	var c *journal.CorruptError
	if err == nil {
		return errors.New("I7: damage below a claim is not noticed")
	}
	if !errors.As(err, &c) {
		return fmt.Errorf("I7: not a *CorruptError: %w (%T)", err, err)
	}
	if c.Path != dm.path {
		return fmt.Errorf("I7: blames another file: %w", err)
	}
	from, to := f.frameAround(dm)
	if int64(c.Offset) < from || int64(c.Offset) >= to {
		return fmt.Errorf("I7: blames a frame that is not in %d to %d: %w", from, to, err)
	}
	return nil
}

// frameAround returns where the frame that the damage begins in starts and ends: the whole batch,
// for one in a batch; for the identity, that.
func (f *final) frameAround(dm damage) (from, to int64) {
	for _, s := range f.segs {
		if s.path != dm.path || dm.off < 4096 {
			continue
		}
		start := int64(-1)
		for _, fr := range s.frames {
			if start < 0 {
				start = fr.off
			}
			if fr.off+fr.size > dm.off {
				return start, fr.off + fr.size
			}
			if fr.kind != rawBatch {
				start = -1
			}
		}
	}
	return 0, 4096
}

// TestModelDamagedJournalFile: whatever happens to the file JOURNAL, every record is there. If only
// one of its copies is bad, that is a warning and no damage.
func TestModelDamagedJournalFile(t *testing.T) {
	modelSetup(t)
	f, err := newFinal(newWalk(scripts[1], 1, 0, simdisk.Options{}), false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(modelDir, "JOURNAL")
	try := func(what string, d *simdisk.Disk, want recovery.Verdict) {
		got, report, err := f.read(d, true)
		switch {
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !got.equal(f.want):
			t.Errorf("%s: %v, want %v", what, got, f.want)
		case report.Verdict != want || warnsOfJournal(report) != (want == recovery.Intact):
			t.Errorf("%s: verdict %q, warnings %q", what, report.Verdict, report.Warnings)
		}
	}
	for bit := range 8 * len(f.files[path]) {
		if at := bit / 8 % 4096; at >= 256 && at < 4088 && bit%101 != 0 {
			continue // reserved, as the others are
		}
		flip := func(b []byte) { b[bit/8] ^= 1 << (bit % 8) }
		d := f.d.Clone()
		d.Edit(path, flip)
		try(fmt.Sprintf("bit %d", bit), d, recovery.Intact)
		if bit < 8*4096 {
			d = f.d.Clone() // Open has made the bad copy good
			d.Edit(path, func(b []byte) { flip(b); flip(b[4096:]) })
			try(fmt.Sprintf("bit %d of both copies", bit), d, recovery.Damaged)
		}
	}
	d := f.d.Clone()
	if err := errors.Join(d.Remove(path), d.SyncDir(modelDir)); err != nil {
		t.Fatal(err)
	}
	try("removed", d, recovery.Damaged)
}

// TestModelMissingSegment: a segment of the chain that is not there is corruption.
func TestModelMissingSegment(t *testing.T) {
	modelSetup(t)
	for i := range 2 * len(scripts) {
		text, closed := scripts[i/2], i%2 == 0
		f, err := newFinal(newWalk(text, uint64(i), 0, simdisk.Options{}), closed)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for ordinal := range f.ends {
			d := f.d.Clone()
			path := segmentPath(f.segs, ordinal)
			if err := errors.Join(d.Remove(path), d.SyncDir(modelDir)); err != nil {
				t.Fatal(err)
			}
			_, _, err := f.read(d, false)
			var c *journal.CorruptError
			if !errors.As(err, &c) || c.Path != path {
				t.Errorf("%s, closed %v: segment %d of %v removed: %v",
					text, closed, ordinal, f.ends, err)
			}
		}
	}
}

func segmentPath(segs []rawSegment, ordinal uint64) string {
	for _, s := range segs {
		if s.ordinal == ordinal {
			return s.path
		}
	}
	return ""
}
