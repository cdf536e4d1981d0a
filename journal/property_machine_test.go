package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"pgregory.net/rapid"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// machine is a life after the other, with a model beside: a state machine for rapid.
type machine struct {
	life
	sum    *historyTally
	failed error        // what the journal says since it has failed
	ops    *simdisk.Ops // an operation that is to fail; nil: none
	inject error        // how
	hurt   bool         // an operation has failed on this disk
	gone   uint64       // the disk's generation since the journal has failed with ErrReplaced
	beside map[string]string
	reader *journal.Journal
	shown  image // what the reader shows
}

// must fails the history if err is not nil: it is a violation.
func (m *machine) must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// level draws how the next life opens the journal.
func (m *machine) level(t *rapid.T) {
	m.w.durability = modes.Draw(t, "durability")
	m.verify = rapid.Bool().Draw(t, "verify")
}

// open is life.open, but for a ticker that never ticks, and an operation that may fail.
func (m *machine) open() error {
	o := m.options()
	o.SyncInterval = 1000 * time.Hour
	j, err := m.openFS(m.d, o)
	if err != nil && m.broke(err) {
		if errors.Is(err, journal.ErrCorrupt) {
			return fmt.Errorf("I9: an I/O error is taken for corruption: %w", err)
		}
		if h, n := m.d.Leaks(); h != 0 || n != 0 {
			return fmt.Errorf("I12: %d handles and %d mappings are open after a failed Open", h, n)
		}
		m.sum.retries++
		m.disarm()
		j, err = m.openFS(m.d, o)
	}
	if err != nil {
		return fmt.Errorf("I15: open: %w (%T)", err, err)
	}
	m.sum.lives++
	m.j, m.failed = j, nil
	got, err := readAll(j)
	if err != nil {
		return fmt.Errorf("I1: read: %w", err)
	}
	if broken := m.or.judge(got); broken != "" {
		return errors.New(broken)
	}
	if d := j.Durable(); d != got.next()-1 || j.Last() != d {
		return fmt.Errorf("I11: shows %v, durable %d, last %d", got, d, j.Last())
	}
	m.or.adopt(got)
	return nil
}

// broke reports whether err comes from the operation that was to fail.
func (m *machine) broke(err error) bool { return m.ops != nil && errors.Is(err, m.inject) }

// arm lets one of the next operations fail: once, or all of its kind from then on.
func (m *machine) arm(t *rapid.T) {
	if m.ops != nil || m.failed != nil {
		t.Skip()
	}
	m.inject = kinds.Draw(t, "error")
	m.ops = &simdisk.Ops{
		FailAt: rapid.IntRange(0, 25).Draw(t, "operation"), Err: m.inject,
		Sticky: rapid.Bool().Draw(t, "sticky"),
	}
	replaced := errors.Is(m.inject, journal.ErrReplaced)
	if replaced { // that does not pass, and is looked for less often
		m.ops.FailAt, m.ops.Sticky = m.ops.FailAt/5, true
	}
	m.d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpStore || m.ops == nil {
			return nil
		}
		err := m.ops.Hook(op)
		m.hurt = m.hurt || err != nil && !replaced
		return err
	}
}

func (m *machine) disarm() { m.d.OnOp, m.ops = nil, nil }

// step does a step. Where an operation fails, either nothing has changed, and the step works when
// the operation does, or the journal has failed for ever.
func (m *machine) step(t *rapid.T, s step) {
	m.sum.steps++
	if m.failed != nil {
		m.refused(t)
		return
	}
	begun, before := len(m.or.images), m.or.now()
	err := m.do(s)
	switch {
	case err == nil:
		return
	case !m.broke(err):
		t.Fatalf("step %+v: %v", s, err)
	case errors.Is(err, journal.ErrFailed):
		m.sum.failures++
		m.failed, m.gone = err, m.d.Generation()
		m.disarm()
		return
	}
	m.sum.retries++
	m.or.images = m.or.images[:begun]
	if first, next := m.j.First(), m.j.Last()+1; first != before.first || next != before.next() {
		t.Fatalf("I9: step %+v: %v, but %v is now %d to %d", s, err, before, first, next-1)
	}
	m.disarm()
	if err := m.do(s); err != nil {
		t.Fatalf("I9: step %+v does not work although the disk does: %v", s, err)
	}
}

