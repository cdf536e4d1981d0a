package journal_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// errorScripts run with an error at every operation.
var errorScripts = []string{
	"s: a300 a3000 a3000 a3000 a100",
	"s: a900*10 tb4 a900*3 tf9 a50",
	"s: b3x300 rs4 a300 k a10 k a900",
	"p: a900*4 s a900*8 s tf3 tb1 a900*9 s",
	"p: a900*6 s c a900*4 c c a5 s",
	"p: a900*3 k a900*7 s k tb2 a1 s",
	"p: a10 p2 a900*9 p2 tb1 p2 c a9 p2 c a5 s",
	"p: a3800 c a3900 s c a10 s",
	"p: a3944 c a100 s", // the closing mark ends a page
	"p: a3952 c a100 s", // the next page begins in it
	"p: a3960 c a100 s",
	"p: a3920*2 tf1 c a100 s", // the closing mark needs a segment of its own
	"s: a300*3 d tb1 a300 u a300 s",
	"p: a300*3 d k tf1 u a300 s a300 d k tb1 u a300 s", // JOURNAL stands in for a segment
}

// injection says which operation of a script fails.
type injection struct {
	simdisk.Ops
	op simdisk.Op
}

func (i *injection) String() string {
	return fmt.Sprintf("operation %d (%v) fails: %v, sticky %v", i.FailAt, i.op, i.Err, i.Sticky)
}

// TestModelErrors: every operation fails, once or from then on. Either the journal says so and
// works when the operation does, or it has failed for ever; neither breaks a promise, and none is
// made that does not hold after a power cut.
func TestModelErrors(t *testing.T) {
	modelSetup(t)
	var all tally
	stride := int(torture.Count(7, 7, 1))
	if raceEnabled {
		stride = 7
	}
	c := torture.Start(t, "an error at operation k, then crashes",
		int64(modelStates(t, 130_000)))
	for n, text := range errorScripts {
		all.errors(c, text, uint64(n), stride)
	}
	for seed := uint64(1000); c.Left() && all.violations == 0; seed++ {
		r := newRand(seed)
		text := "sp"[seed%2:seed%2+1] + ": " + randomScript(r, 3+r.IntN(8))
		all.errors(c, text, seed, 3)
	}
	c.Note("%d scripts", all.walks)
}

// errors runs a script once for each kind of error and every stride-th operation.
func (s *tally) errors(c *torture.Counter, text string, seed uint64, stride int) {
	w := newWalk(text, seed, 0, simdisk.Options{Torn: seed%2 == 1})
	w.segment = 12 << 10
	w.opts.Coarse = simdisk.IsTemporary
	for k, op := range w.operations() {
		if op.Kind == simdisk.OpStore || (k+int(seed))%stride != 0 || w.done() {
			continue
		}
		kinds := []error{syscall.EIO, syscall.ENOSPC, syscall.EINTR}
		if op.Kind == simdisk.OpRead || op.Kind == simdisk.OpWrite {
			kinds = append(kinds, fmt.Errorf("%w: %w", simdisk.ErrHalf, syscall.ENOSPC))
		}
		for _, err := range kinds {
			for _, sticky := range []bool{false, true} {
				w.inject(&injection{simdisk.Ops{FailAt: k, Sticky: sticky, Err: err}, op})
			}
		}
	}
	s.add(c.Violation, w)
	c.Add(int64(w.total()))
}

// operations returns the operations that the script makes when none fails.
func (w *walk) operations() (ops []simdisk.Op) {
	i := &injection{Ops: simdisk.Ops{FailAt: -1}}
	l := &errorLife{life: *w.first(nil), i: i}
	l.d.OnOp = func(op simdisk.Op) error {
		ops = append(ops, op)
		return l.lacks(op)
	}
	if err := l.script(parseScript(w.text)); err != nil {
		w.violation(&l.life, err)
	}
	return ops
}

// inject runs the script with an error, and crashes what is left at its end.
func (w *walk) inject(i *injection) {
	l := &errorLife{life: *w.first(nil), i: i}
	l.story = " " + i.String()
	l.d.OnOp = func(op simdisk.Op) error { return cmp.Or(i.Hook(op), l.lacks(op)) }
	if err := l.script(parseScript(w.text)); err != nil {
		w.violation(&l.life, err)
		return
	}
	l.d.OnOp = nil
	p := l.d.Pending()
	end := simdisk.Op{Kind: simdisk.OpClose, Path: "the end"}
	for c := range p.Choices(6, w.seed) {
		w.live(&l.life, p.Crash(c), l.or.afterCrash(), end, c.String())
	}
	w.live(&l.life, l.d.Kill(), clone(l.or), end, "kill")
	w.evict(&l.life)
}

// live opens what is left, appends, syncs, and cuts the power.
func (w *walk) live(l *life, d *simdisk.Disk, or *oracle, op simdisk.Op, how string) {
	next := w.nextLife(l, d, or, fmt.Sprintf("at %v %s", op, how))
	w.goOn(next, next.open())
}

