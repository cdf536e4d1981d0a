package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mmjournal/segment"
)

const testDir = "journal"

// dir builds a journal's directory in memory, with the real writer, the way package journal does.
// Identities and times are fixed.
type dir struct {
	testing.TB
	fsys      segment.FS
	file      segment.JournalFile
	w         *segment.Writer
	open      []*segment.Segment
	records   []string // that the journal holds, from seq 1 on
	firstLive segment.Seq
	claim     segment.Position // that is not written yet, or was
	salt      uint64
	ticks     int
}

// newDir returns a directory in which a journal was created and nothing appended.
func newDir(tb testing.TB) *dir {
	d := &dir{TB: tb, fsys: segment.NewHeapFS(), firstLive: 1, salt: 0x5a5a_0000_1111_2200}
	copy(d.file.Journal[:], "recovery\x4atest")
	d.file.Created = d.now()
	d.writeJournal()
	return d
}

func (d *dir) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *dir) now() time.Time {
	d.ticks++
	return time.Date(2026, 1, 1, 0, 0, d.ticks, 0, time.UTC)
}

func (d *dir) writeJournal() {
	d.Helper()
	d.file.Generation++
	f, err := segment.CreateJournalFile(d.fsys, testDir, &d.file)
	d.must(err)
	d.must(f.Close())
}

// prepare makes an unused segment of 8 KiB.
func (d *dir) prepare(ordinal uint64) *segment.Segment {
	d.Helper()
	d.salt++
	s, err := segment.Prepare(d.fsys, testDir, segment.Identity{
		Journal: d.file.Journal, Ordinal: ordinal, Salt: d.salt, Size: segment.MinSize,
		Created: d.now(),
	}, segment.Zeros{})
	d.must(err)
	d.open = append(d.open, s)
	return s
}

// link begins a segment that does not follow its predecessor's seal: JOURNAL says so first.
func (d *dir) link(ordinal uint64, l segment.Link) {
	d.Helper()
	s := d.prepare(ordinal)
	d.file.Newest = ordinal
	d.writeJournal()
	d.begin(s, l)
}

func (d *dir) begin(s *segment.Segment, l segment.Link) {
	d.Helper()
	l.Time = d.now()
	if l.FirstLive == 0 {
		l.FirstLive = d.firstLive
	}
	w, err := segment.NewWriter(s, l, nil)
	d.must(err)
	d.w = w
}

// start begins the journal's first segment.
func (d *dir) start() *dir {
	d.Helper()
	d.link(1, segment.Link{Base: 1, Reason: segment.ReasonStart})
	return d
}

// append appends n records of 96 bytes; no two are alike.
func (d *dir) append(n int) *dir {
	d.Helper()
	for range n {
		p := fmt.Sprintf("%-96s", fmt.Sprintf("record %d of tick %d", len(d.records)+1, d.ticks))
		if !d.w.Fits(segment.FrameSize(int64(len(p))), false) {
			d.Fatalf("segment %d is full", d.w.Segment().Ordinal)
		}
		d.must(d.w.Append([]byte(p), segment.Checksum([]byte(p))))
		d.records = append(d.records, p)
	}
	return d
}

// batch appends n records as one.
func (d *dir) batch(n int) *dir {
	d.Helper()
	var payloads [][]byte
	var crcs []uint32
	for range n {
		p := fmt.Sprintf("record %d, in a batch", len(d.records)+1)
		payloads, crcs = append(payloads, []byte(p)), append(crcs, segment.Checksum([]byte(p)))
		d.records = append(d.records, p)
	}
	d.must(d.w.AppendBatch(payloads, crcs))
	return d
}

// sync takes everything up to here for durable; the next mark or link claims it.
func (d *dir) sync() *dir {
	d.claim = d.w.Position()
	return d
}

// mark claims what was synced.
func (d *dir) mark() *dir {
	d.Helper()
	ok, err := d.w.Mark(segment.Mark{Claim: d.claim, FirstLive: d.firstLive, Time: d.now()})
	d.must(err)
	if !ok {
		d.Fatal("no room for a mark")
	}
	return d
}

// seal ends the segment; the successor is prepared, and returned.
func (d *dir) seal() *segment.Segment {
	d.Helper()
	succ := d.prepare(d.w.Segment().Ordinal + 1)
	d.must(d.w.Seal(&succ.Identity))
	return succ
}

