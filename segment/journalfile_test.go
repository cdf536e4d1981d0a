package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// testFile is what the tests' JOURNAL says.
func testFile() JournalFile {
	return JournalFile{Journal: testJournal, Generation: 7, Created: testTime, Newest: 1}
}

// standIn is a JOURNAL that holds the link of a segment of its own.
func standIn() JournalFile {
	j := testFile()
	j.StandInOrdinal, j.StandIn = 9, Link{
		Base: 5, Pred: 8, PredSalt: 3, PredEnd: 8192, FirstLive: 2, Claim: Position{8, 8192},
		Time: testTime, Reason: ReasonTruncateBack, Epoch: 1, EpochNonce: 2, EpochStart: 3,
	}
	return j
}

// twice returns a file JOURNAL both of whose copies say j.
func twice(j JournalFile) []byte { return bytes.Repeat(j.Encode(), 2) }

// sameFile compares what two copies say.
func sameFile(a, b JournalFile) bool {
	same := a.Created.Equal(b.Created) &&
		(a.StandInOrdinal == 0 || a.StandIn.Time.Equal(b.StandIn.Time))
	a.Created, a.StandIn.Time = b.Created, b.StandIn.Time
	return same && a == b
}

func TestJournalFileRoundTrip(t *testing.T) {
	most := standIn()
	most.Journal, most.Generation, most.Newest = NewID(), math.MaxUint64, math.MaxUint64
	most.Created, most.Claim = time.Unix(0, -1), Position{math.MaxUint64, math.MaxInt64}
	most.FirstLive, most.SegmentSize, most.Epoch, most.EpochNonce = MaxSeq, MaxSize, 1, 1<<63
	most.StandInOrdinal, most.StandIn.Base = math.MaxUint64, MaxSeq
	for _, j := range []JournalFile{{Created: time.Unix(0, 0)}, testFile(), standIn(), most} {
		b := j.Encode()
		if len(b) != 4096 {
			t.Fatalf("%d bytes", len(b))
		}
		got, faults, err := DecodeJournalFile(twice(j))
		if err != nil || faults.Any() || len(faults.Texts()) > 0 {
			t.Fatalf("%v, %v", err, faults)
		}
		if !sameFile(got, j) {
			t.Errorf("got %+v, want %+v", got, j)
		}
	}
}

// TestJournalFileLayout holds the encoder against the table of FORMAT.md §2.
func TestJournalFileLayout(t *testing.T) {
	b := (&JournalFile{
		Journal: testJournal, Generation: 0x0102030405060708, Created: time.Unix(0, 0x11),
		Newest: 0x12, Claim: Position{0x13, 0x14}, FirstLive: 0x15, SegmentSize: 0x1000,
		Epoch: 0x16, EpochNonce: 0x17, StandInOrdinal: 0x30,
		StandIn: Link{
			Base: 0x18, Pred: 0x19, PredSalt: 0x1a, PredEnd: 0x2000, FirstLive: 0x1b,
			Claim: Position{0x1c, 0x1d}, Time: time.Unix(0, 0x1e), Reason: ReasonReset,
			Epoch: 0x20, EpochNonce: 0x21, EpochStart: 0x22,
		},
	}).Encode()
	u64 := func(all ...uint64) (s string) {
		for _, n := range all {
			s += string(binary.LittleEndian.AppendUint64(nil, n))
		}
		return s
	}
	for _, f := range []struct {
		at   int
		want string
	}{
		{0, "mmjrnl\r\n"},
		{8, "\x01\x00\x00\x00"},
		{12, string(binary.LittleEndian.AppendUint32(nil, Checksum(b[:12])))},
		{16, string(testJournal[:])},
		{32, u64(0x0102030405060708, 0x11)},
		{48, strings.Repeat("\x00", 16)}, // features
		{64, u64(0x12, 0x13, 0x14, 0x15, 0x1000, 0x16, 0x17)},
		{120, u64(0x30, 0x18)},
		{136, u64(0x19, 0x1a, 0x2000, 0x1b, 0x1c, 0x1d, 0x1e, 5, 0x20, 0x21, 0x22, 0)},
		{232, strings.Repeat("\x00", 3860)},
		{4092, string(binary.LittleEndian.AppendUint32(nil, Checksum(b[:4092])))},
	} {
		if got := string(b[f.at : f.at+len(f.want)]); got != f.want {
			t.Errorf("at %d: % x, want % x", f.at, got, f.want)
		}
	}
}

