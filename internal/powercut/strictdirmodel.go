//go:build linux

package powercut

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

const strictSectorSize = 512

// strictSector is the unit in which the disk keeps or loses what was not synced.
type strictSector [strictSectorSize]byte

var strictZeros strictSector

// strictModel is what a file system holds at a point of its log: what is durable, and what has been
// changed since.
type strictModel struct {
	inodes map[uint64]*strictInode
}

// strictInode is a file or a directory; a directory has entries.
type strictInode struct {
	// Of a directory.
	entries map[string]uint64 // durable
	changes []strictOp        // since its last fsync, in order

	// Of a file. A sector that is missing in a map is zero.
	size, stableSize int64
	now, stable      map[int64]*strictSector
	versions         map[int64][]*strictSector // written since the last fsync
	sizes            []int64                   // likewise
	synced           bool                      // ever
}

// newStrictModel replays a log.
func newStrictModel(log []strictOp) *strictModel {
	m := &strictModel{inodes: map[uint64]*strictInode{
		strictRoot: {entries: map[string]uint64{}},
	}}
	for i := range log {
		m.apply(&log[i])
	}
	return m
}

func (m *strictModel) apply(op *strictOp) {
	f := m.inodes[op.File]
	switch op.Kind {
	case strictCreate:
		m.inodes[op.File] = &strictInode{
			now: map[int64]*strictSector{}, stable: map[int64]*strictSector{},
			versions: map[int64][]*strictSector{},
		}
	case strictMkdir:
		m.inodes[op.File] = &strictInode{entries: map[string]uint64{}}
	case strictWrite:
		f.write(op.Off, op.Data)
	case strictResize:
		f.resize(op.Size)
	case strictSync:
		f.sync()
	case strictSyncDir:
		for i := range f.changes {
			f.changes[i].change(f.entries)
		}
		f.changes = nil
	}
	if op.naming() {
		dir := m.inodes[op.Dir]
		dir.changes = append(dir.changes, *op)
	}
}

// change makes the operation's change to a directory. If those before it got lost, it is still
// itself: a rename leaves exactly one of the names.
func (op *strictOp) change(entries map[string]uint64) {
	name := op.Name
	if op.Kind == strictRemove || op.Kind == strictRename {
		if entries[op.Name] == op.File {
			delete(entries, op.Name)
		}
		name = op.NewName
	}
	if op.Kind != strictRemove {
		entries[name] = op.File
	}
}

func (f *strictInode) write(off int64, data []byte) {
	if end := off + int64(len(data)); end > f.size {
		f.size = end
		f.sizes = append(f.sizes, end)
	}
	for len(data) > 0 {
		n, within := off/strictSectorSize, off%strictSectorSize
		s := &strictSector{}
		if old := f.now[n]; old != nil {
			*s = *old
		}
		k := copy(s[within:], data)
		f.put(n, s)
		data, off = data[k:], off+int64(k)
	}
}

func (f *strictInode) put(n int64, s *strictSector) {
	f.now[n] = s
	f.versions[n] = append(f.versions[n], s)
}

// resize changes the size; what is cut off reads as zeros if the file grows again.
func (f *strictInode) resize(size int64) {
	for n, s := range f.now {
		switch from := size - n*strictSectorSize; {
		case from <= 0:
			f.put(n, &strictZeros)
		case from < strictSectorSize:
			cut := *s
			clear(cut[from:])
			f.put(n, &cut)
		}
	}
	f.size = size
	f.sizes = append(f.sizes, size)
}

func (f *strictInode) sync() {
	for n := range f.versions {
		f.stable[n] = f.now[n]
	}
	clear(f.versions)
	f.stableSize, f.sizes, f.synced = f.size, nil, true
}

// strictDraw draws what a power cut leaves of a model.
type strictDraw struct {
	model *strictModel
	rnd   *rand.Rand
	lost  int // changes of directories that did not make it
}

// chance draws how likely it is that an undurable change has made it; extremes are likely.
func (d *strictDraw) chance() float64 {
	return []float64{0, 0.1, 0.5, 0.5, 0.9, 1}[d.rnd.IntN(6)]
}

// write writes the directory with that inode number to an empty directory of the real file system.
func (d *strictDraw) write(ino uint64, path string) error {
	dir := d.model.inodes[ino]
	entries := maps.Clone(dir.entries)
	kept := d.chance()
	for i := range dir.changes {
		if d.rnd.Float64() < kept {
			dir.changes[i].change(entries)
		} else {
			d.lost++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		sub := filepath.Join(path, name)
		child := d.model.inodes[entries[name]]
		var err error
		if child.entries == nil {
			err = os.WriteFile(sub, d.content(child), 0o600)
		} else if err = os.Mkdir(sub, 0o700); err == nil {
			err = d.write(entries[name], sub)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// content draws the size and the sectors of a file. A file that has never been synced may show
// anything where its bytes did not make it.
func (d *strictDraw) content(f *strictInode) []byte {
	size := f.stableSize
	if len(f.sizes) > 0 {
		if i := d.rnd.IntN(len(f.sizes) + 1); i > 0 {
			size = f.sizes[i-1]
		}
	}
	b := make([]byte, (size+strictSectorSize-1)/strictSectorSize*strictSectorSize)
	put := func(n int64, s *strictSector) {
		if off := n * strictSectorSize; off < int64(len(b)) {
			copy(b[off:], s[:])
		}
	}
	for n, s := range f.stable {
		put(n, s)
	}
	kept, stale := d.chance(), !f.synced && d.rnd.IntN(2) == 0
	for _, n := range slices.Sorted(maps.Keys(f.versions)) {
		v := f.versions[n]
		switch {
		case d.rnd.Float64() < kept:
			put(n, v[d.rnd.IntN(len(v))])
		case stale:
			put(n, &strictSector{byte(d.rnd.Uint32()), 1, 2, 3})
		}
	}
	return b[:size]
}
