package journal_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// walk runs one script and crashes it everywhere.
type walk struct {
	text       string
	durability journal.Durability
	segment    int64 // size
	opts       simdisk.Options
	seed       uint64
	budget     int // states to walk

	limit      int // crashes per point of the first life
	share      [4]float64
	states     [4]int // walked, by the depth of the life that crashed
	points     int    // of the first life
	exhaustive int    // of those, the ones all of whose crashes were walked
	evicted    int    // Opens with an eviction
	violations []string
	enough     func() bool // whether to stop early; nil: never
	replay     []string    // crashes and scripts of later lives in turn: walk only this
}

// seedLarge is set in the seeds of walks whose segments are so large that bytes of a file's earlier
// use are left in a recycled one.
const (
	seedLarge     = 1 << 32
	largerSegment = 2 * modelSegment
)

// segmentFor returns the size of segments in walks with that seed.
func segmentFor(seed uint64) int64 {
	if seed&seedLarge != 0 {
		return largerSegment
	}
	return modelSegment
}

// tooMany violations end a walk.
const tooMany = 5

// later holds scripts of second and third lives.
var later = []string{
	"a200 s a300", "b3x200 s", "a100 tb1 a100 s", "tf1 a50 s", "rs3 a40 s", "a700*6 s", "c a20 s",
	"tb3 tf1 a300 w", "a1500 k a10 s", "x50 f50 s", "tb100 a90 s a500*8", "tf100 c a400",
}

// In lives after the first, one point in pointsLater is crashed at, in at most laterLimit ways; for
// each state of one depth there are at least laterShare of the next.
const pointsLater = 3

var (
	laterLimit = [4]int{2: 4, 3: 2}
	laterShare = [4]float64{2: 0.8, 3: 0.1}
)

func (w *walk) violation(l *life, err error) {
	text := fmt.Sprintf("%v\n    script %v: %s\n    crashes%s", err, w.durability, w.text, l.story)
	if l.trail != "" {
		text += fmt.Sprintf("\n    MMJOURNAL_MODEL_REPLAY='%d|%v|%d|%s%s'",
			w.durability, w.opts.Torn, w.seed, w.text, l.trail)
	}
	w.violations = append(w.violations, text)
}

func (w *walk) done() bool {
	return len(w.violations) >= tooMany || w.enough != nil && w.enough()
}

func (w *walk) run() {
	script := parseScript(w.text)
	w.opts.Coarse = simdisk.IsTemporary
	w.opts.Seed = w.seed
	if w.replay != nil {
		w.first(w.crashAsBefore).run(script)
		return
	}
	var counts []int
	dry := w.first(func(l *life, _ simdisk.Op) { counts = append(counts, l.d.Pending().States()) })
	if !dry.run(script) {
		return
	}
	w.plan(counts)
	w.first(w.crashEverywhere).run(script)
	w.points = len(counts)
	for _, n := range counts {
		if n <= w.limit {
			w.exhaustive++
		}
	}
}

// plan divides the budget, given how many crashes each point of the first life has. What those
// leave goes to second lives.
func (w *walk) plan(counts []int) {
	w.share = laterShare
	later := 1 + w.share[3]
	w.limit = fairLimit(counts, int(float64(w.budget)/(1+w.share[2]*later)))
	first := len(counts) // a kill each
	for _, n := range counts {
		first += min(n, w.limit)
	}
	w.share[2] = max(w.share[2], (float64(w.budget)/float64(first)-1)/later)
}

// first returns the first life, on a new disk.
func (w *walk) first(visit func(*life, simdisk.Op)) *life {
	d := simdisk.New(w.opts)
	if err := d.MkdirAll(modelDir); err != nil {
		panic(err)
	}
	return &life{w: w, d: d, or: newOracle(), depth: 1, visit: visit}
}

// fairLimit returns the highest limit per point that keeps the sum within the budget.
func fairLimit(counts []int, budget int) int {
	lo, hi := 1, budget+1
	for lo+1 < hi {
		limit, sum := (lo+hi)/2, 0
		for _, n := range counts {
			sum += min(n, limit)
		}
		if sum <= budget {
			lo = limit
		} else {
			hi = limit
		}
	}
	return lo
}

