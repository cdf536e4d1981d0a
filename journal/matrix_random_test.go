package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/segment"
)

const (
	largeSegment = 1 << 20
	largeFiles   = 64
)

// TestRandomDamage does one to eight random damages at once to a journal of 64 MiB.
func TestRandomDamage(t *testing.T) {
	modelSetup(t)
	n := torture.Count(3, 10, 40)
	if raceEnabled {
		n = 3
	}
	c := torture.Start(t, "random damage, 64 MiB", n)
	states := newLargeStates(t)
	m := newMatrix()
	for c.Next() {
		r := newRand(c.Seed())
		st := states[r.IntN(len(states))]
		files := maps.Clone(st.files)
		done := st.strike(r, files)
		if diffFiles(st.files, files) == "" {
			continue
		}
		x := trial{st: st, files: files, lives: r.IntN(4) == 0}
		o, err := m.judge(&x, true)
		m.add(st.name, "random", o, x.lost)
		if err != nil {
			c.Violation("%s: %s: %v", st.name, strings.Join(done, ", "), err)
		}
	}
	if all := m.counts["random"]; all != nil {
		c.Note("%q: %v; at most %d acknowledged records lost that no claim was left for",
			outcomeNames, all.n, all.lost)
	}
}

// newLargeStates returns a journal that has been closed, and the same one killed before that.
func newLargeStates(t *testing.T) []*matrixState {
	t.Helper()
	fsys := newCopyFS(nil)
	o := matrixOptions(false)
	o.SegmentSize, o.MustExist = largeSegment, false
	j, err := journal.OpenFS(fsys, modelDir, o)
	if err != nil {
		t.Fatal(err)
	}
	killed := &matrixState{name: "killed", at: map[journal.Seq]rawPosition{}}
	or := &oracle{life: 1}
	now := image{first: 1}
	for i := 0; fsys.segments() < largeFiles || i%32 != 0; i++ {
		p := or.payload([]int{100, 1000, 5000, 60_000}[i%4])
		mustAppend(t, j, p)
		now.recs = append(now.recs, p)
		if i%8 == 0 {
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			killed.acked = j.Last()
		}
		if i%1500 == 1400 {
			killed.moments = append(killed.moments, fsys.clone())
		}
	}
	killed.files, killed.held = fsys.clone(), now
	mustClose(t, j)
	closed := *killed
	closed.name, closed.files, closed.acked = "closed", fsys.clone(), now.next()-1
	closed.at = maps.Clone(killed.at)
	for _, st := range []*matrixState{killed, &closed} {
		if err := st.describe(); err != nil {
			t.Fatal(err)
		}
	}
	return []*matrixState{killed, &closed}
}

func (c *copyFS) segments() (n int) {
	for path := range c.files {
		if filepath.Ext(path) == ".seg" {
			n++
		}
	}
	return n
}

// clone returns a copy of the files.
func (c *copyFS) clone() map[string][]byte {
	files := map[string][]byte{}
	for path, f := range c.files {
		files[path] = bytes.Clone(f.b)
	}
	return files
}

// strike damages the files in one to eight ways and says how: anywhere, or, half of the times, only
// around the end, where there is something that no claim covers.
func (st *matrixState) strike(r *rand.Rand, files map[string][]byte) (done []string) {
	atEnd := r.IntN(2) == 0
	for range 1 + r.IntN(8) {
		path := st.paths[r.IntN(len(st.paths))]
		from, to := 0, len(files[path])
		if atEnd {
			path = filepath.Join(modelDir, segment.FileName(st.end.ordinal))
			near := []int{100, 1000, 10_000}[r.IntN(3)]
			from, to = max(int(st.end.off)-near, 0), min(int(st.end.off)+near, len(files[path]))
		}
		if to-from < 128 {
			continue
		}
		what, edit := st.random(r, path, files[path], from, to)
		edit(files)
		done = append(done, what)
	}
	return done
}

// random returns a damage to a file that is b now, between two offsets, and what it is.
func (st *matrixState) random(
	r *rand.Rand, path string, b []byte, from, to int,
) (what string, edit func(map[string][]byte)) {
	name := filepath.Base(path)
	at := from + r.IntN(to-from)
	switch k := r.IntN(20); {
	case k < 8:
		bit := r.IntN(8)
		return fmt.Sprintf("%s: bit %d of byte %d", name, bit, at),
			patch(path, at, []byte{b[at] ^ 1<<bit})
	case k == 8:
		return fmt.Sprintf("%s: cut to %d", name, at),
			with(path, func(b []byte) []byte { return b[:at:at] })
	}
	size := []int{512, 4096}[r.IntN(2)]
	at = at / size * size
	size = min(size, len(b)-at)
	how, with := "zeroed", make([]byte, size)
	switch moment := st.moment(r)[path]; {
	case r.IntN(4) == 0:
	case r.IntN(3) == 0 && len(moment) >= at+size:
		how, with = "stale", moment[at:at+size]
	case r.IntN(2) == 0:
		k := r.IntN(len(b)/size) * size
		how, with = fmt.Sprintf("copied from %d", k), b[k:k+size]
	default:
		how, with = "overwritten", noise(r.IntN(100), size)
	}
	return fmt.Sprintf("%s: %d bytes at %d %s", name, size, at, how), patch(path, at, with)
}

func (st *matrixState) moment(r *rand.Rand) map[string][]byte {
	if len(st.moments) == 0 {
		return nil
	}
	return st.moments[r.IntN(len(st.moments))]
}