// TestJournalFileErrors: FORMAT.md §2, for files both of whose copies are bad in the same way.
func TestJournalFileErrors(t *testing.T) {
	resealed := func(edit func(b []byte)) func([]byte) []byte {
		return func(b []byte) []byte { edit(b); reseal(b); return b }
	}
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte // one copy
		want   error
	}{
		{"empty", func([]byte) []byte { return nil }, ErrShort},
		{"shorter than its first part", func(b []byte) []byte { return b[:7] }, ErrShort},
		{"magic", resealed(func(b []byte) { b[7] ^= 1 }), ErrMagic},
		{"magic of a segment", resealed(func(b []byte) { copy(b, segmentMagic[:]) }), ErrMagic},
		{"checksum of the start", func(b []byte) []byte { b[15] ^= 1; return b }, ErrChecksum},
		{"version", resealed(func(b []byte) { b[8] = 2 }), ErrVersion},
		{"version, whatever its size", func(b []byte) []byte {
			b[8] = 2
			reseal(b)
			return append(b, "more"...)
		}, ErrVersion},
		{"version, whatever the rest is", func(b []byte) []byte {
			b[8] = 2
			reseal(b)
			return b[:16]
		}, ErrVersion},
		{"checksum", func(b []byte) []byte { b[4092] ^= 1; return b }, ErrChecksum},
		{"an incompatible feature", resealed(func(b []byte) { b[48] = 1 }), ErrVersion},
		{"an incompatible feature, damaged", func(b []byte) []byte { b[48] = 1; return b }, ErrChecksum},
		{"first reserved byte", resealed(func(b []byte) { b[60] = 1 }), ErrIdentity},
		{"last reserved byte", resealed(func(b []byte) { b[4091] = 1 }), ErrIdentity},
		{"reserved byte behind the stand-in", resealed(func(b []byte) { b[232] = 1 }), ErrIdentity},
		{"negative claim", resealed(func(b []byte) { b[87] = 0x80 }), ErrIdentity},
		{"segment size", resealed(func(b []byte) { b[96] = 1 }), ErrIdentity},
		{"a stand-in's base without its ordinal", resealed(func(b []byte) { b[128] = 1 }), ErrIdentity},
		{"a stand-in's link without its ordinal", resealed(func(b []byte) { b[231] = 1 }), ErrIdentity},
		{"a stand-in of base seq 0", resealed(func(b []byte) { b[120] = 2 }), ErrIdentity},
		{"a stand-in of base seq 2⁵⁶", resealed(func(b []byte) {
			b[120], b[128+7] = 2, 1
		}), ErrIdentity},
		{"a stand-in that is its own predecessor", resealed(func(b []byte) {
			b[120], b[128], b[136], b[136+17] = 2, 1, 2, 0x20
		}), ErrIdentity},
		{"a stand-in that claims itself", resealed(func(b []byte) {
			b[120], b[128], b[136+32] = 2, 1, 2
		}), ErrIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := testFile()
			b := bytes.Repeat(c.change(j.Encode()), 2)
			_, _, err := DecodeJournalFile(b)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			for _, other := range decodeErrors {
				if other != c.want && errors.Is(err, other) {
					t.Errorf("error %v is %v, too", err, other)
				}
			}
		})
	}
}

