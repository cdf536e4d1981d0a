package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// The soak test: a process appends with eight goroutines, reads with four and drops old records,
// all at the same time, and is killed with SIGKILL: at work, within Open, within Close, or it
// closes the journal; the next one goes on. A second process follows through all of these lives.
// Every record that anybody is shown is held against the bytes that its author must have appended
// there; whatever was reported to anybody must be there after each death, until it is dropped. LOCK
// is removed now and then, and the processes change to a directory that has another journal of the
// same name: nobody touches that one.

// soakLives returns how many processes write to a journal, one after the other. The first ones of a
// seed are the same, however many there are.
func soakLives() int { return int(torture.Count(10, 10, 20)) }

// ending is how a life ends.
type ending int

const (
	killedAtWork ending = iota
	killedInOpen
	killedInClose
	closedCleanly
)

// soakEndings are drawn from.
var soakEndings = []ending{
	killedAtWork, killedAtWork, killedAtWork, killedAtWork, killedAtWork,
	killedInOpen, killedInOpen, killedInClose, killedInClose, closedCleanly,
}

func TestSoak(t *testing.T) {
	var total soak
	c := torture.Start(t, "soak", torture.Count(1, 1, 3))
	for c.Next() {
		s, err := soakOnce(t, c.Seed())
		if err != nil {
			c.Violation("%+v: %v", s.args, err)
		}
		total.add(s)
		c.Note("%s", total.note())
		if err := os.RemoveAll(filepath.Dir(s.args.Dir)); err != nil {
			t.Error(err)
		}
	}
	if total.followed == 0 || total.truncations == 0 {
		t.Errorf("the runs have shown nothing: %s", total.note())
	}
}

// soak is one journal, from its first life to its last.
type soak struct {
	args soakArgs // of the present life
	life int
	r    *rand.Rand
	book *soakBook
	soakFigures
	ended [closedCleanly + 1]int // lives, by how they did end
	most  int                    // files beside those that make up the journal

	opening, closing time.Duration // how long the latest ones took
}

func (s *soak) add(o *soak) {
	s.life += o.life
	s.most = max(s.most, o.most)
	for i, n := range o.ended {
		s.ended[i] += n
	}
	a, b := &s.soakFigures, &o.soakFigures
	a.acknowledged += b.acknowledged
	a.truncations += b.truncations
	a.halfway += b.halfway
	a.looks += b.looks
	a.moving += b.moving
	a.followed += b.followed
	a.passed += b.passed
}

func (s *soak) note() string {
	return fmt.Sprintf("%d lives, killed in Open %d, in Close %d, else %d, closed %d; %d records "+
		"acknowledged; %d truncations, %d killed; the follower looked %d times, saw %d records, "+
		"was passed %d times, got ErrMoving %d times; at most %d files too many",
		s.life, s.ended[killedInOpen], s.ended[killedInClose], s.ended[killedAtWork],
		s.ended[closedCleanly], s.acknowledged, s.truncations, s.halfway, s.looks, s.followed,
		s.passed, s.moving, s.most)
}

// soakOnce lets a journal live all its lives.
func soakOnce(t *testing.T, seed uint64) (*soak, error) {
	dir := t.TempDir()
	s := &soak{
		args: soakArgs{
			Dir: filepath.Join(dir, "journal"), Beside: filepath.Join(dir, "beside", "journal"),
			Seed: seed,
		},
		r: newRand(seed), book: newSoakBook(seed),
		opening: time.Millisecond, closing: time.Millisecond,
	}
	makeJournal(t, s.args.Beside, "beside")
	beside := tree(t, s.args.Beside)
	f, err := startFollower(s.args, s.book)
	if err != nil {
		return s, err
	}
	for ; s.life < soakLives() && err == nil; s.life++ {
		if err = errors.Join(s.live(s.draw()), f.ended()); err != nil {
			break
		}
		if s.r.IntN(4) == 0 || s.life == soakLives()-1 {
			err = f.wait(s.book.last)
		}
		if s.r.IntN(8) == 0 && err == nil { // nobody may mind
			if err = f.stop(); err == nil {
				f, err = startFollower(s.args, s.book)
			}
		}
	}
	if f != nil {
		if end := f.stop(); err == nil {
			err = end
		}
	}
	s.soakFigures = s.book.figures
	if !maps.Equal(tree(t, s.args.Beside), beside) {
		err = errors.Join(err, errors.New("I16: the journal beside is not what it was"))
	}
	return s, err
}

