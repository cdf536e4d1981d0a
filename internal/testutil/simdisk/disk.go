// Package simdisk is a simulated disk under a [segment.FS], to crash programs on.
//
// It assumes of a disk no more than the project does. Until a file is synced, each of its 512-byte
// sectors is on the disk as any of the versions it has had since the last sync, independently of
// every other; a new file's unsynced sectors hold garbage. Until a directory is synced, each
// operation on its names has happened or not, independently of the others. A name and what its file
// holds are durable independently.
//
//	disk.go   the disk: names, pending operations on them, the hook that sees every operation
//	file.go   files: page cache, versions of sectors, sync
//	crash.go  what may be left after a crash: counted, enumerated, sampled, made
//	evict.go  pages that a failed sync has given up leave the page cache
//
// Everything but the content of the files is determined by [Options.Seed] and the operations.
package simdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mmjournal/segment"
)

// Options say what a disk does. The zero value is the honest disk.
type Options struct {
	Seed uint64
	// Torn adds, for each sector that a group of stores changes, a version in which only some of
	// its changed 8-byte words are new.
	Torn bool
	// Coarse, if set, says that the sectors of the file that has or had this path need not vary one
	// by one: a crash leaves all of them old, all new, or one mixture.
	Coarse func(path string) bool
	// IgnoreSync makes syncs of files return nil and do nothing; IgnoreSyncDir those of
	// directories.
	IgnoreSync, IgnoreSyncDir bool
}

// OpKind is a kind of operation.
type OpKind uint8

const (
	OpMkdirAll OpKind = iota
	OpReadDir
	OpOpen
	OpCreate
	OpRename
	OpRemove
	OpSyncDir
	OpSize
	OpRead
	OpWrite
	OpTouch
	OpTruncate
	OpAllocate
	OpSync
	OpDatasync
	OpMap
	OpClose
	OpCheck
	OpStore // a group of stores into a mapping; told after it, an error is ignored
)

var opNames = [...]string{"mkdirall", "readdir", "open", "create", "rename", "remove", "syncdir",
	"size", "read", "write", "touch", "truncate", "allocate", "sync", "datasync", "map", "close",
	"check", "store"}

func (k OpKind) String() string { return opNames[k] }

// Op is one operation on a disk.
type Op struct {
	Kind OpKind
	Path string // of a rename: the new one
}

func (o Op) String() string { return o.Kind.String() + " " + filepath.Base(o.Path) }

// Disk is a simulated disk. Safe for concurrent use, but for OnOp, which is to be set before.
type Disk struct {
	// OnOp, if set, is called before every operation, and after every group of stores. An error
	// makes the operation fail and do nothing. No lock is held: it may look at the disk and crash
	// it.
	OnOp func(Op) error

	opts Options

	mu       sync.Mutex
	dirs     map[string]*dir
	grave    *file  // the file removed last: what garbage is made of
	next     uint64 // the next sector's id and file's number
	gen      uint64 // counts changes
	clock    uint64 // counts what moves a file's time
	handles  int
	mappings int
}

type dir struct {
	names   map[string]*file // as running programs see them
	durable map[string]*file
	pending []dirOp // since the last sync of the directory, in order
}

// dirOp is an operation on names: f loses the name old, if any, and gets the name new, if any.
type dirOp struct {
	f        *file
	old, new string
}

// apply does the operation on names. A file never has two names: where an earlier operation on it
// is missing, this one takes away the name that the file has instead.
func (o dirOp) apply(names map[string]*file) {
	if o.old != "" {
		for name, f := range names {
			if f == o.f {
				delete(names, name)
			}
		}
	}
	if o.new != "" {
		names[o.new] = o.f
	}
}

// New returns an empty disk.
func New(o Options) *Disk {
	return &Disk{opts: o, dirs: map[string]*dir{}, next: 1}
}

// Generation changes when what a crash may leave changes.
func (d *Disk) Generation() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gen
}

// Leaks returns how many handles and mappings are open.
func (d *Disk) Leaks() (handles, mappings int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handles, d.mappings
}

// Files returns what running programs see: every file's content by path.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]byte{}
	for path, dir := range d.dirs {
		for name, f := range dir.names {
			all[filepath.Join(path, name)] = slices.Clone(f.bytes())
		}
	}
	return all
}

// Times returns every file's time of modification by path, in no unit. Files that are written, cut
// or touched get one that no file has had. Stores through a mapping leave it as it is, and so does
// a data sync; a power cut takes it back to that of the last sync of the whole file.
func (d *Disk) Times() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]uint64{}
	for path, dir := range d.dirs {
		for name, f := range dir.names {
			all[filepath.Join(path, name)] = f.time
		}
	}
	return all
}

func (d *Disk) moveTime(f *file) {
	d.clock++
	f.time = d.clock
}

// Edit changes a file's content behind everyone's back: durable, in no order, unseen by OnOp. It
// is for damaging files. It reports whether the file exists.
func (d *Disk) Edit(path string, edit func(b []byte)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, name := d.lookup(path)
	if dir == nil || dir.names[name] == nil {
		return false
	}
	f := dir.names[name]
	edit(f.bytes())
	d.recordLocked(f)
	f.settle(f.now(), 0, math.MaxInt64)
	d.gen++
	return true
}

func (d *Disk) hook(kind OpKind, path string) error {
	if d.OnOp == nil {
		return nil
	}
	if err := d.OnOp(Op{kind, path}); err != nil {
		return &fs.PathError{Op: kind.String(), Path: path, Err: err}
	}
	return nil
}

