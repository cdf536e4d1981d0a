package journal_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// rawSegment is a segment's file as segment/FORMAT.md describes it, read by nobody's code but this.
type rawSegment struct {
	path    string
	ordinal uint64
	salt    uint64
	bytes   []byte
	frames  []rawFrame // valid ones, from 4096 on
	end     int64      // behind the last
}

type rawFrame struct {
	off     int64
	size    int64
	kind    byte
	seq     uint64
	payload []byte
}

// rawPosition is a place in the journal.
type rawPosition struct{ ordinal, off uint64 }

func (p rawPosition) less(q rawPosition) bool {
	return p.ordinal < q.ordinal || p.ordinal == q.ordinal && p.off < q.off
}

func (f *rawFrame) isRecord() bool { return f.kind >= 1 && f.kind <= 3 }

const (
	rawBatch = 2
	rawMark  = 4
	rawLink  = 5
	rawSeal  = 6
)

// parseSegments returns the segment files, ascending by ordinal.
func parseSegments(files map[string][]byte) (all []rawSegment) {
	for path, b := range files {
		name, ok := strings.CutSuffix(filepath.Base(path), ".seg")
		if !ok || len(b) < 8192 || filepath.Dir(path) == besideDir {
			continue
		}
		ordinal, _ := strconv.ParseUint(name, 10, 64)
		s := rawSegment{path: path, ordinal: ordinal, bytes: b, end: 4096,
			salt: binary.LittleEndian.Uint64(b[40:])}
		for f, ok := s.frame(s.end); ok; f, ok = s.frame(s.end) {
			s.frames = append(s.frames, f)
			s.end += f.size
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b rawSegment) int { return int(a.ordinal) - int(b.ordinal) })
	return all
}

// follows reports whether something follows an offset: bytes, or in a recycled segment what
// FORMAT.md §3.1 says.
func (s *rawSegment) follows(at int64) bool {
	page := int64(len(s.bytes))
	if s.bytes[64]&1 != 0 {
		page = min(page, (at+4096)&^4095)
	}
	if len(bytes.TrimRight(s.bytes[at:page], "\x00")) > 0 {
		return true
	}
	for off := page; off+16 <= int64(len(s.bytes)); off += 8 {
		if s.bytes[off+8] == rawMark {
			if _, ok := s.frame(off); ok {
				return true
			}
		}
	}
	return false
}

// frame returns the frame at off, if its bounds and checksum are right.
func (s *rawSegment) frame(off int64) (f rawFrame, ok bool) {
	le := binary.LittleEndian
	if off+16 > int64(len(s.bytes)) {
		return f, false
	}
	h := s.bytes[off:]
	length := int64(le.Uint32(h))
	size := (length + 7) &^ 7
	if length < 16 || size > int64(len(h)) {
		return f, false
	}
	sum := slices.Clone(h[16:length])
	sum = le.AppendUint64(sum, s.salt^(uint64(off)<<29|uint64(length)))
	sum = append(sum, h[8:16]...)
	if crc32.Checksum(sum, crc32.MakeTable(crc32.Castagnoli)) != le.Uint32(h[4:]) {
		return f, false
	}
	return rawFrame{off, size, h[8], le.Uint64(h[8:]) >> 8, h[16:length]}, true
}

// claim returns what a mark or link claims; the zero position if f is neither.
func (f *rawFrame) claim() rawPosition {
	le := binary.LittleEndian
	switch f.kind {
	case rawMark:
		return rawPosition{le.Uint64(f.payload), le.Uint64(f.payload[8:])}
	case rawLink:
		return rawPosition{le.Uint64(f.payload[32:]), le.Uint64(f.payload[40:])}
	}
	return rawPosition{}
}

// sealed reports whether the frame that ends at off is a seal.
func (s *rawSegment) sealed(off int64) bool {
	for _, f := range s.frames {
		if f.off+f.size == off && f.kind == rawSeal {
			return true
		}
	}
	return false
}

// rawJournal returns the copy in a file JOURNAL that counts, by its checksum and generation; nil:
// none.
func rawJournal(b []byte) (best []byte) {
	le := binary.LittleEndian
	for len(b) >= 4096 {
		j := b[:4096]
		b = b[4096:]
		good := crc32.Checksum(j[:4092], crc32.MakeTable(crc32.Castagnoli)) == le.Uint32(j[4092:])
		if good && (best == nil || le.Uint64(best[32:]) < le.Uint64(j[32:])) {
			best = j
		}
	}
	return best
}

func rawJournalClaim(j []byte) rawPosition {
	return rawPosition{binary.LittleEndian.Uint64(j[72:]), binary.LittleEndian.Uint64(j[80:])}
}

// highestClaim returns the highest claim of JOURNAL and of the valid frames that count.
func highestClaim(
	files map[string][]byte, all []rawSegment, counts func(s *rawSegment, f *rawFrame) bool,
) (c rawPosition) {
	if j := rawJournal(files[filepath.Join(modelDir, "JOURNAL")]); j != nil {
		c = rawJournalClaim(j)
	}
	for i := range all {
		for k := range all[i].frames {
			f := &all[i].frames[k]
			if p := f.claim(); c.less(p) && counts(&all[i], f) {
				c = p
			}
		}
	}
	return c
}

// chainEnds returns, for each segment that the newest one's links lead to, where it ends.
func chainEnds(all []rawSegment, newest uint64) map[uint64]int64 {
	ends := map[uint64]int64{}
	byOrdinal := map[uint64]rawSegment{}
	for _, s := range all {
		byOrdinal[s.ordinal] = s
	}
	s, ok := byOrdinal[newest]
	if !ok || len(s.frames) == 0 {
		return ends
	}
	ends[newest] = s.end
	for firstLive := lastFirstLive(s); len(s.frames) > 0 && s.frames[0].kind == rawLink; {
		link := s.frames[0]
		pred := binary.LittleEndian.Uint64(link.payload)
		if pred == 0 || link.seq <= firstLive {
			break
		}
		ends[pred] = int64(binary.LittleEndian.Uint64(link.payload[16:]))
		s = byOrdinal[pred]
	}
	return ends
}

// lastFirstLive returns the first live seq that the last link or mark of a segment says.
func lastFirstLive(s rawSegment) (seq uint64) {
	for _, f := range s.frames {
		switch f.kind {
		case rawMark:
			seq = binary.LittleEndian.Uint64(f.payload[16:])
		case rawLink:
			seq = binary.LittleEndian.Uint64(f.payload[24:])
		}
	}
	return seq
}
