package journal_test

import (
	"errors"
	"fmt"
	"strings"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
)

// evictions is how many Opens with an eviction follow each error.
const evictions = 3

// evict ends the process of a life in which a sync has failed, and opens what it leaves. While Open
// is at work the kernel drops pages that the failed sync has given up: what a scan has just read is
// not on the disk. Nothing is promised of it; but what Open shows is there after a power cut.
func (w *walk) evict(l *life) {
	if !l.d.Kill().Evict(0) {
		return
	}
	points := w.opensIn(l.d.Kill())
	for range evictions {
		n := uint64(w.evicted)
		w.evicted++
		seed := uint64(0) // all at once
		if n%2 == 1 {
			seed = w.seed<<32 | n
		}
		w.evictAt(l, int(n*7%uint64(points)), seed)
	}
}

// opensIn returns how many operations Open makes on a disk.
func (w *walk) opensIn(d *simdisk.Disk) int {
	ops := &simdisk.Ops{FailAt: -1}
	d.OnOp = ops.Hook
	l := &life{w: w, d: d}
	j, err := journal.OpenFS(d, modelDir, l.options())
	n := max(ops.N, 1)
	if err == nil {
		_ = j.Close() // it is another life that is held to promises
	}
	return n
}

// evictAt drops pages at the k-th operation of Open; with a seed some then, and others later.
func (w *walk) evictAt(l *life, k int, seed uint64) {
	next := w.nextLife(l, l.d.Kill(), l.or.afterCrash(),
		fmt.Sprintf("killed, and evicted with %d from operation %d of Open on", seed, k))
	n := -1
	next.d.OnOp = func(op simdisk.Op) error {
		n++
		switch {
		case n == k:
			next.story += fmt.Sprintf(" (%v)", op)
			next.d.Evict(seed)
		case n > k && seed != 0:
			next.d.Evict(seed + uint64(n))
		}
		return nil
	}
	err := next.open()
	next.d.OnOp = nil
	if lostWrites(err) {
		next.story += ", Open refuses, then"
		if err = next.checkLeaks(); err == nil {
			err = next.open()
		}
	}
	w.goOn(next, err)
}

// lostWrites reports whether Open has noticed that the disk has not got what a scan has read. That
// may be: it has lost nothing that was durable, and the next Open sees only what the disk has.
func lostWrites(err error) bool {
	return err != nil && !errors.Is(err, journal.ErrCorrupt) &&
		strings.Contains(err.Error(), "the disk loses writes")
}
