package segment

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenSegments returns the segments of the golden journals, in a fixed order.
func goldenSegments(tb testing.TB) (list [][]byte) {
	tb.Helper()
	for _, g := range goldens {
		files := readGolden(tb, g.name)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if filepath.Ext(name) == ".seg" {
				list = append(list, files[name])
			}
		}
	}
	return list
}

// FuzzIdentity: any bytes give an identity that encodes to the same bytes, but for features of
// newer software, or one of the errors that are documented. The input is the start of a golden
// identity, one more byte to change, and how many bytes to give.
func FuzzIdentity(f *testing.F) {
	segments := goldenSegments(f)
	for _, b := range segments {
		f.Add(b[:72], uint16(0), byte(0), uint16(identitySize))
		f.Add(b[:68], uint16(68), byte(1), uint16(identitySize))
		f.Add(b[:68], uint16(75), byte(0x80), uint16(identitySize))
		f.Add(b[:16], uint16(identitySize-5), byte(1), uint16(identitySize-1))
	}
	f.Fuzz(func(t *testing.T, start []byte, at uint16, change byte, n uint16) {
		data := slices.Clone(segments[0][:2*identitySize])
		copy(data, start)
		data[at%identitySize] ^= change
		data = data[:n%(2*identitySize)]
		sealed := slices.Clone(data)
		if len(sealed) >= identitySize {
			reseal(sealed[:identitySize])
		}
		for _, b := range [][]byte{data, sealed} {
			id, err := DecodeIdentity(b)
			if err == nil {
				want := slices.Clone(b[:identitySize])
				if !zero(want[68:76]) { // features that have a right to any bytes
					clear(want[68:identityCRCAt])
					reseal(want)
				}
				if d := firstDifference(id.Encode(), want); d != "" {
					t.Errorf("%+v is encoded otherwise: %s", id, d)
				}
				if !ValidSize(id.Size) || id.Ordinal == 0 || id.Salt == 0 {
					t.Errorf("impossible: %+v", id)
				}
				continue
			}
			if !slices.ContainsFunc([]error{ErrShort, ErrMagic, ErrChecksum, ErrVersion, ErrIdentity},
				func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// FuzzJournalFile is FuzzIdentity for the file JOURNAL: for bytes as they are, for those with right
// checksums in both copies, and for those behind a good copy.
func FuzzJournalFile(f *testing.F) {
	for _, g := range goldens {
		f.Add(readGolden(f, g.name)[filepath.Join(g.name, JournalName)])
	}
	withStandIn := standIn()
	newer := twice(withStandIn)
	newer[4096+52], newer[4096+56], newer[4096+3000] = 1, 1, 1
	good := testFile()
	f.Add(twice(withStandIn))
	f.Add(newer)
	f.Add(newer[4096:])
	f.Fuzz(func(t *testing.T, data []byte) {
		sealed := slices.Clone(data)
		for i := 0; i+copySize <= len(sealed); i += copySize {
			reseal(sealed[i : i+copySize])
		}
		for _, b := range [][]byte{data, sealed, append(good.Encode(), sealed...)} {
			j, faults, err := DecodeJournalFile(b)
			if err == nil {
				checkCopy(t, b, &j, &faults)
				continue
			}
			if !slices.ContainsFunc([]error{ErrShort, ErrMagic, ErrChecksum, ErrVersion, ErrIdentity},
				func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// checkCopy checks that what a JOURNAL says is what one of its copies says.
func checkCopy(t *testing.T, b []byte, j *JournalFile, faults *JournalFaults) {
	t.Helper()
	again, none, err := DecodeJournalFile(twice(*j))
	again.ReadOnly = j.ReadOnly
	if err != nil || none.Any() || again != *j {
		t.Errorf("%+v is decoded as %+v, %v, %v", j, again, none, err)
	}
	var differences []string
	for i, fault := range faults.Copies {
		if fault != nil {
			continue
		}
		own := slices.Clone(b[i*copySize : (i+1)*copySize])
		if !zero(own[52:60]) { // features that have a right to any bytes
			return
		}
		clear(own[136+88 : 136+linkPayload]) // not checked in a link
		reseal(own)
		d := firstDifference(j.Encode(), own)
		if d == "" {
			return
		}
		differences = append(differences, d)
	}
	t.Errorf("%+v is in neither copy: %q, %v", j, differences, faults)
}

// FuzzScan reads hostile segments, made from the input in three ways: as bytes behind a good
// identity; as changes to a golden segment; as frames with right checksums and anything else.
func FuzzScan(f *testing.F) {
	segments := goldenSegments(f)
	for i, b := range segments {
		content := b[FirstFrame:]
		if content = content[:lastNonZero(content)+1]; len(content) < 1500 {
			f.Add(uint8(0), uint8(i), content) // long ones keep the fuzzer busy with making them short
		}
		f.Add(uint8(1), uint8(i), []byte{0x10, 0x60, 1, 0x10, 0x50, 0xff})
	}
	link := "\x05\x00\x60" + strings.Repeat("\x00", 96)
	long := "\x05\x00\xc0" + strings.Repeat("\x00", 192)
	for _, start := range []string{link, long} {
		f.Add(uint8(2), uint8(0), []byte(start+"\x01\x00\x03abc\x02\x00\x01x\x03\x00\x01y"))
	}
	f.Add(uint8(2), uint8(0), []byte("\x05\x00@\x01\x00\x03abc\x02\x00\x01x\x03\x00\x01y\x04\x00("))
	f.Fuzz(func(t *testing.T, mode, which uint8, data []byte) {
		b := slices.Clone(segments[int(which)%len(segments)])
		id, err := DecodeIdentity(b)
		if err != nil {
			t.Fatal(err)
		}
		switch mode % 3 {
		case 0:
			clear(b[FirstFrame:])
			copy(b[FirstFrame:], data)
		case 1:
			for ; len(data) >= 3; data = data[3:] {
				at := int(FirstFrame) + (int(data[0])<<8|int(data[1]))%(len(b)-int(FirstFrame))
				b[at] ^= data[2]
			}
		case 2:
			clear(b[FirstFrame:])
			putScript(b, &id, data)
		}
		checkHostile(t, b, &id)
	})
}

// putScript writes frames with right checksums: for each, a byte of kind, one that is added to the
// expected seq, one of length, and the payload. Payloads of control frames are mostly good.
func putScript(b []byte, id *Identity, script []byte) {
	at, seq := FirstFrame, Seq(1)
	for len(script) >= 3 {
		kind, delta, n := Kind(script[0]), Seq(int8(script[1])), int(script[2])
		script = script[3:]
		n = min(n, len(script), len(b)-int(at)-HeaderSize)
		if n < 0 {
			return
		}
		payload := slices.Clone(script[:n])
		script = script[n:]
		frame := FrameSize(int64(n))
		good := map[Kind][]byte{
			KindLink: linkBytes(Link{FirstLive: 1, Time: testTime}),
			KindMark: markBytes(Mark{Claim: Position{id.Ordinal, at}, FirstLive: 1, Time: testTime}),
			KindSeal: sealBytes(Seal{
				Records: uint64(seq - 1), Succ: id.Ordinal + 1, IndexAt: at + sealFrame,
			}),
		}[kind]
		for i := range min(len(good), len(payload)) {
			payload[i] ^= good[i]
		}
		if int64(at)+frame > int64(len(b)) {
			return
		}
		next := putFrame(b, at, id.Salt, seq+delta, kind, payload)
		if kind.IsRecord() {
			seq++
		}
		at = next
	}
}

// checkHostile scans and reads a segment that may hold anything, and checks that what it is told
// fits together.
func checkHostile(t *testing.T, b []byte, id *Identity) {
	t.Helper()
	before := slices.Clone(b)
	s := openBytes(t, b, *id, nil)
	sc := scan(t, s, 0)
	size := Offset(len(b))
	switch {
	case sc.End < FirstFrame || sc.End > size || sc.End%8 != 0 || sc.StopAt < sc.End:
		t.Fatalf("ends at %d, stopped at %d", sc.End, sc.StopAt)
	case !sc.HasLink && (sc.End != FirstFrame || sc.Records != 0 || sc.Stop == nil):
		t.Fatalf("without a link: %+v", sc)
	case sc.HasLink && sc.Next-sc.Link.Base != Seq(sc.Records):
		t.Fatalf("%d records from %d to %d", sc.Records, sc.Link.Base, sc.Next)
	case (sc.Stop == nil) != (sc.Seal != nil):
		t.Fatalf("stopped by %v, seal %v", sc.Stop, sc.Seal)
	case sc.Tail.Bytes < 0 || sc.Tail.Bytes > int64(size-sc.End):
		t.Fatalf("tail %+v of a segment of %d bytes that ends at %d", sc.Tail, size, sc.End)
	case (Position{id.Ordinal, size}).Less(sc.Promised()):
		t.Fatalf("promises %v", sc.Promised())
	case len(sc.items) > len(b)/pageSize:
		t.Fatalf("%d index entries", len(sc.items))
	}
	checkSurvey(t, b, id, sc)
	if sc.HasLink {
		again := scan(t, s, sc.End)
		if again.Stop != nil || again.Next != sc.Next || again.End != sc.End ||
			!slices.Equal(again.items, sc.items) {
			t.Fatalf("a scan up to the end of one: %+v, want %+v", again, sc)
		}
		checkRecords(t, s, sc)
	}
	if sc.Seal != nil {
		if err := s.CheckIndex(sc); err != nil && !errors.Is(err, ErrIndex) {
			t.Fatal(err)
		}
		unread := openBytes(t, b, *id, nil)
		unread.AdoptUnread(sc.Link, sc.End, sc.Next, sc.Seal)
		checkReads(t, unread, sc)
	}
	for _, at := range []Offset{0, FirstFrame, sc.End, sc.StopAt, size} {
		if _, err := s.Scan(at &^ 7); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadSeal(at); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(b, before) {
		t.Fatal("reading has changed the segment")
	}
}

// checkRecords: every record that a scan has found can be read, in every way, and is what its frame
// says.
func checkRecords(t *testing.T, s *Segment, sc *Scan) {
	t.Helper()
	s.Adopt(sc)
	seq := sc.Link.Base
	var reader Reader
	for off := FirstFrame; off < sc.End; {
		h, want, err := readFrame(s.m.b, off, s.Salt)
		if err != nil {
			t.Fatalf("the frame at %d, before the end at %d: %v", off, sc.End, err)
		}
		if start, err := s.SeqAt(off); err != nil || start != h.seq {
			t.Fatalf("SeqAt(%d) = %d, %v, want %d", off, start, err, h.seq)
		}
		if h.kind.IsRecord() {
			if h.seq != seq {
				t.Fatalf("seq %d at %d, want %d", h.seq, off, seq)
			}
			got, err := s.Read(seq, nil)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("Read(%d): %d bytes, %v, want %d", seq, len(got), err, len(want))
			}
			if seq == sc.Link.Base {
				if err := reader.Start(s, seq); err != nil {
					t.Fatal(err)
				}
			}
			if got, err = reader.Next(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("Next, %d: %d bytes, %v, want %d", seq, len(got), err, len(want))
			}
			seq++
		}
		off += h.size()
	}
	if seq != sc.Next {
		t.Fatalf("%d records are there, the scan says %d", seq-sc.Link.Base, sc.Records)
	}
}

// checkReads: each record is read as its frame says, or with an error, whatever the index says.
func checkReads(t *testing.T, s *Segment, sc *Scan) {
	t.Helper()
	for seq := sc.Link.Base; seq < sc.Next; seq++ {
		at, err := s.Locate(seq)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			continue
		}
		h, want, err := readFrame(s.m.b, at, s.Salt)
		if err != nil {
			continue // Read says so, too
		}
		got, err := s.Read(seq, nil)
		if err != nil || h.seq != seq || !bytes.Equal(got, want) {
			t.Fatalf("Read(%d): %d bytes, %v", seq, len(got), err)
		}
	}
}

// FuzzIndex puts any index behind a golden segment's seal. It is refused, or used: then reads give
// the right record or an error.
func FuzzIndex(f *testing.F) {
	b := readGolden(f, "rolled")[filepath.Join("rolled", FileName(1))]
	id, err := DecodeIdentity(b)
	if err != nil {
		f.Fatal(err)
	}
	sealed := scanAll(b, &id, 0)
	if sealed.Seal == nil || len(sealed.items) == 0 {
		f.Fatal("the golden segment has no index")
	}
	at := int(sealed.Seal.IndexAt)
	f.Add(uint32(len(sealed.items)), b[at:at+16*len(sealed.items)])
	f.Add(uint32(2), bytes.Repeat([]byte{1, 0, 0, 0, 0x0a, 2, 0, 0}, 4))
	f.Add(uint32(1<<28), []byte{})
	f.Fuzz(func(t *testing.T, entries uint32, data []byte) {
		seg := slices.Clone(b)
		clear(seg[at:])
		copy(seg[at:], data)
		seal := *sealed.Seal
		seal.IndexLen = entries
		raw := seg[at:min(at+16*int(min(entries, 1<<20)), len(seg))]
		seal.IndexCRC = indexCRC(raw, id.Salt)
		items, err := decodeIndex(seg, &seal, id.Salt)
		if err != nil && !errors.Is(err, ErrIndex) {
			t.Fatal(err)
		}
		if err == nil {
			if len(items) != int(entries) || len(items) > len(seg)/pageSize {
				t.Fatalf("%d entries of %d", len(items), entries)
			}
			again := make([]byte, 16*len(items))
			encodeIndex(again, items)
			if !bytes.Equal(again, raw) {
				t.Fatalf("encoded again: % x, want % x", again, raw)
			}
		}
		s := openBytes(t, seg, id, nil)
		s.AdoptUnread(sealed.Link, sealed.End, sealed.Next, &seal)
		checkReads(t, s, sealed)
		if s.IndexRebuilt() != (err != nil) {
			t.Fatalf("rebuilt: %v, error %v", s.IndexRebuilt(), err)
		}
	})
}
