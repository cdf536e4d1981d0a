package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"mmjournal/journal"
)

// The writing process of the soak test.

const soakEnv = "MMJOURNAL_TEST_SOAK" // the child's soakArgs

const (
	soakReaders = 4
	soakBytes   = 2 << 20 // retention drops records above this, too
)

// soakArgs is what a child is to do.
type soakArgs struct {
	Dir        string
	Beside     string // another journal, in a directory of the same name
	Seed       uint64
	Life       uint32
	Durability journal.Durability
	Segment    int64
	Keep       int // records that retention leaves, at most
	Close      int // after that many acknowledged appends; 0: never
	Follow     bool
}

func (a soakArgs) variable() string {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return soakEnv + "=" + string(text)
}

// soakProcess is a child.
type soakProcess struct {
	soakArgs
	j       *journal.Journal
	reports *os.File
	begun   [soakWriters]atomic.Uint64 // what each writer has begun: records below; set by it alone
	acked   atomic.Int64               // appends
	enough  chan struct{}              // closed when it is time to close
	closing atomic.Bool                // set before Close
	retain  chan struct{}              // wakes retention
}

// soakChild appends, reads and drops records until it is killed, or closes the journal when it has
// appended enough.
func soakChild(args string) int {
	p := &soakProcess{
		reports: os.NewFile(3, "reports"), enough: make(chan struct{}), retain: make(chan struct{}, 1),
	}
	if err := json.Unmarshal([]byte(args), &p.soakArgs); err != nil {
		p.fail("%v", err)
	}
	if p.Follow {
		p.follow()
	}
	p.report(report{kind: beginning})
	var err error
	p.j, err = p.open()
	if err != nil {
		p.fail("%v", err)
	}
	if p.Life%2 == 0 { // then groups are moved while a sync is under way
		journal.SetLeastAhead(p.j, 512)
	}
	p.report(report{kind: opened, seq: p.j.Last(), n: uint64(p.j.First())})
	var writers, others sync.WaitGroup
	for writer := range uint32(soakWriters) {
		writers.Go(func() { p.write(author{p.Life, writer}) })
	}
	for reader := range soakReaders {
		others.Go(func() { p.read(p.rand(100 + reader)) })
	}
	others.Go(func() { p.drop(p.rand(200)) })
	<-p.enough
	p.closing.Store(true)
	p.report(report{kind: closing})
	if err := p.j.Close(); err != nil {
		p.fail("close: %v", err)
	}
	p.report(report{kind: closed})
	writers.Wait()
	close(p.retain)
	others.Wait()
	return 0
}

// open opens the journal by a relative path, and then goes to where another journal has that path.
func (p *soakProcess) open() (*journal.Journal, error) {
	if err := os.Chdir(filepath.Dir(p.Dir)); err != nil {
		return nil, err
	}
	j, err := journal.Open(filepath.Base(p.Dir), journal.Applicable(journal.Options{
		Spares: 2, SegmentSize: p.Segment, Durability: p.Durability, SyncInterval: 1e6,
	}))
	if err != nil {
		return nil, err
	}
	return j, os.Chdir(filepath.Dir(p.Beside))
}

// rand returns a goroutine's own random numbers.
func (p *soakProcess) rand(goroutine int) *rand.Rand {
	return rand.New(rand.NewPCG(p.Seed<<32|uint64(p.Life), uint64(goroutine)))
}

// report returns when the pipe has taken it: what the process reports, it cannot take back.
func (p *soakProcess) report(r report) {
	if _, err := p.reports.Write(r.encode()); err != nil {
		os.Exit(6) // nobody listens any more
	}
}

// fail ends the process; the parent prints what it has said.
func (p *soakProcess) fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "child: %s\n", fmt.Sprintf(format, args...))
	os.Exit(7)
}

// write appends, and reports what has returned.
func (p *soakProcess) write(who author) {
	batch := soakBatch(who.writer)
	for n := uint64(0); ; n += batch {
		payloads := make([][]byte, batch)
		for i := range payloads {
			payloads[i] = soakPayload(p.Seed, who, n+uint64(i))
		}
		p.begun[who.writer].Store(n + batch)
		seq, err := p.append(payloads, who.writer, n)
		if errors.Is(err, journal.ErrClosed) && p.closing.Load() {
			return
		}
		if err != nil {
			p.fail("append: %v", err)
		}
		for i, b := range payloads {
			p.report(report{acknowledged, who, n + uint64(i), seq + journal.Seq(i), payloadSum(b)})
		}
		select {
		case p.retain <- struct{}{}:
		default:
		}
		if p.acked.Add(1) == int64(p.Close) {
			close(p.enough)
		}
	}
}

