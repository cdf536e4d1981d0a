package journal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/segment"
)

const (
	matrixSegment = 16 << 10
	matrixFiles   = 4 // segments of every state
)

// matrixState is a journal to damage, with what had been promised of it.
type matrixState struct {
	name    string
	files   map[string][]byte   // by path; never changed
	moments []map[string][]byte // earlier contents in the same run, oldest first
	other   map[string][]byte   // another journal, with the same history
	dead    map[string][]byte   // the same journal, in a life that a power cut has undone

	paths []string    // of its files, JOURNAL first, then the segments in order
	end   rawPosition // of the newest segment's frames
	want  image       // what the undamaged journal shows
	held  image       // what it had held before the end; beyond want nothing of it was acknowledged
	acked journal.Seq // up to here it had been acknowledged as durable
	at    map[journal.Seq]rawPosition
	id    []byte // the journal's
}

// matrixScripts make the states. What stands before the bar is done in a life that both the journal
// and its dead twin have gone through; then the power is cut.
var matrixScripts = []struct {
	name, script string
	end          string
}{
	{"closed", "s: a500*14 | a400*16 b3x200 a40*4 a500*27", "close"},
	{"killed after a sync", "s: a500*14 | a500*18 b3x200 a90*4 a500*24", "kill"},
	{"killed, unclaimed tail", "p: a500*14 s | a500*20 s a300*8 s a500*20 s a400*9", "kill"},
	{"power cut, torn tail", "p: a500*14 s | a500*20 s a300*8 s a500*20 s a400*9", "cut"},
	{"front truncated", "s: a500*26 | a500*30 tf50 a500*54 tf9 a500*4", "kill"},
	{"back truncated", "s: a500*14 | a500*18 tb6 a500*12 tb2 a500*3", "kill"},
	{"batches", "s: b4x250*5 | b4x250*8 a30 b9x90*6 b3x300*6 b2x600*4 b2x400*4", "kill"},
	{"recycled segments", "s: a500*26 | a500*27 tf28 a500*54 tf30 a500*5", "kill"},
	{"prepared segment", "s: a500*14 | a500*18 b3x200 a90*4 a500*6", "spare"},
}

// newMatrixStates runs the scripts.
func newMatrixStates(t *testing.T) (all []*matrixState) {
	t.Helper()
	for i, s := range matrixScripts {
		st, err := newMatrixState(s.script, s.end, uint64(i))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		other, err := newMatrixState(s.script, s.end, uint64(i))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		st.name, st.other = s.name, other.files
		if n := len(st.segments()); n != matrixFiles {
			t.Fatalf("%s: %d segments: %v", s.name, n, slices.Sorted(maps.Keys(st.files)))
		}
		all = append(all, st)
	}
	return all
}

func newMatrixState(script, end string, seed uint64) (*matrixState, error) {
	first, second, _ := strings.Cut(script, " | ")
	w := newWalk(first, seed, 0, simdisk.Options{Seed: seed, Torn: true, Coarse: simdisk.IsTemporary})
	w.segment = matrixSegment
	l := w.first(nil)
	st := &matrixState{at: map[journal.Seq]rawPosition{}}
	if err := l.open(); err != nil {
		return nil, err
	}
	if err := st.run(l, w.text); err != nil {
		return nil, err
	}
	twin := *l
	twin.d, twin.or = l.d.Kill(), clone(l.or)
	lost := &matrixState{}
	if err := lost.live(&twin, "a450*60"); err != nil {
		return nil, err
	}
	st.dead = twin.d.Files()
	p := l.d.Pending()
	l.d, l.or = p.Crash(p.Newest()), l.or.afterCrash()
	if err := st.live(l, second); err != nil {
		return nil, err
	}
	if err := st.finish(l, end, seed); err != nil {
		return nil, err
	}
	return st, st.describe()
}

// live is a life that begins with what is on the disk.
func (st *matrixState) live(l *life, script string) error {
	if err := l.open(); err != nil {
		return err
	}
	return st.run(l, script)
}

// run runs the steps and remembers each moment.
func (st *matrixState) run(l *life, script string) error {
	for _, s := range parseScript(script) {
		if err := l.do(s); err != nil {
			return fmt.Errorf("step %+v: %w", s, err)
		}
		st.moments = append(st.moments, l.d.Files())
	}
	return nil
}

