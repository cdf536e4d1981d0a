package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// Everything here is fixed, so that the same test always makes the same bytes.
var (
	testJournal = ID{0: 0x11, 1: 0x22, 2: 0x33, 6: 0x4a, 8: 0x8b, 15: 0xff}
	testTime    = time.Unix(1_700_000_000, 123_456_789)
)

const testSalt = 0x0123_4567_89ab_cdef

// testIdentity returns the identity of a small segment.
func testIdentity(ordinal uint64) Identity {
	return Identity{
		Journal: testJournal, Ordinal: ordinal, Salt: testSalt + ordinal,
		Size: MinSize, Created: testTime,
	}
}

// startLink is the link of a segment in which a journal begins.
func startLink() Link {
	return Link{Base: 1, FirstLive: 1, Time: testTime, Reason: ReasonStart}
}

// heapBytes returns size zero bytes whose address is a multiple of 8, from the Go heap: there the
// race detector sees every access. (Inlined, it might take them from the stack.)
//
//go:noinline
func heapBytes(size int64) []byte { return make([]byte, size) }

// heapFile is a File over bytes of the heap, as much of one as a Segment needs.
type heapFile struct {
	File   // nil: what is not below is not needed
	b      []byte
	stored func(from, to Offset)
}

func (f *heapFile) Size() (int64, error) { return int64(len(f.b)), nil }
func (f *heapFile) Datasync() error      { return nil }

func (f *heapFile) DatasyncRange(*Mapping, Offset, Offset) error { return nil }

func (f *heapFile) Close() error                        { return nil }
func (f *heapFile) Uncache()                            {}
func (f *heapFile) Touch([]byte, int64, bool) error     { return nil }
func (f *heapFile) NextData(off int64) (from, to int64) { return off, int64(len(f.b)) }
func (f *heapFile) Map(int64, OpenMode) (*Mapping, error) {
	return NewMapping(f.b, nil, f.stored), nil
}

// heapSegment returns a prepared segment over bytes of the heap. stored may be nil.
func heapSegment(tb testing.TB, id Identity, stored func(from, to Offset)) *Segment {
	tb.Helper()
	b := heapBytes(id.Size)
	copy(b, id.Encode())
	return openBytes(tb, b, id, stored)
}