// append appends in the writer's way. Writer 4 fails within AppendFunc now and then, with other
// bytes half-way in: nobody must ever see those.
func (p *soakProcess) append(payloads [][]byte, writer uint32, n uint64) (journal.Seq, error) {
	b := payloads[0]
	switch {
	case len(payloads) > 1:
		return p.j.AppendBatch(payloads)
	case writer == 4 && n%8 == 0:
		errNo := errors.New("no")
		_, err := p.j.AppendFunc(len(b), func(dst []byte) error {
			copy(dst, "not a record")
			return errNo
		})
		if err != nil && !errors.Is(err, errNo) {
			return 0, err
		}
		fallthrough
	case writer >= 3:
		return p.j.AppendFunc(len(b), func(dst []byte) error { copy(dst, b); return nil })
	}
	return p.j.Append(b)
}

// drop is the retention: it drops old records whenever there are too many.
func (p *soakProcess) drop(r *rand.Rand) {
	for range p.retain {
		first, last := p.j.First(), p.j.Last()
		n := int(last + 1 - first)
		if n <= p.Keep && p.j.Stats().UsedBytes <= soakBytes {
			continue
		}
		first += journal.Seq(n/2 + r.IntN(n/2+1))
		beyond := r.IntN(16) == 0
		if beyond {
			first = last + 1 + journal.Seq(r.IntN(3))
		}
		p.report(report{kind: truncating, seq: first})
		err := p.j.TruncateFront(first)
		if beyond && errors.Is(err, journal.ErrNotFound) {
			first, err = p.j.First(), nil
		}
		if errors.Is(err, journal.ErrClosed) && p.closing.Load() {
			continue
		}
		if err == nil && p.j.First() != first {
			err = fmt.Errorf("first is %d", p.j.First())
		}
		if err != nil {
			p.fail("truncate front to %d: %v", first, err)
		}
		p.report(report{kind: truncated, seq: first})
	}
}

// read reads from random places in every way, and reports the last record that it was shown: it
// survives whatever becomes of this process.
func (p *soakProcess) read(r *rand.Rand) {
	for {
		first, last := p.j.First(), p.j.Last()
		from := first + journal.Seq(r.IntN(int(last-first)+2)) // up to last+1
		switch r.IntN(8) {
		case 0, 1:
			from = max(first, last-min(last, 20))
		case 2: // the writers may come there in between
			from = last + journal.Seq(r.IntN(4))
		}
		next, latest, err := from, report{}, error(nil)
		switch r.IntN(4) {
		case 0:
			latest, err = p.readOne(from)
		case 1:
			err = p.j.View(from, func(b []byte) error {
				latest, err = p.shown(newSoakWalk(p.Seed, from), from, b)
				return err
			})
		default:
			next, latest, err = p.readMany(from, r.IntN(1000))
		}
		switch {
		case errors.Is(err, journal.ErrClosed) && p.closing.Load():
			return
		case errors.Is(err, journal.ErrNotFound) && (next < p.j.First() || next > last):
		case err != nil:
			p.fail("read from %d, at %d: %v", from, next, err)
		case latest.seq > 0:
			p.report(latest)
		}
	}
}

func (p *soakProcess) readOne(seq journal.Seq) (report, error) {
	b, err := p.j.Read(seq, nil)
	if err != nil {
		return report{}, err
	}
	return p.shown(newSoakWalk(p.Seed, seq), seq, b)
}

// readMany returns where it has come, and the last record that it was shown.
func (p *soakProcess) readMany(
	from journal.Seq, most int,
) (next journal.Seq, latest report, err error) {
	w := newSoakWalk(p.Seed, from)
	for rec, err := range p.j.Records(from) {
		if err == nil && most == 0 {
			return w.next, latest, nil
		}
		most--
		if err == nil {
			latest, err = p.shown(w, rec.Seq, rec.Payload)
		}
		if err != nil {
			return w.next, latest, err
		}
	}
	return w.next, latest, w.end()
}

// shown checks a record; one of this life must have been begun.
func (p *soakProcess) shown(w *soakWalk, seq journal.Seq, payload []byte) (report, error) {
	rec, err := w.add(seq, payload)
	if err == nil && (rec.life > p.Life ||
		rec.life == p.Life && rec.n >= p.begun[rec.writer].Load()) {
		err = fmt.Errorf("seq %d: record %d of %+v has not been begun", seq, rec.n, rec.author)
	}
	return rec, err
}
