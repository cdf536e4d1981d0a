package segment

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// pastSegment returns a sealed segment of 12 records, of which 4 to 7 are a batch, with a mark
// after the second and one after the last, and where each record's frame is.
func pastSegment(t *testing.T) (s *Segment, list []place) {
	t.Helper()
	w := heapWriter(t, MinSize)
	mustAppend(t, w, "one", "two")
	mustMark(t, w, markAt(w))
	mustAppend(t, w, "three")
	mustBatch(t, w, "four", "five", "six", "seven")
	mustAppend(t, w, "eight", "nine", "ten", "eleven", "twelve")
	mustMark(t, w, Mark{Claim: w.Position(), FirstLive: 1, Time: testTime.Add(time.Hour)})
	mustSeal(t, w)
	return w.s, places(t, w.s)
}

// TestScanPast: damage that has hit only dropped records, or frames that follow the last record, is
// passed over; any other damage ends the scan as it ends Scan.
func TestScanPast(t *testing.T) {
	whole, list := pastSegment(t)
	end := scan(t, whole, 0).End
	mark, sealAt := list[1].end, end-sealFrame
	record := func(seq int) Offset { return list[seq-1].at }
	for _, c := range []struct {
		name    string
		damage  func(b []byte)
		live    Seq
		claimed Offset
		from    Offset // of the gap
		to      Offset // 0: it is not passed
	}{
		{"a dropped record's payload", func(b []byte) { b[record(1)+17] ^= 1 }, 3, end, record(1), mark},
		{"a dropped record's length", func(b []byte) { b[record(2)+1] ^= 0x7f }, 3, end, record(2), mark},
		{"a dropped record's seq, that of the first live one", func(b []byte) { b[record(1)+9] = 3 },
			3, end, record(1), mark},
		{"the mark before the first live record", func(b []byte) { b[mark+20] ^= 1 }, 3, end,
			mark, record(3)},
		{"the mark that follows the link and dropped records", func(b []byte) {
			clear(b[record(1) : record(3)+1])
		}, 4, end, record(1), record(4)},
		{"all that was dropped", func(b []byte) { clear(b[record(1):record(9)]) }, 9, end, record(1),
			record(9)},
		{"the dropped beginning of a batch", func(b []byte) { b[record(4)] ^= 1 }, 6, end, record(4),
			record(6)},
		{"all of a batch but its end, dropped", func(b []byte) { b[record(5)] ^= 1 }, 7, end, record(5),
			record(7)},
		{"what follows the link", func(b []byte) { b[record(1)] ^= 1 }, 1, end, record(1), 0},
		{"the last mark", func(b []byte) { b[list[11].end+20] ^= 1 }, 1, end, list[11].end, end},
		{"the seal", func(b []byte) { b[sealAt+20] ^= 1 }, 1, end, sealAt, end},

		{"the first live record", func(b []byte) { b[record(3)+17] ^= 1 }, 3, end, record(3), 0},
		{"a live record", func(b []byte) { b[record(3)+17] ^= 1 }, 2, end, record(3), 0},
		{"a mark between live records", func(b []byte) { b[mark+20] ^= 1 }, 2, end, mark, 0},
		{"a dropped record, above the claim", func(b []byte) { b[record(2)+17] ^= 1 }, 3, record(2),
			record(2), 0},
		{"the link", func(b []byte) { b[FirstFrame+20] ^= 1 }, 3, end, FirstFrame, 0},
		{"a dropped record of newer software", func(b []byte) {
			putFrame(b, record(1), whole.Salt, 1, 9, nil)
		}, 3, end, record(1), 0},
		{"the first live record is a copy from another offset", func(b []byte) {
			copy(b[record(7):], b[record(8):list[7].end])
			clear(b[record(8) : record(8)+8])
		}, 8, end, record(7), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openBytes(t, slices.Clone(whole.m.b), whole.Identity, nil)
			c.damage(s.m.b)
			plain := scan(t, s, end)
			sc, err := s.ScanPast(end, Slack{Claimed: c.claimed, Live: c.live, Next: 13})
			if err != nil {
				t.Fatal(err)
			}
			if c.to == 0 {
				if sc.Stop == nil || sc.StopAt != c.from || len(sc.Gaps) > 0 {
					t.Errorf("stops at %d, %v, gaps %v; want %d", sc.StopAt, sc.Stop, sc.Gaps, c.from)
				}
				return
			}
			if sc.Stop != nil || sc.End != end || sc.Next != 13 || sc.Records != 12 {
				t.Fatalf("ends at %d, next %d, %d records: %v", sc.End, sc.Next, sc.Records, sc.Stop)
			}
			if len(sc.Gaps) != 1 || sc.Gaps[0].From != c.from || sc.Gaps[0].To != c.to ||
				sc.Gaps[0].Err.Error() != plain.Stop.Error() {
				t.Errorf("gaps %v, want %d to %d: %v", sc.Gaps, c.from, c.to, plain.Stop)
			}
			if sc.Seal != nil && s.CheckIndex(sc) != nil {
				t.Errorf("index: %v", s.CheckIndex(sc))
			}
			unread := openBytes(t, slices.Clone(s.m.b), s.Identity, nil)
			unread.AdoptUnread(sc.Link, end, 13, nil)
			s.Adopt(sc)
			for _, s := range []*Segment{s, unread} {
				for seq := c.live; seq < 13; seq++ {
					if p, err := s.Read(seq, nil); string(p) != list[seq-1].payload || err != nil {
						t.Errorf("Read(%d): %q, %v", seq, p, err)
					}
				}
				var r Reader
				if err := r.Start(s, c.live); err != nil {
					t.Fatal(err)
				}
				for seq := c.live; seq < 13; seq++ {
					if p, err := r.Next(); string(p) != list[seq-1].payload || err != nil {
						t.Errorf("read in order, %d: %q, %v", seq, p, err)
					}
				}
			}
		})
	}
}