// follow is the link of a segment that goes on where another one ends.
func (d *dir) follow(old *segment.Segment) segment.Link {
	return segment.Link{
		Base: segment.Seq(len(d.records) + 1), Pred: old.Ordinal, PredSalt: old.Salt,
		PredEnd: old.End(), Claim: d.claim, Reason: segment.ReasonRoll,
	}
}

// at returns where the record that is the n-th in its segment starts, from 0.
func at(n int) segment.Offset { return segment.LinkEnd + segment.Offset(n)*112 }

func pos(ordinal uint64, off segment.Offset) segment.Position {
	return segment.Position{Ordinal: ordinal, Offset: off}
}

// roll seals the segment and goes on in the next one.
func (d *dir) roll() *dir {
	d.Helper()
	old := d.w.Segment()
	d.begin(d.seal(), d.follow(old))
	return d
}

// truncateBack goes on behind the record last, in a segment with that ordinal.
func (d *dir) truncateBack(ordinal uint64, last segment.Seq) *dir {
	d.Helper()
	pred := d.w.Segment()
	for _, s := range d.open {
		if s.Link.Base > 0 && s.Link.Base <= last {
			pred = s
		}
	}
	end, err := pred.After(last)
	d.must(err)
	d.records = d.records[:last]
	l := d.follow(pred)
	l.PredEnd, l.Reason = end, segment.ReasonTruncateBack
	d.link(ordinal, l)
	return d
}

// close closes the journal cleanly.
func (d *dir) close() *dir {
	d.Helper()
	d.sync()
	_, err := d.w.Mark(segment.Mark{FirstLive: d.firstLive, Time: d.now(), Clean: true})
	d.must(err)
	d.file.Claim, d.file.FirstLive = d.claim, d.firstLive
	d.writeJournal()
	return d
}

// done gives the segments back: their files can be changed then.
func (d *dir) done() *dir {
	d.Helper()
	for _, s := range d.open {
		d.must(s.Drop())
	}
	d.open, d.w = nil, nil
	return d
}

func name(ordinal uint64) string { return segment.FileName(ordinal) }

func path(name string) string { return filepath.Join(testDir, name) }

func (d *dir) read(name string) []byte {
	d.Helper()
	f, err := d.fsys.Open(path(name), segment.ReadOnly)
	d.must(err)
	defer f.Close()
	size, err := f.Size()
	d.must(err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		d.Fatal(err)
	}
	return b
}

// write replaces a file, or makes one.
func (d *dir) write(name string, content []byte) *dir {
	d.Helper()
	if err := d.fsys.Remove(path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Fatal(err)
	}
	f, err := d.fsys.Open(path(name), segment.Create)
	d.must(err)
	_, err = f.WriteAt(content, 0)
	d.must(errors.Join(err, f.Close()))
	return d
}

// edit changes a file's bytes.
func (d *dir) edit(name string, change func(b []byte)) *dir {
	d.Helper()
	b := d.read(name)
	change(b)
	return d.write(name, b)
}

// flip changes a bit.
func (d *dir) flip(ordinal uint64, off segment.Offset) *dir {
	d.Helper()
	return d.edit(name(ordinal), func(b []byte) { b[off] ^= 0x10 })
}

// flipInPlace changes a bit under those who have the file open.
func (d *dir) flipInPlace(ordinal uint64, off segment.Offset) {
	d.Helper()
	b := d.read(name(ordinal))
	f, err := d.fsys.Open(path(name(ordinal)), segment.ReadWrite)
	d.must(err)
	_, err = f.WriteAt([]byte{b[off] ^ 0x10}, int64(off))
	d.must(errors.Join(err, f.Close()))
}

// lose makes the 512-byte sector in which an offset lies zero.
func (d *dir) lose(ordinal uint64, off segment.Offset) *dir {
	d.Helper()
	return d.edit(name(ordinal), func(b []byte) { clear(b[off&^511 : (off|511)+1]) })
}

func (d *dir) remove(names ...string) *dir {
	d.Helper()
	for _, n := range names {
		d.must(d.fsys.Remove(path(n)))
	}
	return d
}

func (d *dir) rename(from, to string) *dir {
	d.Helper()
	d.must(d.fsys.Rename(path(from), path(to)))
	return d
}

// content returns all files.
func (d *dir) content() map[string]string {
	d.Helper()
	entries, err := d.fsys.ReadDir(testDir)
	d.must(err)
	files := map[string]string{}
	for _, e := range entries {
		files[e.Name()] = string(d.read(e.Name()))
	}
	return files
}

