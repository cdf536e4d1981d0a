package segment

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Segment is an open segment file: its mapping, and how far it is filled. Any number of goroutines
// may read it while one [Writer] appends.
type Segment struct {
	Identity
	Primed bool // see Zeros; set by Prepare, if it could
	path   string
	m      *Mapping

	// Link is valid once the segment has one: set by the writer before it publishes the segment's
	// first record, or when the segment is found at open. It does not change afterwards.
	Link Link

	// state is how far frames are published: the offset behind the last one / 8, shifted left by
	// 32, and how many records there are. The writer stores it; anyone reads it.
	state atomic.Uint64

	index     index
	loadIndex sync.Once // for segments found at open
	sealed    *Seal     // found at open; names the index
	rebuilt   atomic.Bool

	// blank is up to where bytes behind the frames are zero. Whoever moves a group, links or seals
	// may use it.
	blank Offset

	// written says that system calls write what is appended, not stores through the mapping. The
	// writer sets it before its first frame.
	written bool

	full atomic.Bool // sealed, or being sealed: the index lies behind the frames

	// wiped is up to where bytes were stored and made zero again; 0: nowhere.
	wiped atomic.Int64

	// populated is how far Populate has got since the last sync; 0: not at all. Whoever populates
	// stores it, a sync resets it.
	populated atomic.Int64

	last [8]byte // of the frames; belongs to the goroutine that syncs
	word [8]byte // the first of a group; belongs to the goroutine that moves it

	refs atomic.Int64 // the owner's and every reader's; unmapped at 0

	mu struct {
		sync.Mutex
		file    File   // nil after Release
		synced  Offset // what Sync has made durable
		newTime bool   // its time of modification is not durable
	}
}

