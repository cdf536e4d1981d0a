package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

const (
	modelDir     = "/j"
	modelSegment = 8 << 10
)

// life is one process: it opens the journal that a disk holds, checks what it finds, and runs a
// script. At every store group and file-system operation at which something has changed, visit is
// told: there it may crash.
type life struct {
	w      *walk
	d      *simdisk.Disk
	or     *oracle
	j      *journal.Journal
	depth  int    // 1 for the first life
	trail  string // the crashes before, to reproduce them
	story  string // the same for people
	visit  func(l *life, op simdisk.Op)
	verify bool      // opens read and check every byte
	closed bool      // cleanly, after something was written, and not opened since
	full   bool      // the disk has no space for a new file
	mid    meanwhile // what happens during the step that is being done

	point   int // counts visits
	phase   int // which points a later life crashes at
	gen     uint64
	version uint64
	seen    map[uint64]bool // what crashes in this life have left
}

// run opens, runs the script and closes. It reports what it finds to the walk.
func (l *life) run(script []step) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			l.w.violation(l, fmt.Errorf("I12: panic: %v\n%s", r, debug.Stack()))
			ok = false
		}
	}()
	l.seen = map[uint64]bool{}
	l.hook()
	if err := l.open(); err != nil {
		l.w.violation(l, err)
		return false
	}
	for i, s := range script {
		if err := l.do(s); err != nil {
			l.w.violation(l, fmt.Errorf("step %d (%+v): %w", i+1, s, err))
			return false
		}
	}
	err := l.close()
	if err == nil && l.closed {
		err = l.checkTidy()
	}
	if err != nil {
		l.w.violation(l, err)
		return false
	}
	l.call(simdisk.Op{Kind: simdisk.OpClose, Path: "the end"})
	return true
}

// hook makes the disk tell of its operations, but for checks of the directory: those change
// nothing.
func (l *life) hook() {
	l.d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpCheck {
			return nil
		}
		l.call(op)
		// JOURNAL is synced with the lock held that appends take.
		if op.Kind == simdisk.OpDatasync && l.mid.size > 0 &&
			filepath.Base(op.Path) != segment.JournalName {
			l.meanwhile()
		}
		return l.lacks(op)
	}
}

// lacks returns the error of an operation that needs space where there is none.
func (l *life) lacks(op simdisk.Op) error {
	if l.full && (op.Kind == simdisk.OpCreate || op.Kind == simdisk.OpAllocate) {
		return syscall.ENOSPC
	}
	return nil
}

// call visits, if a crash now may leave something that it could not before, or breaks another
// promise.
func (l *life) call(op simdisk.Op) {
	gen, version := l.d.Generation(), l.or.version()
	if l.visit == nil || l.point > 0 && gen == l.gen && version == l.version {
		return
	}
	l.gen, l.version = gen, version
	l.visit(l, op)
	l.point++
}

func (l *life) options() *journal.Options {
	return &journal.Options{Spares: 2,
		SegmentSize: l.w.segment, Durability: l.w.durability, VerifyOnOpen: l.verify,
	}
}

// openFS opens the journal on a disk for writing.
func (l *life) openFS(d *simdisk.Disk, o *journal.Options) (*journal.Journal, error) {
	return journal.OpenFS(d, modelDir, o)
}

// open opens the journal and checks what it holds.
func (l *life) open() error {
	j, err := l.openFS(l.d, l.options())
	if err != nil {
		return fmt.Errorf("I15: open: %w (%T)", err, err)
	}
	l.j, l.closed = j, false
	got, err := readAll(j)
	if err != nil {
		return fmt.Errorf("I1: read: %w", err)
	}
	if broken := l.or.judge(got); broken != "" {
		return errors.New(broken)
	}
	if d := j.Durable(); d != got.next()-1 || j.Last() != d {
		return fmt.Errorf("I11: shows %v, durable %d, last %d", got, d, j.Last())
	}
	l.or.adopt(got)
	return nil
}

// readAll returns everything that a journal shows.
func readAll(j *journal.Journal) (image, error) {
	m := image{first: j.First()}
	for rec, err := range j.Records(m.first) {
		if err != nil {
			return m, err
		}
		if rec.Seq != m.next() {
			return m, fmt.Errorf("I2: seq %d after %v", rec.Seq, m)
		}
		m.recs = append(m.recs, bytes.Clone(rec.Payload))
	}
	if m.next() != j.Last()+1 {
		return m, fmt.Errorf("I1: %v can be read, but Last is %d", m, j.Last())
	}
	return m, nil
}

// close closes the journal: everything is durable then, and nothing is open.
func (l *life) close() error {
	err := l.j.Close()
	unmarked := l.mayLackSpace() && errors.Is(err, journal.ErrNoSpace)
	if err != nil && !unmarked {
		return fmt.Errorf("close: %w", err)
	}
	l.or.promise(true)
	l.closed = l.or.serial > 0 && !unmarked
	if h, m := l.d.Leaks(); h != 0 || m != 0 {
		return fmt.Errorf("I12: %d handles and %d mappings are open after Close", h, m)
	}
	return nil
}

// checkTidy: a life that has written something and was closed leaves, when the journal has been
// opened and closed once more, nothing but the chain.
func (l *life) checkTidy() error {
	d := l.d.Clone()
	j, err := l.openFS(d, l.options())
	if err != nil {
		return fmt.Errorf("I15: open: %w", err)
	}
	if err := j.Close(); err != nil {
		return err
	}
	files := d.Files()
	maps.DeleteFunc(files, func(path string, _ []byte) bool { return filepath.Dir(path) == besideDir })
	segs := parseSegments(files)
	if len(segs) == 0 {
		return errors.New("there is no segment")
	}
	ends := chainEnds(segs, segs[len(segs)-1].ordinal)
	if len(files) != len(ends)+1 {
		names := slices.Sorted(maps.Keys(files))
		return fmt.Errorf("space is not freed: %q, for a chain of %v", names, ends)
	}
	return nil
}