// scan scans the directory, which must be possible, and closes the state when the test ends.
func (d *dir) scan(o Options) *State {
	d.Helper()
	st, err := Scan(d.fsys, testDir, o)
	d.must(err)
	d.Cleanup(st.Close)
	return st
}

// shown reads the records that a state shows. If the last one cannot be read, it returns the error.
func shown(st *State) (records []string, err error) {
	for seq := st.FirstLive; seq < st.Next; seq++ {
		i := len(st.Chain) - 1
		for i > 0 && st.Chain[i].Link.Base > seq {
			i--
		}
		p, err := st.Chain[i].Read(seq, nil)
		if err != nil {
			return records, err
		}
		records = append(records, string(p))
	}
	return records, nil
}

// frameOffset returns where the frame of a record starts.
func (d *dir) frameOffset(ordinal uint64, seq segment.Seq) segment.Offset {
	d.Helper()
	s, err := segment.Open(d.fsys, path(name(ordinal)), segment.ReadOnly)
	d.must(err)
	defer s.Drop()
	sc, err := s.Scan(0)
	d.must(err)
	s.Adopt(sc)
	at, err := s.Locate(seq)
	d.must(err)
	return at
}

// watchFS lets a test see, and fail, what is done to a file system; it counts what stays open.
type watchFS struct {
	segment.FS
	hook    func(op, name string) error // before an operation; "dirty" comes after it
	listing func([]fs.DirEntry) []fs.DirEntry

	mu            sync.Mutex
	handles, maps int
	most          int // handles at a time
}

func (w *watchFS) call(op, path string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(op, filepath.Base(path))
}

func (w *watchFS) count(handles, maps int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handles += handles
	w.most = max(w.most, w.handles)
	w.maps += maps
}

func (w *watchFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := w.call("readdir", dir); err != nil {
		return nil, err
	}
	list, err := w.FS.ReadDir(dir)
	if w.listing != nil {
		list = w.listing(list)
	}
	return list, err
}

func (w *watchFS) Rename(oldPath, newPath string) error {
	if err := w.call("rename", newPath); err != nil {
		return err
	}
	return w.FS.Rename(oldPath, newPath)
}

func (w *watchFS) Remove(path string) error {
	if err := w.call("remove", path); err != nil {
		return err
	}
	return w.FS.Remove(path)
}

func (w *watchFS) SyncDir(dir string) error {
	if err := w.call("syncdir", dir); err != nil {
		return err
	}
	return w.FS.SyncDir(dir)
}

func (w *watchFS) Open(path string, mode segment.OpenMode) (segment.File, error) {
	op := "open"
	if mode != segment.ReadOnly {
		op = "open for writing"
	}
	if err := w.call(op, path); err != nil {
		return nil, err
	}
	f, err := w.FS.Open(path, mode)
	if err != nil {
		return nil, err
	}
	w.count(1, 0)
	return &watchFile{f, w, path}, nil
}

type watchFile struct {
	segment.File
	fsys *watchFS
	path string
}

func (f *watchFile) Size() (int64, error) {
	if err := f.fsys.call("size", f.path); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *watchFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fsys.call("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *watchFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fsys.call("write", f.path); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *watchFile) Datasync() error {
	if err := f.fsys.call("datasync", f.path); err != nil {
		return err
	}
	return f.File.Datasync()
}

func (f *watchFile) DatasyncRange(m *segment.Mapping, from, to segment.Offset) error {
	if err := f.fsys.call("datasync", f.path); err != nil {
		return err
	}
	return f.File.DatasyncRange(m, from, to)
}

func (f *watchFile) Map(size int64, mode segment.OpenMode) (*segment.Mapping, error) {
	if err := f.fsys.call("map", f.path); err != nil {
		return nil, err
	}
	m, err := f.File.Map(size, mode)
	if err != nil {
		return nil, err
	}
	f.fsys.count(0, 1)
	unmap := func() error {
		f.fsys.count(0, -1)
		return m.Close()
	}
	stored := func(_, _ segment.Offset) { f.fsys.call("dirty", f.path) }
	return segment.NewMapping(m.Bytes(), unmap, stored), nil
}

// Close closes the file even where the hook makes it fail: so does close(2).
func (f *watchFile) Close() error {
	err := f.fsys.call("close", f.path)
	f.fsys.count(-1, 0)
	return errors.Join(err, f.File.Close())
}

// isPrefix reports whether what is shown from a seq on are records of the journal, unchanged.
func isPrefix(got, all []string, first segment.Seq) bool {
	from := int(first - 1)
	return from+len(got) <= len(all) && slices.Equal(got, all[from:from+len(got)])
}