// draw sets what the next life is to do. It returns how it ends: after how many acknowledged
// records, or after which part of what Open or Close took the last time.
func (s *soak) draw() (end ending, after int, part float64) {
	end = soakEndings[s.r.IntN(len(soakEndings))]
	after = 1 + s.r.IntN([]int{3, 100, 3000, 6000}[s.r.IntN(4)])
	part = 1.2 * s.r.Float64()
	if s.life == soakLives()-1 {
		end = closedCleanly
	}
	s.args.Life = uint32(s.life)
	s.args.Durability = journal.Durability(s.r.IntN(3))
	s.args.Segment = journal.MinSegmentSize << s.r.IntN(3)
	s.args.Keep = 20 + s.r.IntN([]int{50, 500}[s.r.IntN(2)])
	s.args.Close = 0
	if end == killedInClose || end == closedCleanly {
		s.args.Close = after
	}
	return end, after, part
}

// live lets one process write, ends it, and checks what it leaves.
func (s *soak) live(end ending, after int, part float64) error {
	s.book.mu.Lock()
	s.book.life = s.args.Life
	s.book.mu.Unlock()
	c, err := startChild(s.args.variable())
	if err != nil {
		return err
	}
	phase, err := s.listen(c, end, after, part)
	status := c.end()
	closed := status == "exit status 0" && s.args.Close > 0
	if err == nil && !closed && (status != killedStatus || end == closedCleanly) {
		err = fmt.Errorf("child ended with %s: %s", status, &c.stderr)
	}
	if err != nil {
		return err
	}
	if closed {
		phase = closedCleanly
	}
	s.ended[phase]++
	return s.check(closed)
}

// listen takes a child's reports until it has ended, and kills it when its time has come. It
// returns what the child was at, and the first report that cannot be.
func (s *soak) listen(c *child, end ending, after int, part float64) (at ending, bad error) {
	var began time.Time
	at = killedInOpen
	for {
		r, err := c.next()
		if err != nil {
			return at, bad
		}
		if err := s.book.note(r); err != nil && bad == nil {
			bad = err
			c.kill()
		}
		switch r.kind {
		case beginning:
			began = time.Now()
			if end == killedInOpen {
				time.AfterFunc(time.Duration(part*float64(s.opening)), c.kill)
			}
		case opened:
			at = killedAtWork
			s.opening = time.Since(began)
		case closing:
			at = killedInClose
			if end == killedInClose {
				time.AfterFunc(time.Duration(part*float64(s.closing)), c.kill)
			}
			began = time.Now()
		case closed:
			s.closing = time.Since(began)
		case acknowledged:
			if after--; end == killedAtWork && after == 0 {
				c.kill()
			}
			if after%500 == 0 { // the writer makes it again
				_ = os.Remove(filepath.Join(s.args.Dir, segment.LockName))
			}
		}
	}
}

// check holds what a process has left against the book.
func (s *soak) check(closed bool) error {
	o := &journal.Options{VerifyOnOpen: s.r.IntN(2) == 0}
	j, err := journal.OpenReadOnly(s.args.Dir, o)
	if errors.Is(err, journal.ErrNotExist) && s.book.last == 0 && len(s.book.known) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open what is left: %w", err)
	}
	err = errors.Join(s.book.check(j), s.files(j, closed))
	return errors.Join(err, j.Close())
}

// soakFiles is how many segments a crash may leave beside those that make up the journal: what one
// truncation drops, and what was being prepared.
const soakFiles = 64

// files returns an error if files pile up.
func (s *soak) files(j *journal.Journal, closed bool) error {
	list, err := os.ReadDir(s.args.Dir)
	if err != nil {
		return err
	}
	segments, temps := 0, 0
	for _, e := range list {
		if _, ok := segment.ParseFileName(e.Name()); ok {
			segments++
		}
		if strings.HasSuffix(e.Name(), segment.TempSuffix) {
			temps++
		}
	}
	spare := segments - j.Stats().Segments
	s.most = max(s.most, spare+temps)
	if !j.Report().Verdict.Sound() {
		return fmt.Errorf("verdict %s: %v", j.Report().Verdict, j.Report().Damage)
	}
	if closed && (spare != 0 || temps != 0 || j.Report().End != recovery.EndClean) {
		return fmt.Errorf("closed, end %s, with %d segments too many and %d unfinished files",
			j.Report().End, spare, temps)
	}
	if spare+temps > soakFiles {
		return fmt.Errorf("%d segments too many, and %d unfinished files", spare, temps)
	}
	return nil
}
