//go:build linux

package powercut

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// sigbusWorld is where the cases of a process run.
type sigbusWorld struct {
	homes  map[string]string
	strict *strictMounted
	names  []string
	n      int
}

// sigbusCase is one call on one journal with one fault.
type sigbusCase struct {
	world    *sigbusWorld
	dir      string
	options  journal.Options
	j        *journal.Journal
	now      strictOutcome      // what is published
	other    *strictOutcome     // what it may be instead
	last     uint64             // at first
	segments []recovery.Segment // with records, at first
	fault    *sigbusFault
	ordinal  uint64 // of the segment that is hit
	isHit    bool
	atHit    journal.Seq // what was durable then
	closed   bool
	ids      uint64
	loose    bool // behind the records of now there are others, whose order nobody knows,
	unknown  int  // so many at least
}

// errSigbus is a violation that sigbusTyped must not take for an error of the journal.
var errSigbus = errors.New("wrong")

// sigbusTyped reports whether an error says what a caller can act on.
func sigbusTyped(err error) bool {
	if errors.Is(err, errSigbus) {
		return false
	}
	for _, target := range []error{
		journal.ErrFault, journal.ErrCorrupt, journal.ErrFailed, journal.ErrNoSpace,
		syscall.EIO, syscall.ENOSPC,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func sigbusJob(dir, _ string) (jobRun, error) {
	w := &sigbusWorld{homes: map[string]string{}, names: sigbusNames()}
	for _, home := range []string{"plain", "strict", "full"} {
		w.homes[home] = filepath.Join(dir, home+fmt.Sprint(os.Getpid()))
		if err := os.Mkdir(w.homes[home], 0o700); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount("tmpfs", w.homes["full"], "tmpfs", 0, "size=1m"); err != nil {
		return nil, skipJob("mount tmpfs: %v", err)
	}
	m, err := mountStrict(strictConfig{Mount: w.homes["strict"]})
	if err != nil {
		return nil, err
	}
	w.strict, w.homes["strict"] = m, m.tree()
	return w.run, nil
}

// run runs the case of a seed.
func (w *sigbusWorld) run(seed uint64) (note string, err error) {
	all := len(w.names) * len(sigbusFaults)
	n, round := int(seed-1)%all, int(seed-1)/all
	name, fault := w.names[n%len(w.names)], sigbusFaults[n/len(w.names)]
	w.n++
	c := &sigbusCase{
		world: w, fault: fault, dir: filepath.Join(w.homes[fault.home], fmt.Sprint(w.n)),
		now: strictOutcome{first: 1, base: 1},
		options: journal.Options{
			SegmentSize: journal.MinSegmentSize, Durability: journal.Durability((n + round) % 3),
		},
	}
	if c.options.Durability == journal.Interval {
		c.options.SyncInterval = time.Hour
	}
	switch {
	case name == "Interval":
		c.options.Durability, c.options.SyncInterval = journal.Interval, time.Millisecond
	case strings.HasPrefix(name, "Sync, in the"):
		c.options.Durability, c.options.SyncInterval = journal.Published, 0
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(c.dir))
		if err != nil {
			err = fmt.Errorf("%s, %v, %v: %w", name, fault, c.options.Durability, err)
		}
	}()
	goroutines := runtime.NumGoroutine()
	if err := c.setUp(); err != nil {
		return "", fmt.Errorf("set up: %w", err)
	}
	if !strings.Contains(name, "hit within") {
		if err := c.hit(); err != nil {
			return "", fmt.Errorf("fault: %w", err)
		}
	}
	err = sigbusCalls[name](c)
	return sigbusNote(err), c.check(err, goroutines)
}

// sigbusNote says in a word what a call has returned.
func sigbusNote(err error) string {
	for _, c := range []struct {
		err  error
		note string
	}{
		{nil, "right"}, {journal.ErrFault, sigbusFaulted}, {journal.ErrCorrupt, "corrupt"},
	} {
		if errors.Is(err, c.err) {
			return c.note
		}
	}
	return "other error"
}

const sigbusFaulted = "fault"

func (c *sigbusCase) nextID() uint64 { c.ids++; return c.ids }

// setUp makes a journal of three full segments, an active one, and a prepared one.
func (c *sigbusCase) setUp() (err error) {
	if c.j, err = journal.Open(c.dir, &c.options); err != nil {
		return err
	}
	for i := range 11 {
		var ids []uint64
		var batch [][]byte
		for range 10 {
			id := c.nextID()
			ids = append(ids, id)
			batch = append(batch, strictPayload(id, 1500))
		}
		c.now = c.now.appended(ids...)
		if _, err := c.j.AppendBatch(batch); err != nil {
			return err
		}
		if i == 6 {
			if err := c.j.Sync(context.Background()); err != nil {
				return err
			}
		}
	}
	c.acknowledge()
	c.last = c.now.last()
	for c.j.Stats().Prepared <= uint64(c.j.Stats().Segments) {
		time.Sleep(time.Millisecond)
	}
	r, err := recovery.Inspect(c.dir, false)
	if err != nil {
		return err
	}
	for _, s := range r.Segments {
		if s.Records > 0 {
			c.segments = append(c.segments, s)
		}
	}
	if len(c.segments) != 4 {
		return fmt.Errorf("%d segments", len(c.segments))
	}
	switch active := c.segments[3].Ordinal; c.fault.target {
	case activeTarget:
		c.ordinal = active
	case fullTarget:
		c.ordinal = c.segments[1].Ordinal
	case preparedTarget:
		c.ordinal = active + 1
	}
	return nil
}

// acknowledge takes down what the journal says is durable.
func (c *sigbusCase) acknowledge() {
	c.now.lo = max(c.now.lo, min(uint64(c.j.Durable()), c.now.last()))
}

// hit makes the fault, once.
func (c *sigbusCase) hit() error {
	if c.isHit {
		return nil
	}
	c.isHit, c.atHit = true, c.j.Durable()
	return c.fault.apply(c, c.ordinal)
}

// check checks what a call has returned, and all that must hold afterwards.
func (c *sigbusCase) check(err error, goroutines int) error {
	if err := c.hit(); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	if err != nil && !sigbusTyped(err) {
		return err
	}
	if now := c.j.Durable(); c.fault.size > 0 && now > c.atHit && !c.loose && c.now.base == 1 &&
		c.fault.target == activeTarget && c.options.Durability != journal.Interval {
		return fmt.Errorf("%w: seq %d is durable in a file that was cut short", errSigbus, now)
	}
	if errors.Is(err, journal.ErrFailed) {
		if err := c.poisoned(err); err != nil {
			return err
		}
	}
	if !c.closed {
		if err := c.elsewhere(); err != nil {
			return err
		}
		closeErr := c.j.Close()
		if closeErr != nil && !sigbusTyped(closeErr) && !errors.Is(closeErr, journal.ErrClosed) {
			return fmt.Errorf("close: %w", closeErr)
		}
	}
	if err := noLeaks(c.dir, goroutines); err != nil {
		return err
	}
	return c.afterwards()
}

// poisoned checks that nothing is acknowledged after the first failure, which everything returns.
func (c *sigbusCase) poisoned(first error) error {
	if c.closed || errors.Is(second(c.j.Append(nil)), journal.ErrClosed) {
		return nil
	}
	ctx := context.Background()
	durable := c.j.Durable()
	want := second(c.j.Append(nil))
	if want == nil || !strings.Contains(first.Error(), want.Error()) {
		return fmt.Errorf("the first failure is %w; then Append returns: %w", first, want)
	}
	for name, err := range map[string]error{
		"Append":        second(c.j.Append([]byte("x"))),
		"AppendFunc":    second(c.j.AppendFunc(0, func([]byte) error { return nil })),
		"AppendBatch":   second(c.j.AppendBatch([][]byte{nil})),
		"Sync":          c.j.Sync(ctx),
		"WaitDurable":   c.j.WaitDurable(ctx, c.j.Last()),
		"TruncateFront": errors.Unwrap(c.j.TruncateFront(c.j.First() + 1)),
		"TruncateBack":  errors.Unwrap(c.j.TruncateBack(c.j.Last() - 1)),
		"Reset":         errors.Unwrap(c.j.Reset(1)),
	} {
		if err != want { // the very same
			return fmt.Errorf("after a failure %s returns %w; want the first failure, %w", name, err, want)
		}
	}
	if got := c.j.Durable(); got != durable {
		return fmt.Errorf("durable goes from %d to %d after a failure", durable, got)
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// elsewhere reads the segments that are not hit.
func (c *sigbusCase) elsewhere() error {
	for _, s := range c.segments {
		for _, seq := range []journal.Seq{s.First, s.Last} {
			if s.Ordinal == c.ordinal || seq < c.j.First() || seq > c.j.Last() ||
				c.now.base != 1 || uint64(seq) > c.now.last() {
				continue
			}
			p, err := c.j.Read(seq, nil)
			if errors.Is(err, journal.ErrClosed) {
				return nil
			}
			want := strictPayload(c.now.records[seq-1].id, 1500)
			if err := c.same(seq, p, want, err); err != nil {
				return fmt.Errorf("%w: in a segment that is not hit: %v", errSigbus, err)
			}
		}
	}
	return nil
}

// noLeaks looks for what Close has left of a journal in dir, and for more goroutines than that.
func noLeaks(dir string, goroutines int) error {
	if n, err := openIn(dir); err != nil || n != "" {
		return fmt.Errorf("after Close there is %s: %w", n, err)
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; {
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// openIn names a descriptor or a mapping of a file below a directory that this process has.
func openIn(dir string) (string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, dir+"/") {
			return "a mapping: " + line, nil
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil &&
			strings.HasPrefix(name, dir+"/") {
			return "a descriptor: " + name, nil
		}
	}
	return "", err
}

// afterwards opens the journal once more: a healed one must be what was acknowledged, one that was
// cut must say so, or be whole.
func (c *sigbusCase) afterwards() error {
	if c.fault.heal != nil {
		err := c.fault.heal(c, c.ordinal)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // the segment was removed
			return fmt.Errorf("heal: %w", err)
		}
	}
	j, err := journal.Open(c.dir, &journal.Options{
		SegmentSize: journal.MinSegmentSize, VerifyOnOpen: true,
	})
	if err != nil {
		if c.fault.heal == nil && errors.Is(err, journal.ErrCorrupt) {
			return nil
		}
		return fmt.Errorf("%w: open afterwards: %v", errSigbus, err)
	}
	found, err := findAll(j)
	if err == nil && c.loose {
		if len(found.ids) < int(c.last)+c.unknown {
			err = fmt.Errorf("%d records, want %d more", len(found.ids), c.unknown)
		}
		found.ids = found.ids[:min(len(found.ids), int(c.last))]
	}
	if err == nil {
		outcomes := []strictOutcome{c.now}
		if c.other != nil {
			outcomes = append(outcomes, *c.other)
		}
		err = (&strictAllowed{Outcomes: outcomes}).check(found)
	}
	if err == nil {
		_, err = j.Append(nil)
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return fmt.Errorf("%w: opened afterwards: %v", errSigbus, err)
	}
	return nil
}