// lookup returns the directory that path is in, nil if there is none, and its name there.
func (d *Disk) lookup(path string) (*dir, string) {
	parent, name := filepath.Split(filepath.Clean(path))
	return d.dirs[filepath.Clean(parent)], name
}

// Check implements [segment.FS]: nobody takes the directory away, unless OnOp says so.
func (d *Disk) Check() error { return d.hook(OpCheck, "") }

// MkdirAll makes a directory, which is durable at once.
func (d *Disk) MkdirAll(path string) error {
	if err := d.hook(OpMkdirAll, path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	path = filepath.Clean(path)
	if d.dirs[path] == nil {
		d.dirs[path] = &dir{names: map[string]*file{}, durable: map[string]*file{}}
		d.gen++
	}
	return nil
}

// ReadDir implements [segment.FS].
func (d *Disk) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := d.hook(OpReadDir, path); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.dirs[filepath.Clean(path)]
	if dir == nil {
		return nil, &fs.PathError{Op: "readdir", Path: path, Err: fs.ErrNotExist}
	}
	var all []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(dir.names)) {
		all = append(all, entry{name, dir.names[name].size()})
	}
	return all, nil
}

// Open implements [segment.FS].
func (d *Disk) Open(path string, mode segment.OpenMode) (segment.File, error) {
	kind := OpOpen
	if mode == segment.Create {
		kind = OpCreate
	}
	if err := d.hook(kind, path); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, name := d.lookup(path)
	if dir == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	f := dir.names[name]
	switch {
	case mode == segment.Create && f != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	case mode == segment.Create:
		f = &file{number: d.next, path: path, sizes: []int64{0}}
		d.next++
		d.moveTime(f)
		f.durableTime = f.time
		d.change(dir, dirOp{f: f, new: name})
	case f == nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if f.sole {
		return nil, &fs.PathError{Op: "open", Path: path, Err: segment.ErrFileLocked}
	}
	f.handles++
	d.handles++
	return &handle{d: d, f: f, mode: mode}, nil
}

// change does an operation on names and remembers it as pending.
func (d *Disk) change(dir *dir, op dirOp) {
	op.apply(dir.names)
	dir.pending = append(slices.Clip(dir.pending), op)
	d.gen++
}

// Rename implements [segment.FS], within one directory.
func (d *Disk) Rename(oldPath, newPath string) error {
	if err := d.hook(OpRename, newPath); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	from, oldName := d.lookup(oldPath)
	to, newName := d.lookup(newPath)
	if from == nil || from.names[oldName] == nil {
		return &fs.PathError{Op: "rename", Path: oldPath, Err: fs.ErrNotExist}
	}
	if from != to {
		return &fs.PathError{Op: "rename", Path: newPath, Err: errors.ErrUnsupported}
	}
	if replaced := to.names[newName]; replaced != nil {
		d.grave = replaced
	}
	f := from.names[oldName]
	f.path = newPath
	d.change(from, dirOp{f: f, old: oldName, new: newName})
	return nil
}

// Remove implements [segment.FS].
func (d *Disk) Remove(path string) error {
	if err := d.hook(OpRemove, path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, name := d.lookup(path)
	if dir == nil || dir.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	d.grave = dir.names[name]
	d.change(dir, dirOp{f: dir.names[name], old: name})
	return nil
}

// SyncDir implements [segment.FS].
func (d *Disk) SyncDir(path string) error {
	if err := d.hook(OpSyncDir, path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.dirs[filepath.Clean(path)]
	if dir == nil {
		return &fs.PathError{Op: "syncdir", Path: path, Err: fs.ErrNotExist}
	}
	if !d.opts.IgnoreSyncDir && len(dir.pending) > 0 {
		dir.durable, dir.pending = maps.Clone(dir.names), nil
		d.gen++
	}
	return nil
}

// ErrHalf, as what [Disk.OnOp] returns for a read or a write, has half of it done before it fails,
// as a disk that is full, or fails, does.
var ErrHalf = errors.New("half of it was done")

// Ops counts operations and lets the k-th, from 0, fail with Err: once, or from then on.
// Its Hook is made for [Disk.OnOp]. If Err is ErrReplaced it counts checks of the directory, and
// otherwise all but those.
type Ops struct {
	N      int
	FailAt int   // -1: none
	Sticky bool  // all of the same kind from then on
	Err    error // EIO if nil
	kind   OpKind
}

// Hook counts op and returns the error that it is to fail with.
func (o *Ops) Hook(op Op) error {
	err := o.Err
	if err == nil {
		err = syscall.EIO
	}
	if (op.Kind == OpCheck) != errors.Is(err, segment.ErrReplaced) {
		return nil
	}
	n := o.N
	o.N++
	if n == o.FailAt {
		o.kind = op.Kind
		return fmt.Errorf("operation %d: %w", n, err)
	}
	if o.FailAt >= 0 && n > o.FailAt && o.Sticky && op.Kind == o.kind {
		return fmt.Errorf("operation %d: %w", n, err)
	}
	return nil
}

// IsTemporary reports whether path ends in ".tmp": made for [Options.Coarse].
func IsTemporary(path string) bool { return strings.HasSuffix(path, ".tmp") }

// entry is a file in a directory listing.
type entry struct {
	name string
	size int64
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return false }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return e.size }
func (e entry) Mode() fs.FileMode          { return 0o644 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