// crashEverywhere crashes a life in all ways, or some, at the point where it is.
func (w *walk) crashEverywhere(l *life, op simdisk.Op) {
	if w.done() {
		return
	}
	limit := w.limit
	if l.depth > 1 {
		limit = laterLimit[l.depth]
		if (l.point+l.phase)%pointsLater != 0 {
			return
		}
	}
	p := l.d.Pending()
	or := l.or.afterCrash()
	for c := range p.Choices(limit, w.seed^uint64(l.point)<<8^uint64(l.depth)) {
		d := p.Crash(c)
		key := d.Key() ^ or.version()*0x9e3779b97f4a7c15
		if l.seen[key] {
			continue
		}
		l.seen[key] = true
		w.check(l, d, or, op, c.String())
		if w.done() {
			return
		}
	}
	w.check(l, l.d.Kill(), clone(l.or), op, "kill")
}

// crashAsBefore crashes a life only where and how the replay says.
func (w *walk) crashAsBefore(l *life, op simdisk.Op) {
	k := 2 * (l.depth - 1)
	if k >= len(w.replay) {
		return
	}
	point, how, _ := strings.Cut(w.replay[k], ":")
	if point != strconv.Itoa(l.point) {
		return
	}
	if how == "kill" {
		w.check(l, l.d.Kill(), clone(l.or), op, how)
		return
	}
	c, err := simdisk.ParseChoice(how)
	if err != nil {
		panic(err)
	}
	p := l.d.Pending()
	if !p.Has(c) {
		return // the code, or the script, has changed since
	}
	w.check(l, p.Crash(c), l.or.afterCrash(), op, how)
}

// parseReplay returns the walk that a violation names.
func parseReplay(text string) (*walk, error) {
	f := strings.Split(text, "|")
	if len(f) < 4 {
		return nil, fmt.Errorf("malformed replay %q", text)
	}
	d, err := strconv.Atoi(f[0])
	seed, err2 := strconv.ParseUint(f[2], 10, 64)
	return &walk{
		text: f[3], durability: journal.Durability(d), segment: segmentFor(seed), seed: seed,
		opts: simdisk.Options{Torn: f[1] == "true"}, replay: f[4:],
	}, errors.Join(err, err2)
}

// check opens what a crash of l has left, which must hold what the oracle says, and lets some of it
// live on, to crash again.
func (w *walk) check(l *life, d *simdisk.Disk, or *oracle, op simdisk.Op, how string) {
	n := w.states[l.depth]
	w.states[l.depth]++
	next := life{
		w: w, d: d, or: or, depth: l.depth + 1,
		trail: fmt.Sprintf("%s|%d:%s", l.trail, l.point, how),
		story: fmt.Sprintf("%s, at %v (%d)", l.story, op, l.point),
	}
	if err := next.checkReadOnly(); err != nil {
		w.violation(&next, err)
		return
	}
	if l.closed {
		if err := next.checkClean(l.or.now()); err != nil {
			w.violation(&next, err)
			return
		}
	}
	if n%8 == 0 || w.replay != nil {
		if err := next.checkIdempotent(); err != nil {
			w.violation(&next, err)
			return
		}
	}
	if more := w.more(l.depth); more != "" {
		again := next
		again.d, again.or, again.visit, again.phase = d.Clone(), clone(or), l.visit, n
		again.trail += "|" + more
		again.story += ", then " + more
		again.run(parseScript(more))
	}
	next.or = clone(or)
	next.run(nil)
}

// more returns the script to go on with after a crash of a life of that depth, if any.
func (w *walk) more(depth int) string {
	switch {
	case w.replay != nil && len(w.replay) > 2*depth-1:
		return w.replay[2*depth-1]
	case w.replay == nil && depth < 3 &&
		float64(w.states[depth+1]) < w.share[depth+1]*float64(w.states[depth]):
		return later[w.states[depth]%len(later)]
	}
	return ""
}

func clone(o *oracle) *oracle {
	c := *o
	return &c
}

func (w *walk) total() (n int) {
	for _, k := range w.states {
		n += k
	}
	return n
}

// tally adds up walks.
type tally struct {
	walks, states, points, exhaustive, violations int
}

func (s *tally) add(report func(format string, args ...any), w *walk) {
	s.walks++
	s.states += w.total()
	s.points += w.points
	s.exhaustive += w.exhaustive
	s.violations += len(w.violations)
	for _, v := range w.violations {
		report("%s", v)
	}
}

func (s *tally) String() string {
	return fmt.Sprintf("%d walks, %d states; %d of %d crash points exhaustively",
		s.walks, s.states, s.exhaustive, s.points)
}