// openBytes returns a segment over bytes that a test has made.
func openBytes(tb testing.TB, b []byte, id Identity, stored func(from, to Offset)) *Segment {
	tb.Helper()
	s, err := newSegment(&heapFile{b: b, stored: stored}, FileName(id.Ordinal), id, ReadWrite)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// adopted returns a segment over a copy of another one's bytes, as recovery would open it.
func adopted(tb testing.TB, from *Segment) *Segment {
	tb.Helper()
	s := openBytes(tb, slices.Clone(from.m.b), from.Identity, nil)
	s.Adopt(scan(tb, s, 0))
	return s
}

func scan(tb testing.TB, s *Segment, limit Offset) *Scan {
	tb.Helper()
	sc, err := s.Scan(limit)
	if err != nil {
		tb.Fatal(err)
	}
	return sc
}

// heapWriter returns a writer on a new segment whose link is there.
func heapWriter(tb testing.TB, size int64) *Writer {
	tb.Helper()
	id := testIdentity(1)
	id.Size = size
	w, err := NewWriter(heapSegment(tb, id, nil), startLink(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// mustAppend appends records, each of which must fit.
func mustAppend(tb testing.TB, w *Writer, payloads ...string) {
	tb.Helper()
	for _, p := range payloads {
		if !w.Fits(FrameSize(int64(len(p))), false) {
			tb.Fatalf("a record of %d bytes does not fit at %v", len(p), w.Position())
		}
		if err := w.Append([]byte(p), Checksum([]byte(p))); err != nil {
			tb.Fatal(err)
		}
	}
}

// mustBatch appends a batch.
func mustBatch(tb testing.TB, w *Writer, payloads ...string) {
	tb.Helper()
	var list [][]byte
	var crcs []uint32
	for _, p := range payloads {
		list = append(list, []byte(p))
		crcs = append(crcs, Checksum([]byte(p)))
	}
	if err := w.AppendBatch(list, crcs); err != nil {
		tb.Fatal(err)
	}
}

// mustMark appends a mark, which must fit.
func mustMark(tb testing.TB, w *Writer, m Mark) {
	tb.Helper()
	if ok, err := w.Mark(m); err != nil || !ok {
		tb.Fatalf("Mark: %v, %v", ok, err)
	}
}

// markAt is a mark that claims everything before it.
func markAt(w *Writer) Mark {
	return Mark{Claim: w.Position(), FirstLive: 1, Time: testTime.Add(time.Second)}
}

// mustSeal seals the segment for a successor with the next ordinal.
func mustSeal(tb testing.TB, w *Writer) {
	tb.Helper()
	succ := testIdentity(w.s.Ordinal + 1)
	if err := w.Seal(&succ); err != nil {
		tb.Fatal(err)
	}
}

// payloads reads records that a segment shows, from the first seq on.
func payloads(tb testing.TB, s *Segment) []string {
	tb.Helper()
	var list []string
	for seq := s.Link.Base; seq < s.Next(); seq++ {
		p, err := s.Read(seq, nil)
		if err != nil {
			tb.Fatalf("Read(%d): %v", seq, err)
		}
		list = append(list, string(p))
	}
	return list
}

// putFrame writes any frame at off, with the right checksum, and returns where the next one goes.
func putFrame(b []byte, off Offset, salt uint64, seq Seq, kind Kind, payload []byte) Offset {
	copy(b[off+HeaderSize:], payload)
	store64(b, off, fillFrame(b[off:], off, len(payload), Checksum(payload), salt, seq, kind))
	return off + pad8(Offset(HeaderSize+len(payload)))
}

func linkBytes(l Link) []byte {
	b := make([]byte, linkPayload)
	l.encode(b)
	return b
}

func markBytes(m Mark) []byte {
	b := make([]byte, markPayload)
	m.encode(b)
	return b
}

func sealBytes(s Seal) []byte {
	b := make([]byte, sealPayload)
	s.encode(b)
	return b
}

// hookFS lets a test see, and fail, every operation on a file system and its files.
type hookFS struct {
	FS
	// hook is called before each operation; an error makes it fail and do nothing.
	hook func(op, path string) error
	// zeroes: files are filled with zeros by one call, for once without doing it.
	zeroes bool

	mu      sync.Mutex
	handles int // open files
	maps    int // mappings
}

func (h *hookFS) call(op, path string) error {
	if h.hook == nil {
		return nil
	}
	return h.hook(op, filepath.Base(path))
}

func (h *hookFS) count(handles, maps int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handles += handles
	h.maps += maps
}

func (h *hookFS) Rename(oldPath, newPath string) error {
	if err := h.call("rename", newPath); err != nil {
		return err
	}
	return h.FS.Rename(oldPath, newPath)
}

func (h *hookFS) Remove(path string) error {
	if err := h.call("remove", path); err != nil {
		return err
	}
	return h.FS.Remove(path)
}

func (h *hookFS) SyncDir(dir string) error {
	if err := h.call("syncdir", dir); err != nil {
		return err
	}
	return h.FS.SyncDir(dir)
}

func (h *hookFS) Open(path string, mode OpenMode) (File, error) {
	if err := h.call("open", path); err != nil {
		return nil, err
	}
	f, err := h.FS.Open(path, mode)
	if err != nil {
		return nil, err
	}
	h.count(1, 0)
	return &hookFile{File: f, fsys: h, path: path}, nil
}

type hookFile struct {
	File
	fsys *hookFS
	path string
}

func (f *hookFile) Size() (int64, error) {
	if err := f.fsys.call("size", f.path); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *hookFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fsys.call("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *hookFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fsys.call("write", f.path); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *hookFile) Zero(from, to int64) (done bool) {
	return f.fsys.call("zero", f.path) == nil && (f.fsys.zeroes || f.File.Zero(from, to))
}

func (f *hookFile) Truncate(size int64) error {
	if err := f.fsys.call("truncate", f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *hookFile) Allocate(size int64) error {
	if err := f.fsys.call("allocate", f.path); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *hookFile) Sync() error {
	if err := f.fsys.call("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *hookFile) Datasync() error {
	if err := f.fsys.call("datasync", f.path); err != nil {
		return err
	}
	return f.File.Datasync()
}

func (f *hookFile) DatasyncRange(m *Mapping, from, to Offset) error {
	if err := f.fsys.call("datasync", f.path); err != nil {
		return err
	}
	return f.File.DatasyncRange(m, from, to)
}

func (f *hookFile) Map(size int64, mode OpenMode) (*Mapping, error) {
	if err := f.fsys.call("map", f.path); err != nil {
		return nil, err
	}
	m, err := f.File.Map(size, mode)
	if err != nil {
		return nil, err
	}
	f.fsys.count(0, 1)
	unmap := m.unmap
	m.unmap = func() error {
		f.fsys.count(0, -1)
		if unmap == nil {
			return nil
		}
		return unmap()
	}
	return m, nil
}

// Close closes the file even where the hook makes it fail: so does close(2).
func (f *hookFile) Close() error {
	err := f.fsys.call("close", f.path)
	f.fsys.count(-1, 0)
	return errors.Join(err, f.File.Close())
}

// readFile returns a file's content.
func readFile(tb testing.TB, fsys FS, path string) []byte {
	tb.Helper()
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		tb.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		tb.Fatal(err)
	}
	return b
}

// writeFile makes a file with some content.
func writeFile(tb testing.TB, fsys FS, path string, content []byte) {
	tb.Helper()
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	f, err := fsys.Open(path, Create)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		tb.Fatal(err)
	}
}

// names lists a directory.
func names(tb testing.TB, fsys FS, dir string) []string {
	tb.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// firstDifference says where two contents differ, for failures that a dump would bury.
func firstDifference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes instead of %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			n := min(i+16, len(got))
			return fmt.Sprintf("at %d: % x instead of % x", i, got[i:n], want[i:n])
		}
	}
	if !bytes.Equal(got, want) {
		panic("unreachable")
	}
	return ""
}

// scanAll is scanBytes where nothing is known about the bytes.
func scanAll(b []byte, id *Identity, limit Offset) *Scan {
	return scanBytes(b, id, limit, allOf(b), nil)
}

// fillFrame is Writer.fill for a frame at any offset, with any salt and seq.
func fillFrame(f []byte, off Offset, n int, crc uint32, salt uint64, seq Seq, kind Kind) uint64 {
	w := Writer{s: &Segment{Identity: Identity{Salt: salt}}, at: off, next: seq}
	return w.fill(f, n, crc, kind)
}

// stores is what readers see at each group of stores: what is in the bytes, and which seq a reader
// of this process takes for the next one.
type stores struct {
	scans []*Scan
	next  []Seq
}

// watchedWriter returns a writer, and what its stores show.
func watchedWriter(tb testing.TB) (w *Writer, seen *stores) {
	tb.Helper()
	seen = new(stores)
	var s *Segment
	s = heapSegment(tb, testIdentity(1), func(_, _ Offset) {
		seen.scans = append(seen.scans, scanAll(s.m.b, &s.Identity, 0))
		seen.next = append(seen.next, s.Next())
	})
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w, seen
}
