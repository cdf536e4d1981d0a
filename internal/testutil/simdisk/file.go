package simdisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"

	"mmjournal/segment"
)

const (
	sectorSize     = 512
	sectorsPerPage = 8
)

// sector is one version of a sector's bytes. It never changes.
type sector struct {
	id uint64 // unlike every other version's on the same disk; 0: all zero
	b  [sectorSize]byte
}

var zeroSector = new(sector)

// file is a file with or without a name. The disk's lock guards it, but for the bytes of cache,
// which mappings write.
type file struct {
	number uint64
	path   string // the last that it had
	// versions of each sector: the durable one, then those since the last sync, in order.
	versions [][]*sector
	// stuck sectors were not written by a sync that failed: the kernel has forgotten that they are
	// dirty, and will not write them before their page is stored to again.
	stuck    []bool
	sizes    []int64 // as versions
	oldSizes int     // how many there were before sizes[0]
	cache    []byte  // the page cache, whole sectors; nil: equal to the newest versions
	maps     int     // live mappings of cache
	handles  int     // open ones
	sole     bool    // the only handle has it to itself
	shared   bool    // it has a second name, in another directory

	time, durableTime uint64 // of modification
}

func (f *file) size() int64 { return f.sizes[len(f.sizes)-1] }

// bytes returns the page cache's bytes of the file.
func (f *file) bytes() []byte {
	if f.cache == nil {
		f.cache = make([]byte, len(f.versions)*sectorSize)
		for i, v := range f.versions {
			if s := v[len(v)-1]; s != zeroSector {
				copy(f.cache[i*sectorSize:], s.b[:])
			}
		}
	}
	return f.cache[:f.size()]
}

// moment remembers what was the newest then.
type moment struct {
	versions []*sector
	sizes    int // counted from the file's creation
}

func (f *file) now() moment {
	m := moment{make([]*sector, len(f.versions)), f.oldSizes + len(f.sizes)}
	for i, v := range f.versions {
		m.versions[i] = v[len(v)-1]
	}
	return m
}

// newest reports whether sector i has not changed since m.
func (f *file) newest(m moment, i int) bool {
	return i < len(m.versions) && f.versions[i][len(f.versions[i])-1] == m.versions[i]
}

// settle makes what was the newest at m durable, but for stuck sectors, and for those without a
// byte of from:to. It reports whether that changed anything.
func (f *file) settle(m moment, from, to segment.Offset) (changed bool) {
	for i, s := range m.versions[:min(len(m.versions), len(f.versions))] {
		at := segment.Offset(i) * sectorSize
		if to <= at || at+sectorSize <= from {
			continue
		}
		if k := slices.Index(f.versions[i], s); k > 0 && !f.stuck[i] {
			f.versions[i] = f.versions[i][k:]
			changed = true
		}
	}
	if k := m.sizes - f.oldSizes - 1; k > 0 {
		f.sizes = f.sizes[k:]
		f.oldSizes += k
		changed = true
	}
	return changed
}

// recordLocked makes versions of the sectors whose bytes in the page cache have changed, and
// reports whether there are any.
func (d *Disk) recordLocked(f *file) (changed bool) {
	if f.cache == nil {
		return false
	}
	for i := range f.versions {
		now := f.cache[i*sectorSize : (i+1)*sectorSize]
		last := f.versions[i][len(f.versions[i])-1]
		if bytes.Equal(now, last.b[:]) {
			continue
		}
		if mid := d.torn(last, now); mid != nil {
			f.versions[i] = append(slices.Clip(f.versions[i]), mid)
		}
		f.versions[i] = append(slices.Clip(f.versions[i]), d.newSector(now))
		f.unstick(i)
		changed = true
	}
	if changed {
		d.gen++
	}
	return changed
}

// unstick makes the page of sector i dirty.
func (f *file) unstick(i int) {
	from := i / sectorsPerPage * sectorsPerPage
	clear(f.stuck[from:min(from+sectorsPerPage, len(f.stuck))])
}

func (d *Disk) newSector(b []byte) *sector {
	s := &sector{id: d.next}
	d.next++
	copy(s.b[:], b)
	return s
}

// torn returns a version between old and now: some of the changed words are new. It returns nil if
// there is none.
func (d *Disk) torn(old *sector, now []byte) *sector {
	if !d.opts.Torn {
		return nil
	}
	mid := &sector{id: d.next, b: old.b}
	r := mix(d.opts.Seed ^ d.next)
	some, all := false, true
	for w := 0; w < sectorSize; w += 8 {
		if binary.NativeEndian.Uint64(now[w:]) == binary.NativeEndian.Uint64(mid.b[w:]) {
			continue
		}
		r = mix(r)
		if r&1 == 0 {
			copy(mid.b[w:w+8], now[w:])
			some = true
		} else {
			all = false
		}
	}
	if !some || all {
		return nil
	}
	d.next++
	return mid
}