// checkClean: what a crash leaves of a journal that was closed ends cleanly, whatever the disk had
// not done, and has every record.
func (l *life) checkClean(want image) error {
	j, err := journal.OpenReadOnlyFS(l.d, modelDir, l.options())
	if err != nil {
		return fmt.Errorf("I15: read-only open: %w", err)
	}
	got, err := readAll(j)
	r := j.Report()
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	if r.End != recovery.EndClean || r.Tail != nil || len(r.Damage) > 0 || !got.equal(want) {
		return fmt.Errorf("I8: closed with %v, it ends %q with %v\n%v", want, r.End, got, r)
	}
	return nil
}

// checkClosed cuts the power of a journal that was closed: all is lost that can be. quiet says that
// the life wrote nothing: it wrote no closing mark then, and an earlier one may never have reached
// the disk.
func (l *life) checkClosed(quiet bool) error {
	if quiet {
		return nil
	}
	next := life{w: l.w, d: afterCut(l.d), or: l.or}
	return next.checkClean(l.or.now())
}

// kill ends the process: the disk is what the kernel has.
func (l *life) kill() {
	l.d.OnOp = nil
	l.d = l.d.Kill()
	l.or = clone(l.or)
	l.hook()
}

// checkReadOnly opens what a crash left for reading only, and verifies every byte: that shows what
// an open for writing may show, describes the end truly, and changes nothing.
func (l *life) checkReadOnly() error {
	before := l.d.Files()
	o := l.options()
	o.VerifyOnOpen = true
	j, err := journal.OpenReadOnlyFS(l.d, modelDir, o)
	if err != nil {
		if !l.or.created && errors.Is(err, journal.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("I15: read-only open: %w", err)
	}
	got, err := readAll(j)
	if err != nil {
		return fmt.Errorf("I1: read-only read: %w", err)
	}
	report := j.Report()
	if err := j.Close(); err != nil {
		return fmt.Errorf("read-only close: %w", err)
	}
	if broken := l.or.judge(got); broken != "" {
		return fmt.Errorf("read-only: %s", broken)
	}
	if diff := diffFiles(before, l.d.Files()); diff != "" {
		return fmt.Errorf("I5: a read-only open changed %s", diff)
	}
	if h, m := l.d.Leaks(); h != 0 || m != 0 {
		return fmt.Errorf("I12: %d handles and %d mappings are open after Close", h, m)
	}
	if !report.Verdict.Sound() {
		return fmt.Errorf("I15: false alarm: %v", report)
	}
	return checkTail(before, report)
}

// diffFiles returns the names of files that differ.
func diffFiles(a, b map[string][]byte) string {
	var names []string
	for name := range a {
		if _, ok := b[name]; !ok || !bytes.Equal(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, "new "+name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// checkTail holds a report against the bytes: whatever follows the end is a torn tail, and nothing
// else is.
func checkTail(files map[string][]byte, r *recovery.Report) error {
	end, at := uint64(0), int64(0)
	for _, s := range r.Segments {
		if s.State == recovery.Active || s.Ordinal > end && s.State == recovery.Sealed {
			end, at = s.Ordinal, s.Used
		}
	}
	file, _, err := segment.DecodeJournalFile(files[filepath.Join(modelDir, segment.JournalName)])
	if err == nil && file.StandInOrdinal > end {
		end, at = file.StandInOrdinal, 0
	}
	torn := ""
	for _, s := range parseSegments(files) {
		from := int64(4096)
		switch {
		case s.ordinal < end || s.ordinal == end && s.sealed(at):
			continue
		case s.ordinal == end:
			from = at
		}
		if s.follows(from) {
			torn = fmt.Sprintf("segment %d behind %d", s.ordinal, from)
		}
	}
	isTorn := r.End == recovery.EndTorn
	if isTorn != (torn != "") || isTorn != (r.Tail != nil) {
		return fmt.Errorf("I8: the end is %q, the tail %+v; bytes behind the end: %q\n%v",
			r.End, r.Tail, torn, r)
	}
	return nil
}

// checkIdempotent recovers twice: the second recovery, of what the first has left when the process
// ends, changes no byte.
func (l *life) checkIdempotent() error {
	first, err := l.recoverOnce(l.d.Kill())
	if err != nil {
		return err
	}
	second, err := l.recoverOnce(first.Kill())
	if err != nil {
		return err
	}
	before, after := written(first), written(second)
	if diff := diffFiles(before, after); diff != "" {
		return fmt.Errorf("I5: the second recovery changed %s", diff)
	}
	return nil
}

// recoverOnce opens the journal on the disk for writing, and ends the process.
func (l *life) recoverOnce(d *simdisk.Disk) (*simdisk.Disk, error) {
	j, err := l.openFS(d, l.options())
	if err != nil {
		return nil, fmt.Errorf("I15: open: %w", err)
	}
	left := d.Kill()
	return left, j.Close()
}

// written returns the files, but for prepared segments: those get a new salt when they are met
// again.
func written(d *simdisk.Disk) map[string][]byte {
	files := d.Files()
	for _, s := range parseSegments(files) {
		if !s.follows(4096) {
			delete(files, s.path)
		}
	}
	return files
}
