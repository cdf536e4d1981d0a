//go:build linux

package powercut

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// strictLife is what one process does with a journal on a strict file system. Its marks in the log
// are indexes of allowed.
type strictLife struct {
	fsys    *strictMounted
	dir     string
	number  uint64 // makes payloads unique
	rnd     *rand.Rand
	j       *journal.Journal
	now     strictOutcome // what is published; durable up to lo
	id      string
	allowed []strictAllowed
	appends uint64
}

// strictPath is where the journal is: directories that do not exist at first.
const strictPath = "a/b/journal"

// mark notes in the log what a cut from here on may leave.
func (l *strictLife) mark(op string, outcomes ...strictOutcome) error {
	l.allowed = append(l.allowed, strictAllowed{outcomes: outcomes, id: l.id, op: op})
	return l.fsys.command(strictCommand{Mark: int64(len(l.allowed) - 1)})
}

// do marks that an operation begins, runs it, and marks that it has made the journal what it is.
func (l *strictLife) do(op string, after strictOutcome, f func() error) error {
	if err := l.mark(op, l.now, after); err != nil {
		return err
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	l.now = after
	return l.mark("", l.now)
}

// run runs a life. The journal is left open or closed.
func (l *strictLife) run(steps int) error {
	if err := l.open(); err != nil {
		return err
	}
	for range steps {
		if err := l.step(); err != nil {
			return err
		}
	}
	return nil
}

func (l *strictLife) open() error {
	options := &journal.Options{SegmentSize: journal.MinSegmentSize}
	if l.rnd.IntN(3) == 0 {
		options.Durability = journal.Published
	}
	if err := l.mark("open", l.now); err != nil {
		return err
	}
	j, err := journal.Open(l.fsys.tree(l.dir), options)
	if err != nil {
		return err
	}
	l.j = j
	found, err := findAll(j)
	if err != nil {
		return err
	}
	allowed := strictAllowed{outcomes: []strictOutcome{l.now}, id: l.id}
	if err := allowed.check(found); err != nil {
		return fmt.Errorf("opened: %w", err)
	}
	l.id, l.now = found.id, l.now.durable()
	return l.mark("", l.now)
}

func (l *strictLife) step() error {
	first, last := l.now.first, l.now.last()
	n := last + 1 - first // live records
	switch k := l.rnd.IntN(40); {
	case k < 22:
		return l.append(1)
	case k < 28:
		return l.append(2 + l.rnd.IntN(6))
	case k < 31:
		return l.do("sync", l.now.durable(), func() error { return l.j.Sync(context.Background()) })
	case k < 33 && n > 0:
		to := first + l.rnd.Uint64N(n+1)
		after := l.now
		if to > first { // otherwise it does nothing, and syncs nothing
			after = after.durable()
			after.first = to
		}
		return l.do("truncate front", after, func() error {
			return l.j.TruncateFront(journal.Seq(to))
		})
	case k < 35 && n > 0:
		to := last - l.rnd.Uint64N(min(n, 8)+1)
		after := l.now
		if to < last {
			after = after.cut(to)
		}
		return l.do("truncate back", after, func() error {
			return l.j.TruncateBack(journal.Seq(to))
		})
	case k == 35:
		to := 1 + l.rnd.Uint64N(1000)
		after := strictOutcome{first: to, base: to}
		return l.do("reset", after.durable(), func() error { return l.j.Reset(journal.Seq(to)) })
	case k == 36:
		return l.reopen()
	}
	return l.writeBack()
}

// append appends records of sizes that fill a segment soon.
func (l *strictLife) append(n int) error {
	var ids []uint64
	var payloads [][]byte
	for range n {
		l.appends++
		id := l.number<<32 | l.appends
		ids = append(ids, id)
		size := l.rnd.IntN(64)
		if l.rnd.IntN(3) == 0 {
			size = l.rnd.IntN(9000)
		}
		payloads = append(payloads, strictPayload(id, size))
	}
	if n == 1 && l.rnd.IntN(6) == 0 { // most of a segment
		payloads[0] = strictPayload(ids[0], 60_000)
	}
	after := l.now.appended(ids...)
	var published journal.Durability
	err := l.do("append", after, func() error {
		var err error
		if n == 1 {
			_, err = l.j.Append(payloads[0])
		} else {
			_, err = l.j.AppendBatch(payloads)
		}
		if l.j.Durable() < l.j.Published() {
			published = journal.Published
		}
		return err
	})
	if err == nil && published == journal.Synced {
		l.now = l.now.durable()
		err = l.mark("", l.now)
	}
	return err
}

func (l *strictLife) reopen() error {
	err := l.do("close", l.now.durable(), l.j.Close)
	if err != nil {
		return err
	}
	return l.open()
}

// writeBack has the kernel write some pages back, as it may at any time.
func (l *strictLife) writeBack() error {
	dir := l.fsys.tree(l.dir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, entries[l.rnd.IntN(len(entries))].Name()), os.O_RDWR, 0)
	if err != nil {
		return nil // it is gone
	}
	defer f.Close()
	from := l.rnd.Int64N(journal.MinSegmentSize) &^ 4095
	_ = unix.SyncFileRange(int(f.Fd()), from, 4096,
		unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	return nil
}

// cutOf returns a position in the log where the power is cut: anywhere, or next to a change of a
// directory.
func cutOf(log []strictOp, rnd *rand.Rand) int {
	from := 0
	for log[from].Kind != strictMark { // the first content
		from++
	}
	from++
	var naming []int
	for i := from; i < len(log); i++ {
		if log[i].naming() {
			naming = append(naming, i)
		}
	}
	if len(naming) > 0 && rnd.IntN(3) > 0 {
		return min(len(log), naming[rnd.IntN(len(naming))]+1+rnd.IntN(4))
	}
	return from + rnd.IntN(len(log)-from+1)
}

// markBefore returns the last mark of a log.
func markBefore(log []strictOp) int64 {
	for i := len(log) - 1; i >= 0; i-- {
		if log[i].Kind == strictMark {
			return log[i].Size
		}
	}
	return -1
}
