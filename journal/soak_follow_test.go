package journal_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"mmjournal/journal"
)

// The following process of the soak test: it opens the journal for reading again and again, beside
// writers that come and die, and remembers what it was shown.

// soakView is what the follower knows.
type soakView struct {
	*soakProcess
	r           *rand.Rand
	out         *bufio.Writer // of the reports
	walk        *soakWalk
	sums        map[journal.Seq]uint64 // of what it was shown, from first on
	first, last journal.Seq            // at the last look; 0 before the first one
	durable     journal.Seq            // what was durable then
}

// follow follows until it is killed.
func (p *soakProcess) follow() {
	v := &soakView{
		soakProcess: p, r: p.rand(300), out: bufio.NewWriter(p.reports),
		walk: newSoakWalk(p.Seed, 1), sums: map[journal.Seq]uint64{},
	}
	for n := uint64(1); ; n++ {
		before := v.last
		switch err := v.look(); {
		case errors.Is(err, journal.ErrMoving):
			v.tell(report{kind: moving})
		case errors.Is(err, journal.ErrNotExist) && v.first == 0:
		case err != nil:
			p.fail("follower: %v", err)
		}
		v.tell(report{kind: looked, seq: v.last, n: n})
		if err := v.out.Flush(); err != nil {
			os.Exit(6) // nobody listens any more
		}
		switch {
		case v.last == before:
			time.Sleep(time.Millisecond) // leave the processor to the writers
		case v.r.IntN(8) == 0:
			time.Sleep(time.Duration(v.r.IntN(1e8))) // let retention pass
		}
	}
}

func (v *soakView) tell(r report) {
	_, _ = v.out.Write(r.encode()) // Flush returns the error
}

// look opens the journal and reads what is new, now and then all that is there.
func (v *soakView) look() error {
	j, err := journal.OpenReadOnly(v.Dir, &journal.Options{VerifyOnOpen: v.r.IntN(8) == 0})
	if err != nil {
		return err
	}
	err = errors.Join(v.read(j), j.Close())
	if areas, _ := os.ReadFile("/proc/self/maps"); bytes.Contains(areas, []byte(v.Dir)) {
		err = errors.Join(err, errors.New("a file is mapped after Close"))
	}
	return err
}

// read checks what the journal shows. Nothing of it may fail: what the writer drops meanwhile stays
// readable.
func (v *soakView) read(j *journal.Journal) error {
	first, last := j.First(), j.Last()
	if first < v.first || last < v.last || last+1 < first {
		return fmt.Errorf("records %d to %d, but %d to %d before", first, last, v.first, v.last)
	}
	if j.Durable() < v.durable {
		return fmt.Errorf("durable to %d, but to %d before", j.Durable(), v.durable)
	}
	v.first, v.last, v.durable = first, last, j.Durable()
	for seq := range v.sums {
		if seq < first {
			delete(v.sums, seq)
		}
	}
	if next := v.walk.next; next < first {
		v.tell(report{kind: passed, seq: next - 1, n: uint64(first - 1)})
		v.walk.skip(first)
	}
	from := v.walk.next
	if v.r.IntN(8) == 0 {
		from = first
	}
	for rec, err := range j.Records(from) {
		if err != nil {
			return fmt.Errorf("records from %d: %w", from, err)
		}
		if err := v.shown(rec.Seq, rec.Payload); err != nil {
			return err
		}
	}
	if v.walk.next != last+1 {
		return fmt.Errorf("read up to seq %d, the last is %d", v.walk.next-1, last)
	}
	return errors.Join(v.walk.end(), v.readOne(j))
}

// shown takes a record: a new one, or one that must not have changed.
func (v *soakView) shown(seq journal.Seq, payload []byte) error {
	if seq < v.walk.next {
		if sum := payloadSum(payload); sum != v.sums[seq] {
			return fmt.Errorf("seq %d: it was another record before", seq)
		}
		return nil
	}
	rec, err := v.walk.add(seq, payload)
	if err != nil {
		return err
	}
	v.sums[seq] = rec.sum
	rec.kind = followed
	v.tell(rec)
	return nil
}

// readOne reads a random record in two other ways.
func (v *soakView) readOne(j *journal.Journal) error {
	if v.last < v.first {
		return nil
	}
	seq := v.first + journal.Seq(v.r.IntN(int(v.last-v.first)+1))
	b, err := j.Read(seq, nil)
	if err == nil {
		err = v.shown(seq, b)
	}
	return errors.Join(err, j.View(seq, func(b []byte) error { return v.shown(seq, b) }))
}

// soakFollower is the follower as the parent sees it.
type soakFollower struct {
	c     *child
	at    atomic.Uint64 // the last seq that it was shown; set by listen
	moved chan struct{} // wakes wait

	stopped atomic.Bool   // set by stop
	done    chan struct{} // closed at its end
	err     error         // why it has ended, or nil if it was stopped; set when done is closed
}

func startFollower(a soakArgs, b *soakBook) (*soakFollower, error) {
	a.Follow = true
	c, err := startChild(a.variable())
	if err != nil {
		return nil, err
	}
	f := &soakFollower{c: c, moved: make(chan struct{}, 1), done: make(chan struct{})}
	go f.listen(b)
	return f, nil
}

// listen writes into the book what the follower reports.
func (f *soakFollower) listen(b *soakBook) {
	defer close(f.done)
	var bad error
	for {
		r, err := f.c.next()
		if err != nil {
			break
		}
		if err := b.note(r); err != nil && bad == nil {
			bad = fmt.Errorf("reported by the follower: %w", err)
			f.c.kill()
		}
		if r.kind == looked {
			f.at.Store(uint64(r.seq))
			select {
			case f.moved <- struct{}{}:
			default:
			}
		}
	}
	if status := f.c.end(); bad == nil && (status != killedStatus || !f.stopped.Load()) {
		bad = fmt.Errorf("the follower ended with %s: %s", status, &f.c.stderr)
	}
	f.err = bad
}

// wait waits until the follower has come as far as seq, and returns an error if it ends before: one
// that hangs ends as every child does.
func (f *soakFollower) wait(seq journal.Seq) error {
	for journal.Seq(f.at.Load()) < seq {
		select {
		case <-f.moved:
		case <-f.done:
			return f.err
		}
	}
	return nil
}

// ended returns an error if the follower is gone.
func (f *soakFollower) ended() error {
	select {
	case <-f.done:
		return f.err
	default:
		return nil
	}
}

// stop kills the follower.
func (f *soakFollower) stop() error {
	f.stopped.Store(true)
	f.c.kill()
	<-f.done
	return f.err
}
