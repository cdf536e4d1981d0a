package simdisk

import (
	"maps"
	"slices"
)

// Evict drops pages from the page cache that a failed sync has given up: the kernel takes them for
// clean, and may drop them whenever it likes, mapped or not. What comes back from the disk is, for
// each sector, one of the versions it has had since the last sync, and nothing but the disk has it.
// Which pages go, and which versions come, the seed decides; with 0 all of them go, and the disk
// has got nothing of what they held. It reports whether a byte has changed. Nobody may be storing
// to a mapping meanwhile.
func (d *Disk) Evict(seed uint64) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[*file]bool{}
	for _, dir := range d.dirs {
		for _, f := range dir.names {
			files[f] = true
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(files), byNumber) {
		d.recordLocked(f)
		for from := 0; from < len(f.versions); from += sectorsPerPage {
			if f.givenUp(from) && f.evict(from, seed) {
				changed = true
			}
		}
	}
	if changed {
		d.gen++
	}
	return changed
}

// page returns where the page that begins at sector from ends.
func (f *file) page(from int) (to int) { return min(from+sectorsPerPage, len(f.versions)) }

// givenUp reports whether there is something in a page that is not on the disk, and the kernel
// knows of none of it.
func (f *file) givenUp(from int) (stuck bool) {
	for i := from; i < f.page(from); i++ {
		if len(f.versions[i]) > 1 && !f.stuck[i] {
			return false
		}
		stuck = stuck || f.stuck[i]
	}
	return stuck
}

// evict drops a page, if the seed wants it, and reads it from the disk.
func (f *file) evict(from int, seed uint64) (changed bool) {
	r := mix(seed ^ f.number<<20 ^ uint64(from))
	if seed != 0 && r&1 == 0 {
		return false
	}
	for i := from; i < f.page(from); i++ {
		v, k := f.versions[i], 0
		if seed != 0 {
			r = mix(r)
			k = int(r % uint64(len(v)))
		}
		changed = changed || v[k].b != v[len(v)-1].b
		f.versions[i], f.stuck[i] = v[k:k+1:k+1], false
		if f.cache != nil {
			copy(f.cache[i*sectorSize:], v[k].b[:])
		}
	}
	return changed
}
