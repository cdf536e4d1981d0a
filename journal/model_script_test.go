package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mmjournal/journal"
)

// step is one public operation of a script. Written as text:
//
//	a300     append 300 bytes          a300*4  four times
//	z300     append 300 zero bytes
//	e56      append what leaves 56 bytes of the segment for records, if there is more
//	b3x200   append a batch of three records of 200 bytes
//	f300     AppendFunc                x300    AppendFunc whose function fails
//	s        Sync                      w       WaitDurable of the last record
//	tb2      TruncateBack: drop the last two records
//	tf2      TruncateFront: drop the first two records
//	rs5      Reset to the fifth seq after the next
//	p2       prepare two segments ahead
//	c        Close, then open          k       end the process, then open
//	m300     during the first sync of the next step, append 300 bytes (with Published only)
//	d        the disk is full from now on: no file can be made, no space be reserved
//	u        there is space again
//	l        a snapshot by hard links: every file gets a second name
//
// A truncation that would drop more than there is drops all.
type step struct {
	op   string
	n, k int
}

var stepPattern = regexp.MustCompile(`^([a-z]+?)(?:(\d+)x)?(\d*)(?:\*(\d+))?$`)

// parseScript reads the steps of a script. It panics on one that is malformed.
func parseScript(text string) (steps []step) {
	for _, word := range strings.Fields(text) {
		m := stepPattern.FindStringSubmatch(word)
		if m == nil || !strings.Contains(" a z e b f x s w tb tf rs p c k m d u l ", " "+m[1]+" ") {
			panic("model: bad step " + word)
		}
		k, _ := strconv.Atoi(m[2])
		n, _ := strconv.Atoi(m[3])
		times, _ := strconv.Atoi(m[4])
		for range max(times, 1) {
			steps = append(steps, step{m[1], n, k})
		}
	}
	return steps
}

// randomScript returns the text of a script.
func randomScript(r *rand.Rand, steps int) string {
	var words []string
	full := false
	size := func() int { return []int{r.IntN(40), 100 + r.IntN(500), r.IntN(3800)}[r.IntN(3)] }
	for range steps {
		word := ""
		if r.IntN(16) == 0 {
			words, full = append(words, map[bool]string{false: "d", true: "u a10"}[full]), !full
		}
		if r.IntN(32) == 0 {
			words = append(words, "l")
		}
		switch r.IntN(20) {
		case 0, 1:
			word = "s"
		case 2, 3:
			word = fmt.Sprintf("b%dx%d", 1+r.IntN(4), 20+r.IntN(400))
		case 4:
			word = fmt.Sprintf("%c%d", "fxz"[r.IntN(3)], 1+r.IntN(600))
		case 5:
			word = fmt.Sprintf("tb%d", r.IntN(6))
		case 6:
			word = fmt.Sprintf("tf%d", r.IntN(6))
		case 7:
			word = fmt.Sprintf("rs%d", r.IntN(3))
		case 8:
			word = "c"
		case 9:
			word = "k"
		case 10, 11:
			word = fmt.Sprintf("a%d*%d", 300+r.IntN(300), 2+r.IntN(8))
		case 14:
			if full {
				continue
			}
			word = fmt.Sprintf("m%d %s", size(), []string{"s", "s", "tf2", "tb2", "rs2"}[r.IntN(5)])
		case 15:
			word = fmt.Sprintf("p%d", 1+r.IntN(2))
		case 12, 13:
			word = fmt.Sprintf("e%d", []int{0, 8, 16, 48, 56, 64, 80, 112, 168}[r.IntN(9)])
		default:
			word = fmt.Sprintf("a%d", size())
		}
		words = append(words, word)
	}
	if full {
		words = append(words, "u a10")
	}
	return strings.Join(words, " ")
}

var errGivenUp = errors.New("given up")

// do performs a step and tells the oracle. The error is a violation.
func (l *life) do(s step) error {
	l.mid.before, l.mid.index, l.mid.done = l.or.now(), len(l.or.images)-1, false
	if s.op == "m" {
		if l.w.durability == journal.Published {
			l.mid.size = s.n
		}
		return nil
	}
	l.mid.cuts = s.op == "tb"
	defer func() { l.mid.size = 0 }()
	switch s.op {
	case "e":
		s.n = max(l.room()-s.n-16, 0)
		fallthrough
	case "a", "z", "f", "b":
		return l.append(s)
	case "x":
		given := clone(l.or) // a record that is given up does not count as written
		given.serial += 1 << 20
		_, err := l.j.AppendFunc(s.n, func(dst []byte) error {
			copy(dst, given.payload(s.n))
			return errGivenUp
		})
		if l.full && errors.Is(err, journal.ErrNoSpace) {
			return nil
		}
		if !errors.Is(err, errGivenUp) {
			return fmt.Errorf("failing AppendFunc returned %w", err)
		}
		return nil
	case "s":
		return l.promised(l.j.Sync(context.Background()), true)
	case "w":
		return l.promised(l.j.WaitDurable(context.Background(), l.j.Last()), true)
	case "p":
		_ = journal.Prepare(l.j, s.n) // who needs the segment meets an error again
		return nil
	case "c":
		l.mid.size = 0
		if err := l.close(); err != nil {
			return err
		}
		return l.open()
	case "k":
		l.kill()
		return l.open()
	case "d", "u":
		l.full = s.op == "d"
		return nil
	case "l":
		l.d.Share()
		return nil
	default:
		return l.cut(s)
	}
}