// TestJournalCopies: which copy serves, and what is said of the other one.
func TestJournalCopies(t *testing.T) {
	file := func(generation uint64) []byte {
		j := testFile()
		j.Generation, j.Newest = generation, generation
		return j.Encode()
	}
	change := func(b []byte, at int) []byte { b[at] ^= 0x40; return b }
	sealed := func(b []byte, at int, value byte) []byte { b[at] = value; reseal(b); return b }
	other := testFile()
	other.Journal = NewID()
	torn := append(file(8)[:512:512], file(7)[512:]...)
	for _, c := range []struct {
		name          string
		first, second []byte
		more          string // behind both
		generation    uint64 // of the copy that serves; 0: none does
		firstErr      error
		secondErr     error
		sizeErr       error
		err           error
	}{
		{name: "the same", first: file(7), second: file(7), generation: 7},
		{name: "the first is newer", first: file(8), second: file(7), generation: 8},
		{name: "the second is newer", first: file(7), second: file(8), generation: 8},
		{name: "the highest generation", first: file(math.MaxUint64), second: file(1),
			generation: math.MaxUint64},
		{name: "the first is damaged", first: change(file(8), 3000), second: file(7), generation: 7,
			firstErr: ErrChecksum},
		{name: "the second is damaged", first: file(7), second: change(file(8), 64), generation: 7,
			secondErr: ErrChecksum},
		{name: "the first is torn", first: torn, second: file(7), generation: 7,
			firstErr: ErrChecksum},
		{name: "the first is lost", first: make([]byte, 4096), second: file(7), generation: 7,
			firstErr: ErrMagic},
		{name: "the second is lost", first: file(7), second: make([]byte, 4096), generation: 7,
			secondErr: ErrMagic},
		{name: "the start of the first is damaged", first: change(file(8), 13), second: file(7),
			generation: 7, firstErr: ErrChecksum},
		{name: "the version of the first is damaged", first: change(file(8), 8), second: file(7),
			generation: 7, firstErr: ErrChecksum},
		{name: "the first is impossible", first: sealed(file(8), 87, 0x80), second: file(7),
			generation: 7, firstErr: ErrIdentity},
		{name: "both are damaged", first: change(file(8), 64), second: change(file(8), 64),
			firstErr: ErrChecksum, secondErr: ErrChecksum, err: ErrChecksum},
		{name: "both are lost", first: make([]byte, 4096), second: make([]byte, 4096),
			firstErr: ErrMagic, secondErr: ErrMagic, err: ErrMagic},
		{name: "one copy", first: file(7), generation: 7, secondErr: ErrShort},
		{name: "one copy and a part", first: file(7), second: file(8)[:4095], generation: 7,
			secondErr: ErrShort},
		{name: "one copy, damaged", first: change(file(7), 64),
			firstErr: ErrChecksum, secondErr: ErrShort, err: ErrChecksum},
		{name: "a part of one copy", first: file(7)[:4095],
			firstErr: ErrShort, secondErr: ErrShort, err: ErrShort},
		{name: "nothing", firstErr: ErrShort, secondErr: ErrShort, err: ErrShort},
		{name: "more behind them", first: file(7), second: file(8), more: "x", generation: 8,
			sizeErr: ErrShort},
		{name: "more, and the first is damaged", first: change(file(8), 64), second: file(7),
			more: "x", generation: 7, firstErr: ErrChecksum, sizeErr: ErrShort},
		{name: "of two journals", first: file(7), second: other.Encode(),
			firstErr: ErrIdentity, secondErr: ErrIdentity, err: ErrIdentity},

		{name: "the first is of another version", first: sealed(file(7), 8, 2), second: file(8),
			err: ErrVersion},
		{name: "the second is of another version", first: file(8), second: sealed(file(7), 8, 2),
			err: ErrVersion},
		{name: "one is damaged, the other of another version", first: change(file(8), 64),
			second: sealed(file(7), 8, 2), err: ErrVersion},
		{name: "the first has an incompatible feature", first: sealed(file(8), 51, 0x80),
			second: file(7), err: ErrVersion},
		{name: "the second has an incompatible feature", first: file(8),
			second: sealed(file(7), 48, 1), err: ErrVersion},
		{name: "an incompatible feature, damaged", first: change(file(8), 48), second: file(7),
			generation: 7, firstErr: ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := append(append(bytes.Clone(c.first), c.second...), c.more...)
			j, faults, err := DecodeJournalFile(b)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if errors.Is(c.err, ErrVersion) {
				return
			}
			said := 0
			for i, want := range []error{c.firstErr, c.secondErr, c.sizeErr} {
				got := []error{faults.Copies[0], faults.Copies[1], faults.Size}[i]
				if !errors.Is(got, want) || (got == nil) != (want == nil) {
					t.Errorf("faults %v, want %v, %v, %v", faults, c.firstErr, c.secondErr, c.sizeErr)
				}
				if want != nil {
					said++
				}
			}
			if got := faults.Texts(); err == nil && len(got) != said || faults.Any() != (said > 0) {
				t.Errorf("said: %q", got)
			}
			if j.Generation != c.generation || err == nil && j.Newest != c.generation {
				t.Errorf("got %+v, want generation %d", j, c.generation)
			}
		})
	}
}

