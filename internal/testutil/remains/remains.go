// Package remains says which records of a damaged journal can be had and which of those may have
// been dropped, by the rules that recovery.Salvage documents. It is written for tests of that
// function, from segment/FORMAT.md and those rules alone: it shares no code with the library, keeps
// whole files in memory, tries every offset, and states each rule as a question about one record.
package remains

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Record is a record that can be had.
type Record struct {
	Ordinal uint64 // of its segment
	Seq     uint64
	Payload string
	Doubt   bool // it may have been dropped
}

// Sizes of the format.
const (
	identity    = 4096
	linkPayload = 96
	longestLink = 3496
	journalCopy = 4096
)

// Kinds of frames.
const (
	record = iota + 1
	batch
	batchEnd
	mark
	link
	seal
	void
)

var le = binary.LittleEndian

func crcOf(parts ...[]byte) uint32 {
	return crc32.Checksum(bytes.Join(parts, nil), crc32.MakeTable(crc32.Castagnoli))
}

// position is an ordinal and an offset.
type position struct{ ordinal, offset uint64 }

func (p position) before(q position) bool {
	return p.ordinal < q.ordinal || p.ordinal == q.ordinal && p.offset < q.offset
}

// statement is what a link, a mark or JOURNAL says.
type statement struct {
	claim     position
	firstLive uint64
}

// frame is a frame that verifies.
type frame struct {
	at, end uint64
	kind    byte
	seq     uint64
	payload []byte
}

func (f *frame) word(n int) uint64 { return le.Uint64(f.payload[8*n:]) }

// piece is a segment.
type piece struct {
	ordinal, salt uint64
	short         bool
	frames        map[uint64]*frame // by offset
	end           uint64            // behind all bytes that count
	next          *piece            // the segment whose link names this one
	dead          bool
	link          *frame // nil if it is not valid
}

// directory is all that the rules look at.
type directory struct {
	pieces []*piece // of this journal, ascending
	bad    []uint64 // names of files whose identity is damaged
	id     []byte

	journal bool // JOURNAL is good, and this journal's
	newest  uint64
	said    statement // in JOURNAL
}

// Read returns the records that can be had of the journal in a directory with these files, sorted
// by segment and seq.
func Read(files map[string][]byte) []Record {
	d := open(files)
	d.link()
	var records []Record
	for _, p := range d.pieces {
		if p.dead || d.reset(p) {
			continue
		}
		for _, f := range d.counts(p) {
			if f.kind > batchEnd || f.seq < d.firstLive(p) || f.seq >= d.taken(p) {
				continue
			}
			records = append(records, Record{p.ordinal, f.seq, string(f.payload), d.doubt(p)})
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		if a.Ordinal != b.Ordinal {
			return int(a.Ordinal) - int(b.Ordinal)
		}
		return int(a.Seq) - int(b.Seq)
	})
	return records
}

// open finds the segments of the journal.
func open(files map[string][]byte) *directory {
	d := &directory{}
	ids := map[string]int{}
	for _, name := range sorted(files) {
		if o := ordinalOf(name); o > 0 && goodIdentity(files[name]) && le.Uint64(files[name][32:]) == o {
			ids[string(files[name][16:32])]++
		}
	}
	j := journalOf(files["JOURNAL"])
	if d.journal = j != nil; d.journal {
		d.id = j[16:32]
	} else {
		for _, name := range sorted(files) {
			if o := ordinalOf(name); o > 0 && goodIdentity(files[name]) {
				if id := files[name][16:32]; ids[string(id)] > ids[string(d.id)] {
					d.id = id
				}
			}
		}
	}
	if d.journal {
		d.newest = le.Uint64(j[64:])
		d.said = statement{position{le.Uint64(j[72:]), le.Uint64(j[80:])}, le.Uint64(j[88:])}
	}
	for _, name := range sorted(files) {
		b, o := files[name], ordinalOf(name)
		switch {
		case o == 0:
		case !goodIdentity(b):
			d.bad = append(d.bad, o)
		case bytes.Equal(b[16:32], d.id) && le.Uint64(b[32:]) == o:
			d.pieces = append(d.pieces, parse(b, o))
		}
	}
	d.standIn(j)
	return d
}

// standIn adds the segment that JOURNAL stands in for.
func (d *directory) standIn(j []byte) {
	if j == nil || le.Uint64(j[120:]) == 0 {
		return
	}
	l := &frame{at: identity, kind: link, seq: le.Uint64(j[128:]), payload: j[136:232]}
	v := &piece{ordinal: le.Uint64(j[120:]), frames: map[uint64]*frame{identity: l}, link: l}
	d.pieces = slices.DeleteFunc(d.pieces, func(p *piece) bool { return p.ordinal == v.ordinal })
	i, _ := slices.BinarySearchFunc(d.pieces, v.ordinal, func(p *piece, o uint64) int {
		return int(p.ordinal) - int(o)
	})
	d.pieces = slices.Insert(d.pieces, i, v)
}