func (l *life) append(s step) (err error) {
	payloads := [][]byte{}
	for range max(s.k, 1) {
		p := l.or.payload(s.n)
		if s.op == "z" {
			clear(p)
		}
		payloads = append(payloads, p)
	}
	before := l.or.now()
	want := before.next()
	l.or.begin(before.with(payloads...))
	var seq journal.Seq
	switch s.op {
	case "b":
		seq, err = l.j.AppendBatch(payloads)
	case "f":
		seq, err = l.j.AppendFunc(s.n, func(dst []byte) error {
			copy(dst, payloads[0])
			return nil
		})
	default:
		seq, err = l.j.Append(payloads[0])
	}
	if err == nil && seq != want {
		return fmt.Errorf("I2: appended as seq %d, want %d", seq, want)
	}
	if l.full && errors.Is(err, journal.ErrNoSpace) && !errors.Is(err, journal.ErrFailed) {
		l.or.begin(before) // nothing was appended
		return l.promised(nil, false)
	}
	return l.promised(err, l.w.durability == journal.Synced)
}

// room returns how many bytes of the segment that is appended to are left for frames of records.
func (l *life) room() int {
	limit := int(l.w.segment - l.w.segment/4096*16 - 80 - 56) // but for index, seal, closing mark
	segs := parseSegments(l.d.Files())
	for _, s := range slices.Backward(segs) {
		if len(s.frames) > 0 && !s.sealed(s.end) {
			return limit - int(s.end)
		}
	}
	return limit - 4096 - 112
}

// cut truncates or resets. A truncation that drops nothing makes what is there durable all the
// same.
func (l *life) cut(s step) (err error) {
	now := l.or.now()
	n := journal.Seq(min(s.n, len(now.recs)))
	switch s.op {
	case "tb":
		last := now.next() - 1 - n
		l.or.begin(now.truncateBack(last))
		err = l.j.TruncateBack(last)
	case "tf":
		first := now.first + n
		l.or.begin(now.truncateFront(first))
		err = l.j.TruncateFront(first)
	default:
		next := now.next() + journal.Seq(s.n)
		l.or.begin(image{first: next})
		err = l.j.Reset(next)
	}
	if l.mayLackSpace() && errors.Is(err, journal.ErrNoSpace) && !errors.Is(err, journal.ErrFailed) {
		l.or.begin(now) // nothing has changed
		return l.promised(nil, false)
	}
	return l.promised(err, true)
}

// mayLackSpace reports whether a truncation may fail: the disk is full, and a snapshot shares the
// file JOURNAL, which is not written over then.
func (l *life) mayLackSpace() bool { return l.full && l.d.Shared() }

// promised notes what the return of an operation promises, and checks what the journal says of
// itself.
func (l *life) promised(err error, durable bool) error {
	if err != nil {
		return err
	}
	if l.mid.err != nil {
		return l.mid.err
	}
	if l.mid.done {
		l.bothDone(durable)
	} else {
		l.or.promise(durable)
	}
	now := l.or.now()
	if first, next := l.j.First(), l.j.Last()+1; first != now.first || next != now.next() {
		return fmt.Errorf("I2: holds seqs %d to %d, want %v", first, next-1, now)
	}
	if d, p := l.j.Durable(), l.j.Published(); d > p || p != now.next()-1 {
		return fmt.Errorf("durable %d, published %d, want %v", d, p, now)
	}
	l.or.watermark(l.j.Durable())
	return nil
}

// meanwhile is an append during another operation's sync.
type meanwhile struct {
	size   int   // of the payload; 0: none
	cuts   bool  // the operation drops what is appended before it takes effect
	before image // what the journal held when the operation began
	index  int   // of before, in the oracle's images
	done   bool
	target image // what the operation was to bring about, without the append and with it
	both   image
	sure   int // the index of what is durable when the operation returns
	err    error
}

// meanwhile appends. The operation is either still to take effect or has done so already.
func (l *life) meanwhile() {
	m := &l.mid
	p := l.or.payload(m.size)
	m.size, m.done = 0, true
	m.target = l.or.now()
	m.both = m.target.with(p)
	want := m.both.next() - 1
	switch {
	case m.target.equal(m.before) && !m.cuts: // a sync
		m.sure = m.index
		l.or.begin(m.both)
		defer func() { l.or.published = len(l.or.images) - 1 }()
	case l.j.Last() == m.before.next()-1 && l.j.First() == m.before.first:
		want = m.before.next()
		l.or.begin(m.before.with(p))
		first := len(l.or.images) - 1
		m.sure = first + 1
		l.or.begin(m.target)
		l.or.begin(m.both)
		defer func() { l.or.published = first }()
	default:
		m.sure = len(l.or.images) - 1
		l.or.begin(m.both)
		defer func() { l.or.published = len(l.or.images) - 1 }()
	}
	seq, err := l.j.Append(p)
	if err == nil && seq != want {
		err = fmt.Errorf("I2: appended as seq %d, want %d", seq, want)
	}
	m.err = err
}

// bothDone notes what the return of an operation promises during which there was an append: nothing
// of the append's record; and that may have been dropped.
func (l *life) bothDone(durable bool) {
	if durable {
		l.or.durable = max(l.or.durable, l.mid.sure)
	}
	if l.j.Last() != l.mid.both.next()-1 {
		l.or.begin(l.mid.target)
	}
	l.or.promise(false)
}
