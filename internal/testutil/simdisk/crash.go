package simdisk

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Pending is everything on a disk that is not durable: what a crash decides. It is good until the
// disk changes.
type Pending struct {
	d    *Disk
	dims []dim
}

// dim is one thing that a crash decides: which of radix outcomes. 0 is the durable one, radix-1 the
// newest.
type dim struct {
	radix  int
	dir    *dir // with op: whether dir.pending[op] has happened
	op     int
	f      *file // else
	sector int   // which version of the sector; sizeDim, coarseDim
}

const (
	sizeDim   = -1 // which size
	coarseDim = -2 // of everything the file has: old, a mixture, new
)

// Choice is an outcome for each of the dims of a [Pending].
type Choice []int

func (c Choice) String() string {
	s := make([]string, len(c))
	for i, v := range c {
		s[i] = strconv.Itoa(v)
	}
	return strings.Join(s, ".")
}

// ParseChoice is the inverse of [Choice.String].
func ParseChoice(s string) (Choice, error) {
	c := Choice{}
	if s == "" {
		return c, nil
	}
	for _, v := range strings.Split(s, ".") {
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("choice %q: %w", s, err)
		}
		c = append(c, n)
	}
	return c, nil
}

// Pending returns what is not durable.
func (d *Disk) Pending() *Pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &Pending{d: d}
	files := map[*file]bool{}
	for _, path := range slices.Sorted(maps.Keys(d.dirs)) {
		dir := d.dirs[path]
		for _, f := range dir.durable {
			files[f] = true
		}
		for i, op := range dir.pending {
			files[op.f] = true
			p.dims = append(p.dims, dim{radix: 2, dir: dir, op: i})
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(files), byNumber) {
		d.recordLocked(f)
		p.add(f)
	}
	return p
}

func byNumber(f, g *file) int { return int(f.number) - int(g.number) }

// add adds the file's dims.
func (p *Pending) add(f *file) {
	n := len(p.dims)
	if len(f.sizes) > 1 {
		p.dims = append(p.dims, dim{radix: len(f.sizes), f: f, sector: sizeDim})
	}
	for i, v := range f.versions {
		if len(v) > 1 {
			p.dims = append(p.dims, dim{radix: len(v), f: f, sector: i})
		}
	}
	if coarse := p.d.opts.Coarse; coarse != nil && coarse(f.path) && len(p.dims)-n > 1 {
		p.dims = append(p.dims[:n], dim{radix: 3, f: f, sector: coarseDim})
	}
}

// States returns how many different choices there are, at most math.MaxInt.
func (p *Pending) States() int {
	n := 1
	for _, m := range p.dims {
		if n > math.MaxInt/m.radix {
			return math.MaxInt
		}
		n *= m.radix
	}
	return n
}

// Newest returns the choice that loses nothing.
func (p *Pending) Newest() Choice {
	c := make(Choice, len(p.dims))
	for i, m := range p.dims {
		c[i] = m.radix - 1
	}
	return c
}

// Has reports whether c is one of the choices that there are.
func (p *Pending) Has(c Choice) bool {
	newest := p.Newest()
	return len(c) == len(newest) && slices.EqualFunc(c, newest, func(v, most int) bool {
		return 0 <= v && v <= most
	})
}

// Choices yields every choice if there are at most limit, else limit of them, determined by the
// seed: half of them lose or keep exactly one thing, or lose everything, or nothing; the others are
// random. The slice is good until the next one; random ones may repeat.
func (p *Pending) Choices(limit int, seed uint64) iter.Seq[Choice] {
	if p.States() <= limit {
		return p.all
	}
	return func(yield func(Choice) bool) { p.sample(limit, seed, yield) }
}

func (p *Pending) all(yield func(Choice) bool) {
	c := make(Choice, len(p.dims))
	for yield(c) {
		i := 0
		for ; i < len(c); i++ {
			c[i]++
			if c[i] < p.dims[i].radix {
				break
			}
			c[i] = 0
		}
		if i == len(c) {
			return
		}
	}
}

func (p *Pending) sample(limit int, seed uint64, yield func(Choice) bool) {
	r := newRand(seed)
	c := make(Choice, len(p.dims))
	systematic := r.Perm(2 + 2*len(p.dims))
	for n := range limit {
		if n < (limit+1)/2 && n < len(systematic) {
			p.one(c, systematic[n])
		} else {
			weight := [...]float64{0.1, 0.5, 0.9}[r.IntN(3)]
			for i, m := range p.dims {
				c[i] = r.IntN(m.radix)
				if r.Float64() < weight {
					c[i] = m.radix - 1
				}
			}
		}
		if !yield(c) {
			return
		}
	}
}

// one sets c to the k-th systematic choice: nothing lost, all lost, then for each dim only it lost,
// only it kept.
func (p *Pending) one(c Choice, k int) {
	i, keep := k/2-1, k%2 == 0
	for j, m := range p.dims {
		c[j] = 0
		if keep != (i == j) {
			c[j] = m.radix - 1
		}
	}
}