// journalOf returns the copy in JOURNAL that counts; nil if none is good.
func journalOf(b []byte) (best []byte) {
	for b = b[:min(len(b), 2*journalCopy)]; len(b) >= journalCopy; b = b[journalCopy:] {
		c := b[:journalCopy]
		if string(c[:8]) == "mmjrnl\r\n" && crcOf(c[:12]) == le.Uint32(c[12:]) &&
			crcOf(c[:journalCopy-4]) == le.Uint32(c[journalCopy-4:]) &&
			(best == nil || le.Uint64(c[32:]) > le.Uint64(best[32:])) {
			best = c
		}
	}
	return best
}

func sorted(files map[string][]byte) (names []string) {
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func ordinalOf(name string) uint64 {
	digits, ok := strings.CutSuffix(name, ".seg")
	o, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || fmt.Sprintf("%016d.seg", o) != name {
		return 0
	}
	return o
}

func goodIdentity(b []byte) bool {
	return len(b) >= identity && string(b[:8]) == "mmjseg\r\n" && crcOf(b[:12]) == le.Uint32(b[12:]) &&
		crcOf(b[:identity-4]) == le.Uint32(b[identity-4:])
}

// parse tries a frame at every offset.
func parse(b []byte, ordinal uint64) *piece {
	size := le.Uint64(b[48:])
	p := &piece{
		ordinal: ordinal, salt: le.Uint64(b[40:]), short: uint64(len(b)) < size,
		frames: map[uint64]*frame{}, end: min(uint64(len(b)), size),
	}
	for at := uint64(identity); at+16 <= p.end; at += 8 {
		length := uint64(le.Uint32(b[at:]))
		end := at + (length+7)/8*8
		if length < 16 || end > p.end {
			continue
		}
		bound := le.AppendUint64(nil, p.salt^(at<<29|length))
		if crcOf(b[at+16:at+length], bound, b[at+8:at+16]) != le.Uint32(b[at+4:]) {
			continue
		}
		f := &frame{at, end, b[at+8], le.Uint64(b[at+8:]) >> 8, b[at+16 : at+length]}
		if len(bytes.Trim(b[at+length:end], "\x00")) == 0 && f.makesSense(ordinal) {
			p.frames[at] = f
		}
	}
	p.link = p.frames[identity]
	return p
}

// makesSense checks what a frame says by itself.
func (f *frame) makesSense(ordinal uint64) bool {
	n := len(f.payload)
	if (f.kind == link) != (f.at == identity) || f.seq == 0 {
		return false
	}
	switch f.kind {
	case record, batch, batchEnd, void:
		return true
	case mark:
		claim := position{f.word(0), f.word(1)}
		here := position{ordinal, f.at}
		return n == 40 && claim.offset < 1<<63 && !here.before(claim) && f.word(4) <= 1 &&
			(f.word(4) == 0 || claim == here)
	case link:
		return n >= linkPayload && n <= longestLink && f.word(5) < 1<<63 && f.word(4) < ordinal &&
			(f.word(0) == 0 && f.word(1) == 0 && f.word(2) == 0 ||
				f.word(0) > 0 && f.word(0) < ordinal && f.word(2)%8 == 0)
	case seal:
		return n == 64 && f.word(5) == f.end && f.word(3) > 0
	}
	return false
}

// says returns what a frame states, if it is a link or a mark.
func (f *frame) says() (s statement, ok bool) {
	switch f.kind {
	case mark:
		return statement{position{f.word(0), f.word(1)}, f.word(2)}, true
	case link:
		return statement{position{f.word(4), f.word(5)}, f.word(3)}, true
	}
	return s, false
}

// link applies the links from the highest ordinal down.
func (d *directory) link() {
	for _, p := range slices.Backward(d.pieces) {
		if p.dead || p.link == nil {
			continue
		}
		for _, q := range d.pieces {
			switch {
			case q.ordinal >= p.ordinal || q.ordinal < p.link.word(0):
			case q.ordinal > p.link.word(0):
				q.dead = true
			case q.salt == p.link.word(1):
				q.next, q.end = p, min(q.end, p.link.word(2))
			}
		}
	}
}

// live yields the frames of a segment that no link has cut off.
func (p *piece) live() (frames []*frame) {
	for _, f := range p.frames {
		if !p.dead && f.end <= p.end {
			frames = append(frames, f)
		}
	}
	return frames
}

// claim is the highest one that is left.
func (d *directory) claim() position {
	highest := d.said.claim
	for _, p := range d.pieces {
		for _, f := range p.live() {
			if s, ok := f.says(); ok && highest.before(s.claim) {
				highest = s.claim
			}
		}
	}
	return highest
}

// promised reports whether the journal is known to have had a frame at an offset of a segment.
func (d *directory) promised(p *piece, at uint64) bool {
	if p.next != nil || (position{p.ordinal, at}).before(d.claim()) {
		return true
	}
	for _, f := range p.live() {
		if f.kind == seal {
			return true
		}
	}
	return false
}

// counts returns the frames of a segment that count: what one can walk to from the link, from a
// frame that was promised, or from where the highest claim ends. No batch is there that was neither
// promised nor is complete.
func (d *directory) counts(p *piece) []*frame {
	walked := map[uint64]*frame{}
	for _, f := range p.live() {
		if f.at != identity && !d.promised(p, f.at) && d.claim() != (position{p.ordinal, f.at}) {
			continue
		}
		for g := f; g != nil && g.end <= p.end && walked[g.at] == nil; g = p.frames[g.end] {
			walked[g.at] = g
		}
	}
	var frames []*frame
	for _, f := range walked {
		if !p.broken(f) || d.promised(p, p.head(f)) {
			frames = append(frames, f)
		}
	}
	return frames
}

// broken reports whether a frame is of a batch whose end cannot be walked to, and that no link cuts
// there.
func (p *piece) broken(f *frame) bool {
	for f.kind == batch {
		if f.end == p.end && p.next != nil && p.end == p.next.link.word(2) {
			return false
		}
		if f = p.frames[f.end]; f == nil || f.end > p.end {
			return true
		}
	}
	return false
}

// head returns where the batch starts that a frame is of, as far as that can be seen.
func (p *piece) head(f *frame) uint64 {
	at := f.at
	for _, g := range p.frames {
		if g.end == at && g.kind == batch {
			return p.head(g)
		}
	}
	return at
}

// firstLive returns the first seq of a segment's records that had not been dropped.
func (d *directory) firstLive(p *piece) (first uint64) {
	for _, q := range d.pieces {
		if q.ordinal < p.ordinal || !d.isPart(q) {
			continue
		}
		for _, f := range q.live() {
			if s, ok := f.says(); ok {
				first = max(first, s.firstLive)
			}
		}
	}
	if p.ordinal <= d.said.claim.ordinal {
		first = max(first, d.said.firstLive)
	}
	return first
}

// reset reports whether the journal was reset after a segment, or one above it, was written: what
// is above it says a lower first live seq than itself does.
func (d *directory) reset(p *piece) bool {
	for _, q := range d.pieces {
		if q.ordinal >= p.ordinal && d.isPart(q) && d.lowered(q) {
			return true
		}
	}
	return false
}

func (d *directory) lowered(p *piece) bool {
	own := uint64(0)
	for _, f := range p.live() {
		if s, ok := f.says(); ok {
			own = max(own, s.firstLive)
		}
	}
	for _, q := range d.pieces {
		if q.ordinal > p.ordinal && !q.dead && q.link != nil && q.link.word(3) < own {
			return true
		}
	}
	return d.said.claim.ordinal > p.ordinal && d.said.firstLive > 0 && d.said.firstLive < own
}

// taken returns the lowest seq that a higher segment has, or would have.
func (d *directory) taken(p *piece) uint64 {
	least := uint64(math.MaxUint64)
	for _, q := range d.pieces {
		switch {
		case q.dead || q.ordinal <= p.ordinal:
		case q.link != nil:
			least = min(least, q.link.seq)
		default:
			for _, f := range d.counts(q) {
				least = min(least, f.seq)
			}
		}
	}
	return least
}

// isPart reports whether a segment is a part of the journal.
func (d *directory) isPart(p *piece) bool {
	return !p.dead && (p.link != nil || p.next != nil || len(d.counts(p)) > 0)
}

// doubt reports whether a segment's records may have been dropped: unless an unbroken chain leads
// down to it from the top, above which nothing is missing.
func (d *directory) doubt(p *piece) bool {
	var above *piece
	for _, q := range d.pieces {
		if q.ordinal > p.ordinal && d.isPart(q) {
			above = q
			break
		}
	}
	switch {
	case above == nil:
		return d.lostAbove(p)
	case above.link != nil && p.next != above, above.link == nil && !p.names(above):
		return true
	}
	return d.doubt(above)
}

// names reports whether a segment's seal names another one as its successor.
func (p *piece) names(q *piece) bool {
	for _, f := range p.live() {
		if f.kind == seal && f.word(3) == q.ordinal && f.word(4) == q.salt {
			return true
		}
	}
	return false
}

// lostAbove reports whether anything above the top may have been a cut.
func (d *directory) lostAbove(top *piece) bool {
	if !d.journal {
		return true
	}
	there := map[uint64]*piece{}
	highest := max(d.newest, d.claim().ordinal)
	for _, p := range d.pieces {
		if !p.dead {
			there[p.ordinal] = p
			highest = max(highest, p.ordinal)
		}
	}
	from := top.ordinal + 1
	for _, f := range top.live() {
		if f.kind == seal {
			succ := there[f.word(3)]
			if succ == nil || succ.salt != f.word(4) {
				return true
			}
			from = f.word(3)
		}
	}
	for o := from; o <= highest; o++ {
		if there[o] == nil || (position{o, identity}).before(d.claim()) || o <= d.newest {
			return true
		}
	}
	return slices.ContainsFunc(d.bad, func(o uint64) bool { return o > top.ordinal })
}
