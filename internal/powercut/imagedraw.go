package powercut

import (
	"math/rand/v2"
	"slices"
)

// version is what a write has made of a unit: a sector, or a block that is written as a whole.
type version struct {
	write int // counts the writes since the last flush
	data  []byte
}

// crash returns what a power cut before entry p of the log may leave on the disk: everything up to
// the last flush, and of each unit written since then one of its versions, or the old one. pending
// is the number of writes that it was free to lose. draw says which it loses.
func crash(
	base *Image, log []Entry, p int, k *Kind, draw drawing, r *rand.Rand,
) (img *Image, pending int) {
	e := edit(base)
	flush := p
	for flush > 0 && log[flush-1].Kind != FlushEntry {
		flush--
	}
	for _, entry := range log[:flush] {
		if entry.Kind == WriteEntry {
			e.write(entry.Offset, entry.Data)
		}
	}
	units := map[int64][]version{}
	for _, entry := range log[flush:p] {
		if entry.Kind == WriteEntry {
			addVersions(e, units, entry, pending, k)
			pending++
		}
	}
	offsets := make([]int64, 0, len(units))
	for off := range units {
		offsets = append(offsets, off)
	}
	slices.Sort(offsets)
	pick := draw(pending, r)
	for _, off := range offsets {
		if v := pick(off, units[off]); v >= 0 {
			e.write(off, units[off][v].data)
		}
	}
	return e.img, pending
}

// addVersions takes a write apart.
func addVersions(e *editor, units map[int64][]version, w Entry, number int, k *Kind) {
	for off, data := w.Offset, w.Data; len(data) > 0; {
		unit, size := off/sectorSize*sectorSize, sectorSize
		if b := off / blockSize * blockSize; slices.Contains(k.whole, b) {
			unit, size = b, blockSize
		}
		var now []byte
		if old := units[unit]; len(old) > 0 {
			now = slices.Clone(old[len(old)-1].data)
		} else {
			now = e.read(unit, size)
		}
		n := copy(now[off-unit:], data)
		units[unit] = append(units[unit], version{number, now})
		off, data = off+int64(n), data[n:]
	}
}

// drawing returns a function that chooses which version of a unit the disk keeps; -1: the old one.
type drawing func(writes int, r *rand.Rand) picker

type picker func(off int64, v []version) int

// anySubset is what a disk may do with its volatile cache. Some drawings lose next to everything,
// others next to nothing, some keep writes whole or in order.
func anySubset(writes int, r *rand.Rand) picker {
	switch r.IntN(8) {
	case 0:
		return chance(0, r)
	case 1:
		return chance(1, r)
	case 2:
		return chance(0.1, r)
	case 3:
		return chance(0.9, r)
	case 4: // whole writes
		keep := make([]bool, writes)
		for i := range keep {
			keep[i] = r.IntN(2) == 0
		}
		return latest(func(_ int64, write int) bool { return keep[write] })
	case 5: // writes in order, the last one torn
		last := r.IntN(writes + 1)
		return latest(func(off int64, write int) bool {
			return write < last || write == last && off/sectorSize%8 < 4
		})
	}
	return func(_ int64, v []version) int { return r.IntN(len(v)+1) - 1 }
}

// inOrder loses the last writes only, so that file systems survive it even if no flush was made.
func inOrder(writes int, r *rand.Rand) picker {
	last := r.IntN(writes + 1)
	return latest(func(_ int64, write int) bool { return write < last })
}

// chance keeps each unit with some probability.
func chance(kept float64, r *rand.Rand) picker {
	return func(_ int64, v []version) int {
		if r.Float64() < kept {
			return len(v) - 1
		}
		return -1
	}
}

// latest keeps of each unit what the last of the writes that are kept has made of it.
func latest(kept func(off int64, write int) bool) picker {
	return func(off int64, v []version) int {
		i := len(v) - 1
		for i >= 0 && !kept(off, v[i].write) {
			i--
		}
		return i
	}
}
