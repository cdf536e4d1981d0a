//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// strictLife is what one process does with a journal on a strict file system. A mark in the log is
// the number of a line in its file of what a cut may leave.
type strictLife struct {
	lifeConfig
	rnd     *rand.Rand
	j       *journal.Journal
	now     strictOutcome // what is published; durable up to lo
	appends uint64
	full    bool // the file system has no space for files
	marks   int64
	control *os.File
	notes   *json.Encoder
}

// lifeConfig is what the process is told.
type lifeConfig struct {
	Tree, Control string
	Log           string // the file system's, to know when to die
	Notes         string // the file that gets a strictAllowed for each mark
	Marks         int64  // how many are in it
	Dir           string // the journal's, in the tree
	Number, Seed  uint64 // the number makes payloads unique
	ID            string // the journal's, if it is known
	Steps         int
	KillAt        int64           // die when the log has so many bytes; 0: never
	Start, Seen   []strictOutcome // what a cut may leave, and what Open must find
}

// strictPath is where the journal is: directories that do not exist at first.
const strictPath = "a/b/journal"

// lifeJob lives a life. The argument is the file of the configuration.
func lifeJob(_, arg string) (jobRun, error) {
	text, err := os.ReadFile(arg)
	if err != nil {
		return nil, err
	}
	l := &strictLife{}
	if err := json.Unmarshal(text, &l.lifeConfig); err != nil {
		return nil, err
	}
	l.rnd, l.marks = strictRand(l.Seed, l.Number), l.Marks
	if l.control, err = os.OpenFile(l.Control, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	notes, err := os.OpenFile(l.Notes, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l.notes = json.NewEncoder(notes)
	if l.KillAt > 0 {
		go l.die()
	}
	return func(uint64) (string, error) { return "", l.run() }, nil
}

// die kills the process when the log is long enough.
func (l *strictLife) die() {
	for {
		if fi, err := os.Stat(l.Log); err == nil && fi.Size() >= l.KillAt {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// mark notes in the log what a cut from here on may leave.
func (l *strictLife) mark(op string, outcomes ...strictOutcome) error {
	err := l.notes.Encode(strictAllowed{Outcomes: outcomes, ID: l.ID, Op: op})
	if err == nil {
		var text []byte
		if text, err = json.Marshal(strictCommand{Mark: l.marks}); err == nil {
			_, err = l.control.Write(text)
		}
	}
	l.marks++
	return err
}

// do marks that an operation begins, runs it, and marks that it has made the journal what it is. On
// a full file system an append may change nothing.
func (l *strictLife) do(op string, after strictOutcome, f func() error) error {
	if err := l.mark(op, l.now, after); err != nil {
		return err
	}
	switch err := f(); {
	case err == nil:
		l.now = after
	case !l.full || op != "append" || !errors.Is(err, journal.ErrNoSpace):
		return fmt.Errorf("%s: %w", op, err)
	}
	return l.mark("", l.now)
}

// run runs the life. The journal is left open or closed.
func (l *strictLife) run() error {
	if err := l.someDirectories(); err != nil {
		return err
	}
	if err := l.open(l.Start, l.Seen); err != nil {
		return err
	}
	if err := l.fill(false); err != nil { // a process that was killed may have left it full
		return err
	}
	for range l.Steps {
		if err := l.step(); err != nil {
			return err
		}
	}
	if l.rnd.IntN(2) == 0 {
		return l.do("close", l.now.durable(), l.j.Close)
	}
	return nil
}

// someDirectories makes directories above the journal, or its own, as another program or an Open
// that has died may have left them: nobody has synced their names.
func (l *strictLife) someDirectories() error {
	if err := l.mark("mkdir", l.Start...); err != nil {
		return err
	}
	dir := l.Dir
	for n := l.rnd.IntN(5); n > 0 && dir != "."; n-- {
		dir = filepath.Dir(dir)
	}
	return os.MkdirAll(filepath.Join(l.Tree, dir), 0o700)
}

// open opens the journal, which must show one of the outcomes in seen.
func (l *strictLife) open(start, seen []strictOutcome) error {
	options := &journal.Options{SegmentSize: journal.MinSegmentSize}
	if l.rnd.IntN(3) == 0 {
		options.Durability = journal.Published
	}
	if err := l.mark("open", start...); err != nil {
		return err
	}
	j, err := journal.Open(filepath.Join(l.Tree, l.Dir), options)
	if err != nil {
		return err
	}
	l.j = j
	found, err := findAll(j)
	if err != nil {
		return err
	}
	if err := (&strictAllowed{Outcomes: seen, ID: l.ID}).check(found); err != nil {
		return fmt.Errorf("opened: %w", err)
	}
	l.ID, l.now = found.id, found.outcome()
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
	case k == 37:
		return l.fill(!l.full)
	}
	return l.writeBack()
}

// append appends records of sizes that fill a segment soon.
func (l *strictLife) append(n int) error {
	var ids []uint64
	var payloads [][]byte
	for range n {
		l.appends++
		id := l.Number<<32 | l.appends
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

// fill says whether the file system has space for files. On a full one all but appends succeeds.
func (l *strictLife) fill(full bool) error {
	text, err := json.Marshal(strictCommand{Full: map[bool]string{true: "yes", false: "no"}[full]})
	if err != nil {
		return err
	}
	l.full = full
	_, err = l.control.Write(text)
	return err
}

func (l *strictLife) reopen() error {
	err := l.do("close", l.now.durable(), l.j.Close)
	if err != nil {
		return err
	}
	now := []strictOutcome{l.now}
	return l.open(now, now)
}

// writeBack has the kernel write some pages back, as it may at any time.
func (l *strictLife) writeBack() error {
	dir := filepath.Join(l.Tree, l.Dir)
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