// TestJournalFaultTexts: a person is told which copy is bad, why, and that the other one serves.
func TestJournalFaultTexts(t *testing.T) {
	j := testFile()
	b := append(twice(j), 0)
	b[5000] ^= 1
	_, faults, err := DecodeJournalFile(b)
	if err != nil {
		t.Fatal(err)
	}
	want := "the second copy is not good (bad checksum); the first one serves|" +
		"file is too short or has the wrong size"
	if got := strings.Join(faults.Texts(), "|"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b[64] ^= 1
	b[4096] ^= 1
	want = "first copy: bad checksum; second copy: " + ErrMagic.Error()
	if _, _, err := DecodeJournalFile(b); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestJournalFileFeatures: what software does that does not know a feature of newer software.
func TestJournalFileFeatures(t *testing.T) {
	for _, c := range []struct {
		name     string
		at       int
		reserved bool // bytes that are zero without features are not
		want     error
		readOnly bool
	}{
		{"incompatible", 48, false, ErrVersion, false},
		{"incompatible, the last byte of them", 51, true, ErrVersion, false},
		{"read-only compatible", 52, false, nil, true},
		{"read-only compatible, with bytes of its own", 55, true, nil, true},
		{"compatible", 56, false, nil, false},
		{"compatible, with bytes of its own", 59, true, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := testFile()
			b := j.Encode()
			b[c.at] = 1
			if c.reserved {
				b[60], b[232], b[4091] = 1, 1, 1
			}
			reseal(b)
			got, faults, err := DecodeJournalFile(append(b, b...))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			j.ReadOnly = c.readOnly
			if faults.Any() || !sameFile(got, j) {
				t.Errorf("got %+v, %v, want %+v", got, faults, j)
			}
			got.ReadOnly = false
			if got.Encode()[c.at] != 0 {
				t.Error("a feature is written that this software does not know")
			}
		})
	}
}

// TestJournalFileEveryBit: no changed bit of a copy goes unnoticed, and the other copy serves.
func TestJournalFileEveryBit(t *testing.T) {
	j := standIn()
	b := twice(j)
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		got, faults, err := DecodeJournalFile(b)
		which := i / 8 / 4096
		if err != nil || faults.Copies[which] == nil || faults.Copies[1-which] != nil {
			t.Fatalf("bit %d of byte %d: %v, %v", i%8, i/8, faults, err)
		}
		if !sameFile(got, j) {
			t.Fatalf("bit %d of byte %d: %+v", i%8, i/8, got)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}
