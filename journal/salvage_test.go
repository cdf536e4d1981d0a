package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/remains"
	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// salvaging is a random history of a journal, and what is known of it.
type salvaging struct {
	t      *testing.T
	sum    *salvageTally
	r      *rand.Rand
	d      *simdisk.Disk
	j      *journal.Journal
	number int
	ever   map[string]journal.Seq // every payload that was ever appended
	live   map[journal.Seq]string // those that are not dropped
	lost   map[string]bool        // those that Open has not shown any more
	gone   map[string]bool        // those that were dropped, durably
	full   bool                   // the disk has no space for new segments
	wrote  bool                   // this process has appended
	synced bool                   // appends of this process wait for a sync
	graves map[string][]byte      // the files that were removed
	log    []string
}

func (h *salvaging) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%v after %v", err, h.log)
	}
}

func (h *salvaging) say(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// open begins a process. What it shows is what the journal has from then on.
func (h *salvaging) open() {
	o := &journal.Options{SegmentSize: segment.MinSize}
	if h.r.IntN(2) == 0 {
		o.Durability = journal.Published
	} else if h.r.IntN(2) == 0 {
		o.Spares = 1
	}
	h.d.OnOp = func(op simdisk.Op) error {
		if _, ok := segment.ParseFileName(filepath.Base(op.Path)); ok && op.Kind == simdisk.OpRemove {
			h.graves[filepath.Base(op.Path)] = h.d.Files()[op.Path]
		}
		if h.full && (op.Kind == simdisk.OpCreate || op.Kind == simdisk.OpAllocate) {
			return syscall.ENOSPC
		}
		return nil
	}
	var err error
	h.j, err = journal.OpenFS(h.d, modelDir, o)
	h.must(err)
	before := h.live
	h.live, h.wrote, h.synced = map[journal.Seq]string{}, false, o.Durability == journal.Synced
	for rec, err := range h.j.Records(h.j.First()) {
		h.must(err)
		h.live[rec.Seq] = string(rec.Payload)
	}
	for seq, p := range before {
		h.lost[p] = h.lost[p] || h.live[seq] != p
	}
	h.say("open %v", o.Durability)
}

// durable notes that what this process has written is durable, and with it what Open has cut off.
func (h *salvaging) durable() {
	if h.wrote {
		maps.Copy(h.gone, h.lost)
	}
}

// drop notes that records were dropped.
func (h *salvaging) drop(which func(journal.Seq) bool) {
	for seq, p := range h.live {
		if which(seq) {
			delete(h.live, seq)
			h.gone[p] = true
		}
	}
}

// noSpace reports whether an append from a seq on has failed because the disk is full.
func (h *salvaging) noSpace(err error, seq journal.Seq) bool {
	if !h.full || !errors.Is(err, journal.ErrNoSpace) {
		h.must(err)
		return false
	}
	h.say("no space")
	maps.DeleteFunc(h.live, func(s journal.Seq, _ string) bool { return s >= seq })
	return true
}

// appended notes that the process has appended.
func (h *salvaging) appended() {
	h.wrote = true
	if h.synced {
		h.durable()
	}
}

func (h *salvaging) payload(seq journal.Seq) []byte {
	h.number++
	p := fmt.Sprintf("%d of %d", h.number, seq)
	if n := h.r.IntN(900); h.r.IntN(3) == 0 && n > len(p) {
		p += strings.Repeat(" ", n-len(p))
	}
	h.ever[p] = seq
	h.live[seq] = p
	return []byte(p)
}

// step does something at random.
func (h *salvaging) step() {
	first, last := h.j.First(), h.j.Last()
	span := int(last + 1 - first)
	switch h.r.IntN(17) {
	case 0, 1, 2, 3, 4, 5:
		n := 1 + h.r.IntN(12)
		h.say("append %d", n)
		for range n {
			seq := h.j.Last() + 1
			_, err := h.j.Append(h.payload(seq))
			if h.noSpace(err, seq) {
				return
			}
		}
		h.appended()
	case 6, 7:
		var batch [][]byte
		for i := range 2 + h.r.IntN(4) {
			batch = append(batch, h.payload(last+1+journal.Seq(i)))
		}
		h.say("batch %d", len(batch))
		_, err := h.j.AppendBatch(batch)
		if !h.noSpace(err, last+1) {
			h.appended()
		}
	case 8, 9:
		h.must(h.j.Sync(h.t.Context()))
		h.durable()
	case 10:
		to := last - journal.Seq(h.r.IntN(min(span, 30)+1))
		h.say("truncate back %d", to)
		h.must(h.j.TruncateBack(to))
		h.drop(func(seq journal.Seq) bool { return seq > to })
	case 11:
		to := first + journal.Seq(h.r.IntN(span+1))
		h.say("truncate front %d", to)
		h.must(h.j.TruncateFront(to))
		h.drop(func(seq journal.Seq) bool { return seq < to })
	case 12:
		if h.r.IntN(4) > 0 {
			return
		}
		next := 1 + journal.Seq(h.r.IntN(2*int(last)+2))
		h.say("reset %d", next)
		h.must(h.j.Reset(next))
		h.drop(func(journal.Seq) bool { return true })
	case 13:
		h.must(h.j.Close())
		h.durable()
		h.open()
	case 14, 15:
		h.crash()
		h.open()
	case 16:
		h.full = !h.full
		h.say("full: %v", h.full)
	}
}

// crash kills the process, or cuts the power.
func (h *salvaging) crash() {
	old, d := h.j, h.d
	if h.r.IntN(2) == 0 {
		h.say("kill")
		h.d = h.d.Kill()
	} else {
		p := h.d.Pending()
		c := p.Newest()
		for i, newest := range c {
			c[i] = h.r.IntN(newest + 1)
		}
		h.say("power cut")
		h.d = p.Crash(c)
	}
	d.OnOp = nil
	_ = old.Close()
}

// files returns the journal's files.
func (h *salvaging) files() map[string][]byte {
	files := map[string][]byte{}
	for path, b := range h.d.Files() {
		files[filepath.Base(path)] = b
	}
	return files
}

// hurt damages the files.
func (h *salvaging) hurt(files, foreign map[string][]byte) {
	r := h.r
	pick := func() string {
		names := slices.Sorted(maps.Keys(files))
		name := names[r.IntN(len(names))]
		for range 5 {
			if strings.HasSuffix(name, ".seg") {
				break
			}
			name = names[r.IntN(len(names))]
		}
		files[name] = slices.Clone(files[name])
		return name
	}
	for range r.IntN(5) {
		if len(files) == 0 {
			return
		}
		name := pick()
		b := files[name]
		at := 0
		if used := len(strings.TrimRight(string(b), "\x00")); used > 0 {
			at = r.IntN(used)
		}
		switch r.IntN(11) {
		case 0, 1:
			h.say("remove %s", name)
			delete(files, name)
		case 2, 3:
			if len(b) > 0 {
				h.say("flip %s at %d", name, at)
				b[at] ^= 1 << r.IntN(8)
			}
		case 4, 5:
			h.say("zero %s at %d", name, at&^511)
			clear(b[at&^511 : min(at|511+1, len(b))])
		case 6:
			h.say("cut %s at %d", name, at)
			files[name] = b[:at]
		case 7:
			to := segment.FileName(uint64(1 + r.IntN(40)))
			h.say("copy %s to %s", name, to)
			files[to] = b
		case 8:
			for n, b := range foreign {
				if n != "JOURNAL" || r.IntN(4) == 0 {
					h.say("foreign %s", n)
					files[n] = b
				}
				break
			}
		case 9, 10:
			for n, b := range h.graves {
				if files[n] == nil || r.IntN(3) == 0 {
					h.say("restore %s", n)
					files[n] = b
				}
			}
		}
	}
}

// TestSalvageRandom builds histories with the real journal, on a disk that loses what was not
// synced, damages what is left, brings back files that had been removed, and compares what is
// salvaged with what another program takes out of the same files; and with what had been dropped.
func TestSalvageRandom(t *testing.T) {
	modelSetup(t)
	n := int64(600)
	if testing.Short() || raceEnabled {
		n = 100
	}
	foreign := foreignFiles(t)
	c := torture.Start(t, "salvage of damaged directories", n)
	var sum salvageTally
	for c.Next() {
		d := newSalvageDisk(t, simdisk.Options{
			Seed: c.Seed(), Torn: c.Seed()%2 == 0, Coarse: simdisk.IsTemporary,
		})
		h := &salvaging{
			t: t, sum: &sum, r: newRand(c.Seed()), graves: map[string][]byte{},
			ever: map[string]journal.Seq{},
			lost: map[string]bool{}, gone: map[string]bool{},
			d: d,
		}
		if err := h.run(foreign); err != nil {
			c.Violation("%v\n%s", err, strings.Join(h.log, "\n"))
		}
	}
	c.Note("%d records, %d of them in runs that may have been dropped; %d ranges missing; JOURNAL "+
		"stood in for a segment in %d directories", sum.records, sum.doubtful, sum.missing, sum.standIns)
}

// salvageTally counts what was salvaged.
type salvageTally struct{ records, doubtful, missing, standIns uint64 }

// run is one history.
func (h *salvaging) run(foreign map[string][]byte) error {
	h.open()
	for range 3 + h.r.IntN(40) {
		h.step()
	}
	closed := h.r.IntN(2) == 0
	if h.full = false; closed {
		_, err := h.j.Append(h.payload(h.j.Last() + 1)) // otherwise Close would have nothing to claim
		h.must(err)
		h.appended()
		h.must(h.j.Close())
		h.durable()
		h.say("closed")
	} else {
		h.crash()
	}
	files := h.files()
	if err := h.compare(files); err != nil {
		return err
	}
	if err := h.undamaged(files, closed); err != nil {
		return err
	}
	h.hurt(files, foreign)
	if err := h.compare(files); err != nil {
		return err
	}
	return h.accounted(files, closed)
}

// salvageFiles salvages a directory with these files.
func salvageFiles(files map[string][]byte) (*recovery.Salvaged, error) {
	fsys := segment.NewHeapFS()
	for name, b := range files {
		f, err := fsys.Open(filepath.Join(modelDir, name), segment.Create)
		if err != nil {
			return nil, err
		}
		_, err = f.WriteAt(b, 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return recovery.SalvageFS(fsys, modelDir, recovery.SalvageOptions{})
}

// compare holds what is salvaged against what the other program says, and against what was dropped.
func (h *salvaging) compare(files map[string][]byte) error {
	s, err := salvageFiles(files)
	if errors.Is(err, recovery.ErrNotExist) && len(remains.Read(files)) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	if j, _, err := segment.DecodeJournalFile(files[segment.JournalName]); err == nil &&
		j.StandInOrdinal > 0 {
		h.sum.standIns++
	}
	h.sum.missing += uint64(len(s.Missing))
	var got, want []string
	var last journal.Seq
	for _, run := range s.Runs {
		if run.First <= last {
			return fmt.Errorf("a run begins with %d after one up to %d", run.First, last)
		}
		last = run.Last
		h.sum.records += run.Count
		if run.MayBeDropped {
			h.sum.doubtful += run.Count
		}
		next := run.First
		for rec, err := range run.Records() {
			if err != nil {
				return fmt.Errorf("record %d: %w", rec.Seq, err)
			}
			if rec.Seq != next {
				return fmt.Errorf("a run with a gap: %d instead of %d", rec.Seq, next)
			}
			next++
			p := string(rec.Payload)
			if h.ever[p] != rec.Seq && !strings.HasPrefix(p, "foreign") {
				return fmt.Errorf("record %d is %q: it never was", rec.Seq, p)
			}
			if h.gone[p] && !run.MayBeDropped {
				return fmt.Errorf("record %d, %q, was dropped, and nothing says so", rec.Seq, p)
			}
			got = append(got, fmt.Sprint(rec.Seq, " ", strings.TrimRight(p, " "), " ", run.MayBeDropped))
		}
		if next != run.Last+1 || run.Count != uint64(next-run.First) {
			return fmt.Errorf("the run of %d records from %d to %d ends before %d", run.Count, run.First,
				run.Last, next)
		}
	}
	for _, rec := range remains.Read(files) {
		want = append(want, fmt.Sprint(rec.Seq, " ", strings.TrimRight(rec.Payload, " "), " ", rec.Doubt))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("salvaged\n%s\nthe other program:\n%s", strings.Join(got, "\n"),
			strings.Join(want, "\n"))
	}
	return nil
}

// undamaged: of a journal without damage, salvage has what Open shows, and nothing is lost.
func (h *salvaging) undamaged(files map[string][]byte, closed bool) error {
	s, err := salvageFiles(files)
	if err != nil {
		return err
	}
	if s.Lost() || closed && (len(s.Missing) > 0 || len(s.Runs) > 1) {
		return fmt.Errorf("nothing is damaged; missing: %+v", s.Missing)
	}
	j, err := journal.OpenReadOnlyFS(h.d, modelDir, nil)
	if err != nil {
		return err
	}
	defer j.Close()
	salvaged := map[journal.Seq]string{}
	for _, run := range s.Runs {
		for rec, err := range run.Records() {
			if err != nil {
				return err
			}
			if _, ok := salvaged[rec.Seq]; !ok {
				salvaged[rec.Seq] = string(rec.Payload)
			}
		}
	}
	n := 0
	for rec, err := range j.Records(j.First()) {
		if err != nil {
			return err
		}
		if salvaged[rec.Seq] != string(rec.Payload) {
			return fmt.Errorf("record %d is %q, and %q is salvaged", rec.Seq, rec.Payload, salvaged[rec.Seq])
		}
		n++
	}
	if closed && n != len(salvaged) {
		return fmt.Errorf("%d records, and %d are salvaged", n, len(salvaged))
	}
	return nil
}

// accounted: if JOURNAL of a closed journal is whole, each record that is gone is named as missing
// and acknowledged, unless there is one with its seq that may have been dropped.
func (h *salvaging) accounted(files map[string][]byte, closed bool) error {
	if !closed || string(files["JOURNAL"]) != string(h.files()["JOURNAL"]) {
		return nil
	}
	s, err := salvageFiles(files)
	if err != nil {
		return err
	}
	there, doubt := map[string]bool{}, map[journal.Seq]bool{}
	for _, run := range s.Runs {
		for rec := range run.Records() {
			there[string(rec.Payload)] = true
			doubt[rec.Seq] = doubt[rec.Seq] || run.MayBeDropped
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(h.live)) {
		p := h.live[seq]
		if there[p] || doubt[seq] {
			continue
		}
		if !slices.ContainsFunc(s.Missing, func(m recovery.MissingRange) bool {
			return m.First <= seq && (m.Last == 0 || seq <= m.Last) && m.Acknowledged != recovery.No
		}) {
			return fmt.Errorf("record %d is gone, and not among the missing: %+v\n%+v", seq,
				s.Missing, s.Files)
		}
	}
	return nil
}

func newSalvageDisk(t *testing.T, o simdisk.Options) *simdisk.Disk {
	t.Helper()
	d := simdisk.New(o)
	if err := d.MkdirAll(modelDir); err != nil {
		t.Fatal(err)
	}
	return d
}

// foreignFiles returns the files of another journal.
func foreignFiles(t *testing.T) map[string][]byte {
	t.Helper()
	d := newSalvageDisk(t, simdisk.Options{})
	j, err := journal.OpenFS(d, modelDir, &journal.Options{SegmentSize: segment.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := j.Append(fmt.Appendf(nil, "foreign %d %200d", i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for path, b := range d.Files() {
		files[filepath.Base(path)] = b
	}
	return files
}