// finish ends the last life, and notes what is promised then.
func (st *matrixState) finish(l *life, end string, seed uint64) error {
	switch end {
	case "close":
		if err := l.close(); err != nil {
			return err
		}
	case "cut":
		p := l.d.Pending()
		n := 0
		for c := range p.Choices(100, seed) {
			if n++; n == 70 { // a random one
				l.d, l.or = p.Crash(c), l.or.afterCrash()
				break
			}
		}
	case "spare":
		files := parseSegments(l.d.Files())
		var id segment.ID
		last := files[len(files)-1]
		copy(id[:], last.bytes[16:32])
		spare := segment.NewIdentity(id, last.ordinal+1, matrixSegment, time.Now())
		seg, err := segment.Prepare(l.d, modelDir, spare, segment.Zeros{})
		if err != nil {
			return err
		}
		seg.Drop()
	}
	st.held = l.or.now()
	st.acked = l.or.images[l.or.durable].next() - 1
	st.files = l.d.Files()
	return nil
}

// describe reads the undamaged journal.
func (st *matrixState) describe() error {
	j, err := journal.OpenReadOnlyFS(newCopyFS(st.files), modelDir, matrixOptions(true))
	if err != nil {
		return err
	}
	if st.want, err = readAll(j); err != nil {
		return err
	}
	if st.want.next() <= st.acked || !st.want.begins(st.held) {
		return fmt.Errorf("acknowledged up to %d, found %v", st.acked, st.want)
	}
	segs := st.segments()
	newest := uint64(0)
	for _, s := range j.Report().Segments {
		if s.State == "active" {
			newest = s.Ordinal
		}
	}
	ends := chainEnds(segs, newest)
	st.end = rawPosition{newest, uint64(ends[newest])}
	st.paths = []string{matrixJournal}
	for _, s := range segs {
		st.paths = append(st.paths, s.path)
		st.id = s.bytes[16:32]
		for _, f := range s.frames {
			if f.isRecord() && f.off < ends[s.ordinal] {
				st.at[journal.Seq(f.seq)] = rawPosition{s.ordinal, uint64(f.off + f.size)}
			}
		}
	}
	for seq := st.want.first; seq < st.want.next(); seq++ {
		if _, ok := st.at[seq]; !ok {
			return fmt.Errorf("seq %d of %v is not where FORMAT.md says", seq, st.want)
		}
	}
	return j.Close()
}

func (st *matrixState) segments() []rawSegment { return parseSegments(st.files) }

var matrixJournal = filepath.Join(modelDir, segment.JournalName)

func matrixOptions(verify bool) *journal.Options {
	return &journal.Options{Spares: 2,
		SegmentSize: matrixSegment, Durability: journal.Published, VerifyOnOpen: verify,
		MustExist: true,
	}
}

// survivingClaim returns the highest claim that is left in damaged files: in JOURNAL, or in any
// mark or link, wherever it stands in a segment with a good identity. It is what a perfect reader
// could know.
func (st *matrixState) survivingClaim(files map[string][]byte) (c rawPosition) {
	le := binary.LittleEndian
	raise := func(p rawPosition) {
		if c.less(p) {
			c = p
		}
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	if j := rawJournal(files[matrixJournal]); j != nil && bytes.Equal(j[16:32], st.id) {
		raise(rawJournalClaim(j))
	}
	for _, s := range parseSegments(files) {
		if crc32.Checksum(s.bytes[:4092], table) != le.Uint32(s.bytes[4092:]) ||
			!bytes.Equal(s.bytes[16:32], st.id) || le.Uint64(s.bytes[32:]) != s.ordinal ||
			le.Uint64(s.bytes[48:]) != uint64(len(s.bytes)) {
			continue
		}
		for off := int64(4096); off+16 <= int64(len(s.bytes)); off += 8 {
			if k := s.bytes[off+8]; k != rawMark && k != rawLink {
				continue
			}
			if f, ok := s.frame(off); ok && len(f.payload) >= 40 {
				raise(f.claim())
			}
		}
	}
	return c
}