// Crash returns a new disk with what a power cut leaves if it decides so. All of it is durable. The
// old disk is as before.
func (p *Pending) Crash(c Choice) *Disk {
	if len(c) != len(p.dims) {
		panic(fmt.Sprintf("simdisk: a choice of %d for %d dims", len(c), len(p.dims)))
	}
	d := p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &Disk{opts: d.opts, dirs: make(map[string]*dir, len(d.dirs)), grave: d.grave, next: d.next,
		clock: d.clock}
	left := map[*file]*file{}
	for path, old := range d.dirs {
		names := maps.Clone(old.durable)
		for i, m := range p.dims {
			if m.dir == old && c[i] == 1 {
				old.pending[m.op].apply(names)
			}
		}
		for name, f := range names {
			names[name] = f.durable()
			names[name].path = path + "/" + name
			left[f] = names[name]
		}
		n.dirs[path] = &dir{names: names, durable: maps.Clone(names)}
	}
	for i, m := range p.dims {
		if f := left[m.f]; f != nil && m.dir == nil {
			f.decide(m, c[i], d.opts.Seed)
		}
	}
	for _, f := range left {
		f.trim(d.next)
	}
	return n
}

// durable returns a copy of f as a power cut leaves it if it loses all that it may.
func (f *file) durable() *file {
	n := len(f.versions)
	g := &file{number: f.number, versions: make([][]*sector, n), stuck: make([]bool, n),
		sizes: []int64{f.sizes[0]}, time: f.durableTime, durableTime: f.durableTime,
		shared: f.shared}
	backing := make([]*sector, n)
	for i, v := range f.versions {
		backing[i] = v[0]
		g.versions[i] = backing[i : i+1 : i+1]
	}
	return g
}

// decide sets in f, a copy of m.f, what m is about.
func (f *file) decide(m dim, outcome int, seed uint64) {
	switch m.sector {
	case sizeDim:
		f.sizes[0] = m.f.sizes[outcome]
	case coarseDim:
		for i, v := range m.f.versions {
			seed = mix(seed)
			f.versions[i][0] = v[pick(outcome, len(v), seed)]
		}
		seed = mix(seed)
		f.sizes[0] = m.f.sizes[pick(outcome, len(m.f.sizes), seed)]
	default:
		f.versions[m.sector][0] = m.f.versions[m.sector][outcome]
	}
}

// pick returns the index of the version that a coarse outcome stands for.
func pick(outcome, n int, seed uint64) int {
	return [...]int{0, int(seed % uint64(n)), n - 1}[outcome]
}

// trim makes the sectors agree with the size.
func (f *file) trim(id uint64) {
	n := int((f.sizes[0] + sectorSize - 1) / sectorSize)
	for i := len(f.versions); i < n; i++ { // it was truncated, and the truncation is lost
		f.versions = append(f.versions, []*sector{zeroSector})
		f.stuck = append(f.stuck, false)
	}
	f.versions, f.stuck = f.versions[:n], f.stuck[:n]
	if rest := int(f.sizes[0] % sectorSize); rest > 0 {
		last := f.versions[n-1][0]
		cut := &sector{id: id ^ last.id<<32, b: last.b}
		clear(cut.b[rest:])
		if cut.b != last.b {
			f.versions[n-1][0] = cut
		}
	}
}

// Kill returns a new disk with what the end of the process leaves: everything, and what was not
// durable still is not. Hook, handles and mappings stay with the old disk, which is as before.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &Disk{opts: d.opts, dirs: make(map[string]*dir, len(d.dirs)), grave: d.grave,
		next: d.next, gen: d.gen, clock: d.clock}
	copies := map[*file]*file{}
	for path, old := range d.dirs {
		dir := &dir{names: make(map[string]*file), durable: make(map[string]*file)}
		for name, f := range old.names {
			dir.names[name] = d.copy(copies, f)
		}
		for name, f := range old.durable {
			dir.durable[name] = d.copy(copies, f)
		}
		for _, op := range old.pending {
			op.f = d.copy(copies, op.f)
			dir.pending = append(dir.pending, op)
		}
		n.dirs[path] = dir
	}
	return n
}

// Clone returns a copy of the disk, as Kill does.
func (d *Disk) Clone() *Disk { return d.Kill() }

// copy returns f's copy, the same for every name that f has.
func (d *Disk) copy(copies map[*file]*file, f *file) *file {
	if g := copies[f]; g != nil {
		return g
	}
	d.recordLocked(f)
	g := &file{number: f.number, path: f.path, versions: make([][]*sector, len(f.versions)),
		stuck: slices.Clone(f.stuck), sizes: slices.Clone(f.sizes),
		time: f.time, durableTime: f.durableTime, shared: f.shared}
	for i, v := range f.versions {
		g.versions[i] = slices.Clip(v)
	}
	copies[f] = g
	return g
}

// Key identifies what a crash has left among everything that crashes of the same disk, at any time,
// can leave. It must be asked for before the new disk changes.
func (d *Disk) Key() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var key uint64
	for _, dir := range d.dirs {
		for name, f := range dir.names {
			h := uint64(f.sizes[0])
			for _, c := range []byte(name) {
				h = h*0x100000001b3 + uint64(c)
			}
			for _, v := range f.versions {
				h = mix(h ^ v[0].id)
			}
			key += h
		}
	}
	return key
}