// TestScanPastTimes: damage that is passed over may hide the mark that says the time of what
// follows. The index says it, too, and is not damaged.
func TestScanPastTimes(t *testing.T) {
	w := heapWriter(t, 8*MinSize)
	mustAppend(t, w, "one")
	at := w.Position().Offset
	mustMark(t, w, Mark{Claim: w.Position(), FirstLive: 1, Time: testTime.Add(time.Hour)})
	mustAppend(t, w, "two", strings.Repeat("three", 2000), strings.Repeat("four", 2000), "five")
	mustSeal(t, w)
	s := w.s
	end := s.End()
	s.m.b[at+20] ^= 1
	sc, err := s.ScanPast(end, Slack{Claimed: end, Live: 2, Next: 6})
	if err != nil || sc.Stop != nil || len(sc.Gaps) != 1 || len(sc.items) < 2 {
		t.Fatalf("%+v, %v", sc, err)
	}
	if err := s.CheckIndex(sc); err != nil {
		t.Error(err)
	}
	s.m.b[end+16] ^= 1 // the second entry
	if err := s.CheckIndex(sc); !errors.Is(err, ErrIndex) {
		t.Errorf("a damaged index: %v", err)
	}
}

// TestScanPastHostile: a file full of headers that ask for a verification of many bytes each does
// not take long.
func TestScanPastHostile(t *testing.T) {
	w := heapWriter(t, 4<<20)
	mustAppend(t, w, "one")
	at := w.Position().Offset
	for off := at + 8; off < 2<<20; off += 16 {
		le.PutUint32(w.s.m.b[off:], 1<<20)
		le.PutUint64(w.s.m.b[off+8:], 2<<8|uint64(KindRecord))
	}
	w.s.m.b[FirstFrame+linkFrame] ^= 1
	sc, err := w.s.ScanPast(0, Slack{Claimed: 4 << 20, Live: 2})
	if err != nil || sc.Stop == nil || len(sc.Gaps) > 0 {
		t.Errorf("%v, %+v", err, sc)
	}
}

// TestTailBesideWriter: while a scan reads what follows the end, the frame at the end is completed.
// Nothing is torn then, and what a mark there claims still counts, as far as the scan has come.
func TestTailBesideWriter(t *testing.T) {
	for _, c := range []struct {
		name string
		far  bool // the mark claims more than the scan has read
	}{{"claims what the scan has read", false}, {"claims more", true}} {
		t.Run(c.name, func(t *testing.T) {
			f := linked().record("one").record("two")
			end := f.at
			claim := Position{f.id.Ordinal, end}
			f.record("three")
			if c.far {
				claim.Offset = f.at
			}
			f.mark(claim)
			word := le.Uint64(f.b[end:])
			clear(f.b[end : end+8])
			w := scanner{b: f.b, id: &f.id, at: FirstFrame}
			w.End = FirstFrame
			w.frames(nil)
			if w.End != end || !errors.Is(w.Stop, ErrHole) {
				t.Fatalf("ends at %d, %v", w.End, w.Stop)
			}
			le.PutUint64(f.b[end:], word) // the writer publishes its group
			w.tail(allOf(f.b))
			if want := (Tail{Claim: Position{f.id.Ordinal, end}}); w.Tail != want {
				t.Errorf("tail %+v, want %+v", w.Tail, want)
			}
		})
	}
}

// TestScanPastFirstMark: a damaged mark between the link and the first record costs nothing where a
// link says where the segment ends: reads begin at that record.
func TestScanPastFirstMark(t *testing.T) {
	w := heapWriter(t, MinSize)
	mustMark(t, w, markAt(w))
	mustAppend(t, w, "one")
	s := w.s
	end := s.End()
	s.m.b[LinkEnd+20] ^= 1
	sc, err := s.ScanPast(end, Slack{Claimed: end, Next: 2})
	if err != nil || sc.Stop != nil || sc.Next != 2 || len(sc.Gaps) != 1 {
		t.Fatalf("%+v, %v", sc, err)
	}
	if g := sc.Gaps[0]; g.From != LinkEnd || g.To != LinkEnd+markFrame {
		t.Errorf("gap %v", g)
	}
	if sc, err = s.ScanPast(0, Slack{Claimed: end}); err != nil || sc.Stop == nil {
		t.Errorf("without a link it is passed over: %+v, %v", sc, err)
	}
}