// refused: a journal that has failed acknowledges nothing and says the same for ever, although the
// disk works again.
func (m *machine) refused(t *rapid.T) {
	durable := m.j.Durable()
	_, appendErr := m.j.Append([]byte("late"))
	_, batchErr := m.j.AppendBatch([][]byte{[]byte("late"), []byte("too late")})
	for _, err := range []error{
		appendErr, batchErr, m.j.Sync(context.Background()), m.j.TruncateFront(m.j.First()),
		m.j.TruncateBack(m.j.Last()), m.j.Reset(9),
	} {
		if !errors.Is(err, journal.ErrFailed) || !errors.Is(err, m.inject) {
			t.Fatalf("I9: failed with %v, but then: %v", m.failed, err)
		}
	}
	if m.j.Durable() != durable {
		t.Fatalf("I9: failed, but durable went from %d to %d", durable, m.j.Durable())
	}
	m.or.watermark(durable)
	m.must(t, m.untouched())
}

// untouched returns an error if a journal that has lost its directory still writes.
func (m *machine) untouched() error {
	if errors.Is(m.failed, journal.ErrReplaced) && m.d.Generation() != m.gone {
		return errors.New("I16: the directory is another journal's, and something was written there")
	}
	return nil
}

// check holds everything that can be read against the model.
func (m *machine) check(t *rapid.T) {
	got, err := readAll(m.j)
	m.must(t, err)
	switch now := m.or.now(); {
	case m.failed != nil:
		if broken := m.or.judge(got); broken != "" {
			t.Fatalf("failed journal: %s", broken)
		}
	case !got.equal(now):
		t.Fatalf("I2: holds %v, want %v: %s", got, now, m.or.judge(got))
	}
	if d, p := m.j.Durable(), m.j.Published(); d > p {
		t.Fatalf("durable %d, published %d", d, p)
	}
	if m.reader != nil {
		got, err := readAll(m.reader)
		m.must(t, err)
		if !got.equal(m.shown) {
			t.Fatalf("I2: a reader beside shows %v, and has shown %v", got, m.shown)
		}
	}
}

func (m *machine) append(t *rapid.T) { m.step(t, step{op: "a", n: sizes.Draw(t, "size")}) }

// appendExact leaves a given room in the segment, if there is more.
func (m *machine) appendExact(t *rapid.T) {
	m.step(t, step{op: "e", n: rooms.Draw(t, "room")})
}

func (m *machine) appendBatch(t *rapid.T) {
	m.step(t, step{op: "b", k: rapid.IntRange(1, 5).Draw(t, "records"),
		n: rapid.IntRange(0, 600).Draw(t, "size")})
}

// appendFunc appends with a function that works, fails, panics or ends its goroutine.
func (m *machine) appendFunc(t *rapid.T) {
	n := sizes.Draw(t, "size")
	hows := []string{"works", "fails", "panics", "exits"}
	switch how := rapid.SampledFrom(hows).Draw(t, "how"); {
	case how == "works":
		m.step(t, step{op: "f", n: n})
	case how == "fails" || m.ops != nil || m.failed != nil:
		m.step(t, step{op: "x", n: n})
	case how == "panics":
		m.must(t, m.panics(n))
	default:
		m.must(t, m.exits(n))
	}
}

// exits appends with a function that ends its goroutine: nothing is appended.
func (m *machine) exits(n int) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err = m.j.AppendFunc(n, func(dst []byte) error {
			copy(dst, m.or.payload(n))
			runtime.Goexit()
			return nil
		})
		err = fmt.Errorf("AppendFunc returned %w though its goroutine has ended", err)
	}()
	<-done
	return err
}

// panics appends with a function that panics: nothing is appended, and the panic arrives.
func (m *machine) panics(n int) (err error) {
	defer func() {
		if r := recover(); r != "mine" {
			err = fmt.Errorf("recovered %v", r)
		}
	}()
	_, err = m.j.AppendFunc(n, func(dst []byte) error {
		copy(dst, m.or.payload(n))
		panic("mine")
	})
	return fmt.Errorf("a panicking AppendFunc returned %w", err)
}