// garbage returns what a sector that was never written holds: what it held when it was part of the
// file removed last, or noise.
func (d *Disk) garbage(f *file, i int) *sector {
	r := mix(d.opts.Seed ^ f.number<<20 ^ uint64(i))
	if d.grave != nil && i < len(d.grave.versions) && r&1 == 0 {
		return d.grave.versions[i][0]
	}
	s := &sector{id: d.next}
	d.next++
	for w := 0; w < sectorSize; w += 8 {
		r = mix(r)
		binary.LittleEndian.PutUint64(s.b[w:], r)
	}
	return s
}

// resize sets the size. It fails where a mapping would have to move.
func (d *Disk) resize(f *file, size int64) error {
	n := int((size + sectorSize - 1) / sectorSize)
	if f.maps > 0 && n != len(f.versions) {
		return fmt.Errorf("simdisk: the file is mapped: resizing it is not simulated")
	}
	if n != len(f.versions) {
		cache := make([]byte, n*sectorSize)
		copy(cache, f.bytes())
		for i := len(f.versions); i < n; i++ {
			f.versions = append(f.versions, []*sector{d.garbage(f, i), zeroSector})
			f.stuck = append(f.stuck, false)
		}
		f.versions, f.stuck, f.cache = f.versions[:n], f.stuck[:n], cache
	}
	d.moveTime(f)
	if size != f.size() {
		f.sizes = append(slices.Clip(f.sizes), size)
		d.gen++
	}
	f.bytes()
	clear(f.cache[size:])
	d.recordLocked(f)
	return nil
}

// handle is an open file.
type handle struct {
	d      *Disk
	f      *file
	mode   segment.OpenMode
	closed bool
}

func (h *handle) fail(kind OpKind, err error) error {
	return &fs.PathError{Op: kind.String(), Path: h.f.path, Err: err}
}

// begin calls the hook and takes the lock, which the caller gives back if there is no error.
func (h *handle) begin(kind OpKind, writes bool) error {
	if err := h.d.hook(kind, h.f.path); err != nil {
		return err
	}
	h.d.mu.Lock()
	if h.closed {
		h.d.mu.Unlock()
		return h.fail(kind, fs.ErrClosed)
	}
	if writes && h.mode == segment.ReadOnly {
		h.d.mu.Unlock()
		return h.fail(kind, fs.ErrPermission)
	}
	return nil
}

// Size implements [segment.File].
func (h *handle) Size() (int64, error) {
	if err := h.begin(OpSize, false); err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	return h.f.size(), nil
}

// ReadAt implements [segment.File].
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.begin(OpRead, false); errors.Is(err, ErrHalf) {
		h.d.mu.Lock()
		defer h.d.mu.Unlock()
		return copy(p[:len(p)/2], h.f.bytes()[min(off, h.f.size()):]), err
	} else if err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	if off < 0 || off > h.f.size() {
		return 0, io.EOF
	}
	n := copy(p, h.f.bytes()[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements [segment.File].
func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	err := h.begin(OpWrite, true)
	if errors.Is(err, ErrHalf) {
		h.d.mu.Lock()
		p = p[:len(p)/2]
	} else if err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	if off < 0 {
		return 0, h.fail(OpWrite, fs.ErrInvalid)
	}
	if end := off + int64(len(p)); end > h.f.size() {
		if err := h.d.resize(h.f, end); err != nil {
			return 0, h.fail(OpWrite, err)
		}
	}
	copy(h.f.bytes()[off:], p)
	h.d.recordLocked(h.f)
	h.d.moveTime(h.f)
	return len(p), err
}

// Touch implements [segment.File]. The bytes are written, whatever they are.
func (h *handle) Touch(p []byte, off int64, durable bool) error {
	if err := h.begin(OpTouch, true); err != nil {
		return err
	}
	defer h.d.mu.Unlock()
	if off < 0 || off+int64(len(p)) > h.f.size() {
		return h.fail(OpTouch, fs.ErrInvalid)
	}
	copy(h.f.bytes()[off:], p)
	h.d.recordLocked(h.f)
	h.f.unstick(int(off / sectorSize))
	h.d.moveTime(h.f)
	if durable {
		h.f.durableTime = h.f.time
	}
	return nil
}

// Truncate implements [segment.File].
func (h *handle) Truncate(size int64) error {
	if err := h.begin(OpTruncate, true); err != nil {
		return err
	}
	defer h.d.mu.Unlock()
	if size < 0 {
		return h.fail(OpTruncate, fs.ErrInvalid)
	}
	if err := h.d.resize(h.f, size); err != nil {
		return h.fail(OpTruncate, err)
	}
	return nil
}

// Allocate implements [segment.File]: there is space until OnOp says that there is none.
func (h *handle) Allocate(int64) error {
	if err := h.begin(OpAllocate, true); err != nil {
		return err
	}
	h.d.mu.Unlock()
	return nil
}

// Zero implements [segment.File]: writes do it.
func (h *handle) Zero(int64, int64) (done bool) { return false }

// Uncache implements [segment.File].
func (h *handle) Uncache() {}

// SetPath implements [segment.File]: the disk knows the name.
func (h *handle) SetPath(string) {}

// Links implements [segment.File]: a file has one name, or none, and one more if it is shared. It
// is no operation on the disk.
func (h *handle) Links() (n int, err error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	for _, dir := range h.d.dirs {
		for _, f := range dir.names {
			if f == h.f {
				n = 1
			}
		}
	}
	if h.f.shared {
		n++
	}
	return n, nil
}

// Shared reports whether a file that has a name has a second one.
func (d *Disk) Shared() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range d.dirs {
		for _, f := range dir.names {
			if f.shared {
				return true
			}
		}
	}
	return false
}