// nextLife returns the life after l, on the disk d, not opened yet.
func (w *walk) nextLife(l *life, d *simdisk.Disk, or *oracle, how string) *life {
	w.states[1]++
	return &life{w: w, d: d, or: or, depth: 2, verify: w.states[1]%2 == 0,
		story: l.story + ", " + how}
}

// goOn appends to what a life has opened, if it could, syncs, and cuts the power.
func (w *walk) goOn(next *life, err error) {
	for _, s := range parseScript("a700 s a3000 s") {
		if err == nil {
			err = next.do(s)
		}
	}
	if err != nil {
		w.violation(next, err)
		return
	}
	p := next.d.Pending()
	for c := range p.Choices(8, w.seed) {
		w.states[2]++
		last := &life{w: w, d: p.Crash(c), or: next.or.afterCrash(), depth: 3, verify: true,
			story: fmt.Sprintf("%s, after two more records %v", next.story, c)}
		last.run(nil)
	}
	if err := next.j.Close(); err != nil {
		w.violation(next, err)
	}
}

// errorLife is a life in which an operation fails.
type errorLife struct {
	life
	i      *injection
	failed error // what the journal says since it has failed
}

// script opens, runs the steps, and closes, whatever fails. It returns violations.
func (l *errorLife) script(steps []step) error {
	if err := l.reopen(); err != nil {
		return err
	}
	for _, s := range steps {
		if err := l.step(s); err != nil {
			return fmt.Errorf("step %+v: %w", s, err)
		}
		if l.failed != nil {
			break
		}
	}
	return l.end()
}

// step does one step; if it fails without making the journal fail, nothing has changed, and it
// works when the operation does.
func (l *errorLife) step(s step) error {
	switch s.op {
	case "c":
		if err := l.end(); err != nil {
			return err
		}
		return l.reopen()
	case "k":
		hook := l.d.OnOp
		l.kill()
		l.d.OnOp = hook
		return l.reopen()
	}
	before := l.or.now()
	err := l.do(s)
	if err == nil {
		return nil
	}
	if !errors.Is(err, l.i.Err) {
		return fmt.Errorf("I9: not what was injected: %w", err)
	}
	if errors.Is(err, journal.ErrFailed) {
		l.failed = err
		return l.checkFailed()
	}
	l.or.begin(before)
	if first, last := l.j.First(), l.j.Last(); first != before.first || last+1 != before.next() {
		return fmt.Errorf("I9: %v was %v, but now it is %d to %d", err, before, first, last)
	}
	l.d.OnOp = l.lacks
	if err := l.do(s); err != nil {
		return fmt.Errorf("I9: does not work although the disk does: %w", err)
	}
	return nil
}

// checkFailed: a journal that has failed acknowledges nothing and says the same for ever, although
// the disk works again.
func (l *errorLife) checkFailed() error {
	l.d.OnOp = l.lacks
	durable := l.j.Durable()
	l.or.begin(l.or.now().with([]byte("late")))
	_, appendErr := l.j.Append([]byte("late"))
	for _, err := range []error{
		appendErr, l.j.Sync(context.Background()), l.j.TruncateFront(l.j.First()),
		l.j.TruncateBack(l.j.Last()), l.j.Reset(9),
	} {
		if !errors.Is(err, journal.ErrFailed) || !errors.Is(err, l.i.Err) {
			return fmt.Errorf("I9: failed with %v, but then: %w", l.failed, err)
		}
	}
	if l.j.Durable() != durable {
		return fmt.Errorf("I9: failed, but durable went from %d to %d", durable, l.j.Durable())
	}
	l.or.watermark(durable)
	return nil
}

// end closes the journal. That may fail; it leaks nothing, and what was published is there at the
// next open.
func (l *errorLife) end() error {
	quiet := journal.Quiet(l.j)
	err := l.j.Close()
	if err == nil {
		l.or.promise(true)
		err = l.checkClosed(quiet)
	}
	if err != nil && !errors.Is(err, l.i.Err) {
		return fmt.Errorf("I9: close: %w", err)
	}
	return l.checkLeaks()
}

func (l *life) checkLeaks() error {
	if h, m := l.d.Leaks(); h != 0 || m != 0 {
		return fmt.Errorf("I12: %d handles and %d mappings are left", h, m)
	}
	return nil
}

// reopen opens the journal: at the first attempt, or, if an operation fails, when it works.
func (l *errorLife) reopen() error {
	l.failed = nil
	err := l.open()
	if err == nil || !errors.Is(err, l.i.Err) {
		return err
	}
	if errors.Is(err, journal.ErrCorrupt) {
		return fmt.Errorf("I9: an I/O error is taken for corruption: %w", err)
	}
	if err := l.checkLeaks(); err != nil {
		return err
	}
	l.d.OnOp = l.lacks
	return l.open()
}