// retention drops all but a few records, and fills some segments: their files are those of segments
// that were dropped, if appends wait for a sync.
func (m *machine) retention(t *rapid.T) {
	keep := few.Draw(t, "keep")
	m.step(t, step{op: "tf", n: max(len(m.or.now().recs)-keep, 0)})
	for range few.Draw(t, "records") {
		m.step(t, step{op: "a", n: 2000 + sizes.Draw(t, "size")/4})
	}
}

func (m *machine) tooLarge(t *rapid.T) {
	n := int(journal.MaxRecord(modelSegment)) + 1 + few.Draw(t, "more")
	_, err := m.j.Append(make([]byte, n))
	_, batchErr := m.j.AppendBatch([][]byte{make([]byte, n/2), make([]byte, n/2)})
	if !errors.Is(err, journal.ErrTooLarge) || !errors.Is(batchErr, journal.ErrTooLarge) {
		t.Fatalf("too large: %v, %v", err, batchErr)
	}
}

// waitDurable waits for a record, which may not be there.
func (m *machine) waitDurable(t *rapid.T) {
	if m.failed != nil || m.ops != nil {
		t.Skip()
	}
	seq := m.j.Last() - min(m.j.Last(), 5) + journal.Seq(few.Draw(t, "seq"))
	err := m.j.WaitDurable(context.Background(), seq)
	switch {
	case seq > m.j.Last():
		if !errors.Is(err, journal.ErrNotFound) {
			t.Fatalf("wait for %d of %d: %v", seq, m.j.Last(), err)
		}
	case err != nil || m.j.Durable() < seq:
		t.Fatalf("wait for %d: %v, durable %d", seq, err, m.j.Durable())
	}
	m.or.watermark(m.j.Durable())
}

// read reads one record in every way, and one that is not there.
func (m *machine) read(t *rapid.T) {
	seq := m.j.First() - min(m.j.First(), 2) + journal.Seq(rapid.IntRange(0, 300).Draw(t, "seq"))
	got, err := m.j.Read(seq, nil)
	var viewed, walked []byte
	viewErr := m.j.View(seq, func(p []byte) error { viewed = bytes.Clone(p); return nil })
	for rec, err := range m.j.Records(max(seq, 1)) {
		if err == nil && rec.Seq == seq {
			walked = bytes.Clone(rec.Payload)
		}
		break
	}
	want, ok := m.or.now().get(seq)
	switch {
	case m.failed != nil:
	case !ok:
		if !errors.Is(err, journal.ErrNotFound) || !errors.Is(viewErr, journal.ErrNotFound) {
			t.Fatalf("read %d of %v: %v, %v", seq, m.or.now(), err, viewErr)
		}
	case errors.Join(err, viewErr) != nil:
		t.Fatalf("read %d: %v, %v", seq, err, viewErr)
	case !bytes.Equal(got, want) || !bytes.Equal(viewed, want) || !bytes.Equal(walked, want):
		t.Fatalf("I1: seq %d is %x, viewed %x, walked %x, want %x", seq, got, viewed, walked, want)
	}
}

// outOfRange truncates where there is nothing.
func (m *machine) outOfRange(t *rapid.T) {
	more := journal.Seq(2 + few.Draw(t, "more"))
	for _, err := range []error{
		m.j.TruncateFront(m.j.Last() + more), m.j.TruncateBack(m.j.Last() + more - 1),
		m.j.TruncateFront(0), m.j.Reset(0), beyondRecords(m.j, m.j.Last()+more),
		second(m.j.Read(m.j.Last()+more-1, nil)),
		m.j.View(m.j.Last()+more-1, func([]byte) error { return nil }),
	} {
		switch {
		case err == nil:
			t.Fatalf("a call out of range, or a reset to 0, returned nil")
		case m.failed == nil && m.broke(err) && errors.Is(err, journal.ErrFailed): // it was replaced
			m.failed, m.gone = err, m.d.Generation()
		}
	}
	if m.failed != nil {
		m.disarm()
	}
}