// Share gives each file that has a name a second one, as a snapshot by hard links does. The second
// names are not in [Disk.Files], and nothing removes them.
func (d *Disk) Share() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range d.dirs {
		for _, f := range dir.names {
			f.shared = true
		}
	}
}

// NextData implements [segment.File]: sectors full of zeros are holes.
func (h *handle) NextData(off int64) (from, to int64) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	b := h.f.bytes()
	end := h.f.size()
	for from = off; from < end && holeAt(b, from); from = from - from%sectorSize + sectorSize {
	}
	for to = from; to < end && !holeAt(b, to); to = to - to%sectorSize + sectorSize {
	}
	return from, min(to, end)
}

// holeAt reports whether the sector at off holds only zeros.
func holeAt(b []byte, off int64) bool {
	off -= off % sectorSize
	return bytes.Count(b[off:off+sectorSize], []byte{0}) == sectorSize
}

// Sync implements [segment.File].
func (h *handle) Sync() error { return h.sync(OpSync, 0, math.MaxInt64) }

// Datasync implements [segment.File].
func (h *handle) Datasync() error { return h.sync(OpDatasync, 0, math.MaxInt64) }

// DatasyncRange implements [segment.File]. It makes no other sector durable.
func (h *handle) DatasyncRange(_ *segment.Mapping, from, to segment.Offset) error {
	return h.sync(OpDatasync, from, to)
}

// sync makes durable what was there when it was called: stores during the call, which OnOp may do,
// need another one. Failing, it does what a kernel does: it forgets what was dirty, so that a
// second sync returns nil although the bytes are lost.
func (h *handle) sync(kind OpKind, from, to segment.Offset) error {
	h.d.mu.Lock()
	h.d.recordLocked(h.f)
	called := h.f.now()
	h.d.mu.Unlock()
	err := h.begin(kind, false)
	if err != nil {
		h.d.mu.Lock()
		defer h.d.mu.Unlock()
		for i, v := range h.f.versions {
			h.f.stuck[i] = len(v) > 1 && (h.f.stuck[i] || h.f.newest(called, i))
		}
		return err
	}
	defer h.d.mu.Unlock()
	if !h.d.opts.IgnoreSync && h.f.settle(called, from, to) {
		h.d.gen++
	}
	if kind == OpSync && !h.d.opts.IgnoreSync {
		h.f.durableTime = h.f.time
	}
	return nil
}

// Sole implements [segment.File].
func (h *handle) Sole() bool {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.f.sole = h.f.handles == 1 && h.f.maps == 0 && !h.f.shared
	return h.f.sole
}

// Map implements [segment.File]. The mapping's bytes are the page cache; every mapping and handle
// of the file shares them.
func (h *handle) Map(size int64, mode segment.OpenMode) (*segment.Mapping, error) {
	if err := h.begin(OpMap, mode != segment.ReadOnly); err != nil {
		return nil, err
	}
	defer h.d.mu.Unlock()
	if size <= 0 || size > h.f.size() {
		return nil, h.fail(OpMap, fs.ErrInvalid)
	}
	d, f := h.d, h.f
	f.maps++
	d.mappings++
	unmap := func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.recordLocked(f)
		f.maps--
		d.mappings--
		return nil
	}
	var stored func(from, to segment.Offset)
	if mode != segment.ReadOnly {
		stored = func(from, to segment.Offset) { d.stored(f, from, to) }
	}
	return segment.NewMapping(f.bytes()[:size:size], unmap, stored), nil
}

// stored records what a group of stores changed. The page of what was marked as modified without a
// change is written by the next sync.
func (d *Disk) stored(f *file, from, to segment.Offset) {
	d.mu.Lock()
	d.recordLocked(f)
	if from < to {
		f.unstick(int(from / sectorSize))
	}
	d.mu.Unlock()
	if d.OnOp != nil {
		_ = d.OnOp(Op{OpStore, f.path})
	}
}

// Close implements [segment.File]. The descriptor is gone even if it fails.
func (h *handle) Close() error {
	err := h.d.hook(OpClose, h.f.path)
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.closed {
		return h.fail(OpClose, fs.ErrClosed)
	}
	h.closed = true
	h.d.handles--
	h.f.handles--
	h.f.sole = false
	return err
}

// mix is a step of a pseudo-random sequence (SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, mix(seed))) }