// Open opens the segment file at path for reading, or for reading and writing, and verifies its
// identity against the file's name and size. Damage is a *CorruptError, a newer file ErrVersion.
// The file's descriptor stays open until Release.
func Open(fsys FS, path string, mode OpenMode) (s *Segment, err error) {
	f, err := fsys.Open(path, mode)
	if err != nil {
		return nil, err
	}
	id, err := readIdentity(f, path)
	if err == nil {
		s, err = newSegment(f, path, id, mode)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func newSegment(f File, path string, id Identity, mode OpenMode) (*Segment, error) {
	m, err := f.Map(id.Size, mode)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	s := &Segment{Identity: id, path: path, m: m, blank: Offset(id.Size)}
	if id.Recycled {
		s.blank = recycledBlank
	}
	s.mu.file = f
	s.refs.Store(1)
	s.publish(FirstFrame, 0)
	return s, nil
}

// readIdentity reads a file's identity with an ordinary read, so that a short file is no fault.
func readIdentity(f File, path string) (Identity, error) {
	ordinal, ok := ParseFileName(filepath.Base(path))
	corrupt := func(err error) error {
		return &CorruptError{Path: path, Segment: ordinal, Err: err}
	}
	size, err := f.Size()
	if err != nil {
		return Identity{}, err
	}
	if size < identitySize {
		return Identity{}, corrupt(ErrShort)
	}
	b := make([]byte, identitySize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return Identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	id, err := DecodeIdentity(b)
	switch {
	case errors.Is(err, ErrVersion):
		return id, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return id, corrupt(err)
	case !ok || id.Ordinal != ordinal:
		return id, corrupt(fmt.Errorf("%w: it says it is segment %d", ErrForeign, id.Ordinal))
	case id.Size != size:
		return id, corrupt(fmt.Errorf("%w: %d bytes instead of %d", ErrShort, size, id.Size))
	}
	return id, nil
}

// Path returns the file's path.
func (s *Segment) Path() string { return s.path }

// End returns where the published frames end.
func (s *Segment) End() Offset { return Offset(s.state.Load() >> 32 << 3) }

// Next returns the seq that follows the last published record.
func (s *Segment) Next() Seq { return s.Link.Base + Seq(uint32(s.state.Load())) }

// Adopt makes the segment show what a scan has found: its link, its index, and the records up to
// the scan's end. The segment must have no writer, and no reader yet.
func (s *Segment) Adopt(sc *Scan) {
	s.Link = sc.Link
	s.loadIndex.Do(func() { s.index.set(sc.items) })
	s.publish(sc.End, sc.Next)
}

// AdoptUnread makes the segment show the records up to end without reading them. A successor's
// link, which must be plausible, and a claim cover them. Each record is verified when it is read.
func (s *Segment) AdoptUnread(link Link, end Offset, next Seq, seal *Seal) {
	s.Link, s.sealed = link, seal
	s.publish(end, next)
}

func (s *Segment) publish(end Offset, next Seq) {
	s.state.Store(uint64(end)>>3<<32 | uint64(uint32(next-s.Link.Base)))
}

// ReadLink returns the segment's link, or false if its first frame is not a valid link.
func (s *Segment) ReadLink() (l Link, ok bool, err error) {
	defer s.catch("read link", debug.SetPanicOnFault(true), &err)
	h, payload, ferr := readFrame(s.m.b, FirstFrame, s.Salt)
	if ferr != nil || h.kind != KindLink {
		return Link{}, false, nil
	}
	l, ok = decodeLink(payload, h.seq, s.Ordinal)
	return l, ok, nil
}

// SealSize is the number of bytes that a seal's frame takes.
const SealSize = Offset(sealFrame)

// ReadSeal returns the seal whose frame ends at end, or nil if there is none.
func (s *Segment) ReadSeal(end Offset) (seal *Seal, err error) {
	defer s.catch("read seal", debug.SetPanicOnFault(true), &err)
	at := end - sealFrame
	if at < FirstFrame || at%8 != 0 || end > Offset(len(s.m.b)) {
		return nil, nil
	}
	h, payload, ferr := readFrame(s.m.b, at, s.Salt)
	if ferr != nil || h.kind != KindSeal {
		return nil, nil
	}
	sl, ok := decodeSeal(payload, h.seq, end)
	if !ok {
		return nil, nil
	}
	return &sl, nil
}

// CheckFrame returns why the frame at an offset is not valid, or nil if it is. It does not check
// the order of frames.
func (s *Segment) CheckFrame(at Offset) (why, err error) {
	defer s.catch("check", debug.SetPanicOnFault(true), &err)
	_, _, why = readFrame(s.m.b, at, s.Salt)
	return why, nil
}

// CheckIndex verifies the sparse index that a scan's seal names against the frames. It returns an
// error that matches ErrIndex, or a *FaultError.
func (s *Segment) CheckIndex(sc *Scan) (err error) {
	defer s.catch("check index", debug.SetPanicOnFault(true), &err)
	items, err := decodeIndex(s.m.b, sc.Seal, s.Salt)
	if err != nil {
		return err
	}
	found := sc.items
	for _, g := range sc.Gaps { // nothing can be said about pages that a gap is in
		items, found = g.leaveOut(items), g.leaveOut(found)
	}
	if len(sc.Gaps) > 0 { // nor about times: a gap may hide the mark that says them
		items, found = withoutTimes(items), withoutTimes(found)
	}
	if len(items) != len(found) {
		return fmt.Errorf("%w: %d entries instead of %d", ErrIndex, len(items), len(found))
	}
	for i := range items {
		if items[i] != found[i] {
			return fmt.Errorf("%w: entry %d", ErrIndex, i)
		}
	}
	return nil
}

// Dirty marks the pages from an offset up to another as modified, so that the next sync writes them
// even if the page cache counts them as written. It changes no byte.
func (s *Segment) Dirty(from, to Offset) (err error) {
	defer s.catch("dirty", debug.SetPanicOnFault(true), &err)
	s.m.dirty(from, min(to, Offset(len(s.m.b))))
	return nil
}

// RestoreIndex rewrites the sparse index that a scan's seal names, if it is damaged: a crash may
// have torn it. The new bytes are those that were stored before. If the seal does not confirm them,
// nothing is written.
func (s *Segment) RestoreIndex(sc *Scan) (err error) {
	defer s.catch("restore index", debug.SetPanicOnFault(true), &err)
	if _, err := decodeIndex(s.m.b, sc.Seal, s.Salt); err == nil {
		return nil
	}
	raw := make([]byte, len(sc.items)*indexEntry)
	encodeIndex(raw, sc.items)
	if int(sc.Seal.IndexLen) != len(sc.items) || indexCRC(raw, s.Salt) != sc.Seal.IndexCRC {
		return nil
	}
	copy(s.m.b[sc.Seal.IndexAt:sc.Seal.IndexEnd()], raw)
	s.m.notify()
	return nil
}

// Populate prefaults the pages from an offset up to another, if the system can do that, so that no
// store to them faults. It changes no byte, but the pages count as modified: Sync writes them,
// SyncFrames does not. The caller must keep the segment mapped.
func (s *Segment) Populate(from, to Offset) {
	to = min(to, Offset(len(s.m.b)))
	s.populated.Store(int64(to))
	s.m.populate(from, to)
}

// Populated returns the offset up to which pages have been populated since the last sync; 0 if none
// were.
func (s *Segment) Populated() Offset { return Offset(s.populated.Load()) }

// Sync makes everything in the segment so far durable. A failed sync must not be repeated, because
// the kernel reports a lost page only once. The kernel does not report bytes that were cut off, so
// Sync also checks the file's size. ErrTime is the only error after which Sync may be repeated.
//
// Before the sync, Sync moves the file's time of modification, so that a backup by time copies what
// is durable. The time itself becomes durable only for a full segment: see SyncTime.
func (s *Segment) Sync() error {
	from, end := s.unsynced()
	return s.sync(end, func(f File) error {
		if populated := s.populated.Swap(0); !s.written { // no writer stores through that mapping
			s.m.leave(from, max(end, Offset(populated)))
		}
		if !s.full.Load() {
			return f.Datasync()
		}
		if err := f.Sync(); err != nil {
			return err
		}
		s.setNewTime(false)
		return nil
	})
}

// SyncFrames is Sync for a segment that is stored to. While the segment is not full, it does not
// write modified pages without frames: those that were primed or populated.
func (s *Segment) SyncFrames() error {
	from, end := s.unsynced()
	if s.full.Load() { // behind the frames is the index
		return s.Sync()
	}
	return s.sync(end, func(f File) error {
		s.populated.Store(0) // the rest of the last folio is written, too, and faults again
		s.m.leave(from, end)
		return s.datasync(f, from, end)
	})
}

// SyncRange is Sync for the bytes from:to. The bytes before them must be durable.
func (s *Segment) SyncRange(from, to Offset) error {
	return s.sync(0, func(f File) error { return s.datasync(f, from, to) })
}

func (s *Segment) datasync(f File, from, to Offset) error {
	return f.DatasyncRange(s.m, from, max(to, Offset(s.wiped.Load())))
}

// SyncTime makes the file's time of modification durable, after Sync has moved it. So a power cut
// does not bring back a time that a backup has seen with other bytes of the file. end is where the
// synced frames end.
func (s *Segment) SyncTime(end Offset) error {
	f, _ := s.opened()
	err := errReleased
	if f != nil {
		err = s.touch(f, end, true)
	}
	if err != nil {
		return fmt.Errorf("sync the time of %s: %w", s.path, err)
	}
	s.setNewTime(false)
	return nil
}

// NewTime reports whether the file's time of modification is not durable.
func (s *Segment) NewTime() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.newTime
}

// KeepTime notes that the file's time of modification need not become durable.
func (s *Segment) KeepTime() { s.setNewTime(false) }

func (s *Segment) setNewTime(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.newTime = is
}

// unsynced returns which bytes have frames and were not synced.
func (s *Segment) unsynced() (from, end Offset) {
	_, synced := s.opened()
	return synced, s.End()
}

// opened returns the file, nil after Release, and what Sync has made durable.
func (s *Segment) opened() (f File, synced Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.file, s.mu.synced
}

// sync moves the file's time, syncs the file, and notes that it is durable up to end then; if end
// is 0 it moves and notes nothing.
func (s *Segment) sync(end Offset, sync func(File) error) error {
	f, synced := s.opened()
	err := errReleased
	if f != nil {
		err = nil
	}
	if end > synced && err == nil {
		s.setNewTime(true)
		if !s.written { // what is written by system calls has moved the time
			err = s.touch(f, end, false)
		}
	}
	if err == nil {
		err = sync(f)
	}
	if err == nil {
		err = s.isWhole(f)
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	s.mu.Lock()
	s.mu.synced = max(synced, end)
	s.mu.Unlock()
	return nil
}

// touch moves the time of the file. It writes the last eight bytes of the frames onto themselves:
// no append changes those any more. An append may be writing the bytes after them.
func (s *Segment) touch(f File, end Offset, durable bool) (err error) {
	if end <= FirstFrame {
		return nil
	}
	defer s.catch("touch", debug.SetPanicOnFault(true), &err)
	if err := s.isWhole(f); err != nil { // the write would make it longer
		return err
	}
	copy(s.last[:], s.m.b[end-8:end])
	err = f.Touch(s.last[:], int64(end-8), durable)
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrTime, noSpace(err))
	}
	return err
}

// ErrTime: there is no space to move a file's time of modification before the file is synced.
// Nothing has been synced, and the sync may be repeated. The error also matches ErrNoSpace.
var ErrTime = errors.New("time of modification cannot be moved")

// isWhole returns ErrShort if the file is shorter than the segment.
func (s *Segment) isWhole(f File) error {
	size, err := f.Size()
	if err == nil && size < s.Size {
		err = fmt.Errorf("%w: %d bytes instead of %d", ErrShort, size, s.Size)
	}
	return err
}

// Reserve makes sure that the file has its disk space, if the file system can do that. It changes
// no byte. Lack of space matches ErrNoSpace.
func (s *Segment) Reserve() error {
	f, _ := s.opened()
	if f == nil {
		return fmt.Errorf("reserve %s: %w", s.path, errReleased)
	}
	if err := f.Allocate(s.Size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return noSpace(fmt.Errorf("reserve %s: %w", s.path, err))
	}
	return nil
}

// Links returns the number of names of the segment's file. 0: the file was removed, or its own name
// leads elsewhere.
func (s *Segment) Links() (int, error) {
	f, _ := s.opened()
	if f == nil {
		return 0, fmt.Errorf("stat %s: %w", s.path, errReleased)
	}
	return f.Links()
}

// Release closes the file. The segment must be full and durable, or only read from now on. The
// mapping stays, but becomes read-only. After Release, Scan reads every byte: only through the open
// file can it skip what was never written.
func (s *Segment) Release() error {
	s.mu.Lock()
	f := s.mu.file
	s.mu.file = nil
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return errors.Join(s.m.protect(), f.Close())
}

// Acquire keeps the segment mapped until the matching Drop. It returns false if the segment is
// already unmapped.
func (s *Segment) Acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Drop releases what Acquire or Open gave. The last Drop unmaps the segment and closes its file.
func (s *Segment) Drop() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	s.mu.Lock()
	f := s.mu.file
	s.mu.file = nil
	s.mu.Unlock()
	err := s.m.Close()
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}
