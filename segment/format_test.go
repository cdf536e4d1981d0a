package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestChecksum: FORMAT.md's first paragraph gives this check value.
func TestChecksum(t *testing.T) {
	if got := Checksum([]byte("123456789")); got != 0xE3069283 {
		t.Errorf("crc32c(123456789) = %#x", got)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	for n := range 300 {
		p := []byte(strings.Repeat("\x00\xff\x5a", 100))[:n]
		if got, want := Checksum(p), crc32.Checksum(p, table); got != want {
			t.Fatalf("crc32c of %d bytes = %#x, the standard library says %#x", n, got, want)
		}
	}
}

func TestIdentityRoundTrip(t *testing.T) {
	for _, id := range []Identity{
		testIdentity(1),
		{Journal: NewID(), Ordinal: math.MaxUint64, Salt: math.MaxUint64, Size: MaxSize,
			Created: time.Unix(0, -1)},
		{Ordinal: 1, Salt: 1, Size: DefaultSize, Created: time.Unix(0, math.MinInt64)},
		NewIdentity(NewID(), 7, 64<<10, time.Unix(5, 6)),
	} {
		b := id.Encode()
		if len(b) != 4096 {
			t.Fatalf("%d bytes", len(b))
		}
		got, err := DecodeIdentity(append(b, "frames"...))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Created.Equal(id.Created) {
			t.Errorf("created %v, want %v", got.Created, id.Created)
		}
		if got.Created = id.Created; got != id {
			t.Errorf("got %+v, want %+v", got, id)
		}
	}
}

// TestIdentityLayout holds the encoder against the table of FORMAT.md §3.
func TestIdentityLayout(t *testing.T) {
	b := (&Identity{
		Journal: testJournal, Ordinal: 0x0102030405060708, Salt: 0x1112131415161718,
		Size: 0x2122232400, Created: time.Unix(0, 0x3132333435363738),
	}).Encode()
	for _, f := range []struct {
		at   int
		want string
	}{
		{0, "mmjseg\r\n"},
		{8, "\x01\x00\x00\x00"},
		{12, string(binary.LittleEndian.AppendUint32(nil, Checksum(b[:12])))},
		{16, string(testJournal[:])},
		{32, "\x08\x07\x06\x05\x04\x03\x02\x01"},
		{40, "\x18\x17\x16\x15\x14\x13\x12\x11"},
		{48, "\x00\x24\x23\x22\x21\x00\x00\x00"},
		{56, "\x38\x37\x36\x35\x34\x33\x32\x31"},
		{64, strings.Repeat("\x00", 4028)},
		{4092, string(binary.LittleEndian.AppendUint32(nil, Checksum(b[:4092])))},
	} {
		if got := string(b[f.at : f.at+len(f.want)]); got != f.want {
			t.Errorf("at %d: % x, want % x", f.at, got, f.want)
		}
	}
}

// reseal makes the checksums of an identity or of a JOURNAL right again after a change.
func reseal(b []byte) {
	n := len(b) - 4
	le.PutUint32(b[12:], Checksum(b[:12]))
	le.PutUint32(b[n:], Checksum(b[:n]))
}

// TestIdentityErrors: one case for each check of FORMAT.md §3, in that order. Each error is told
// from the others by its sentinel, or, where two share one, by its text.
func TestIdentityErrors(t *testing.T) {
	texts := map[string]string{}
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"shorter than an identity", func(b []byte) []byte { return b[:4095] }, ErrShort},
		{"empty", func([]byte) []byte { return nil }, ErrShort},
		{"magic", func(b []byte) []byte { b[0] ^= 1; reseal(b); return b }, ErrMagic},
		{"magic of JOURNAL", func(b []byte) []byte {
			copy(b, journalMagic[:])
			reseal(b)
			return b
		}, ErrMagic},
		{"checksum of the start", func(b []byte) []byte { b[12] ^= 1; return b }, ErrChecksum},
		{"version damaged", func(b []byte) []byte { b[8] = 2; return b }, ErrChecksum},
		{"version", func(b []byte) []byte { b[8] = 2; reseal(b); return b }, ErrVersion},
		{"version 0", func(b []byte) []byte { b[8] = 0; reseal(b); return b }, ErrVersion},
		{"version, whatever else is there", func(b []byte) []byte {
			b[8] = 2
			reseal(b)
			clear(b[16:])
			return b
		}, ErrVersion},
		{"checksum of the identity", func(b []byte) []byte { b[4092] ^= 1; return b }, ErrChecksum},
		{"last zero byte", func(b []byte) []byte { b[4091] = 1; return b }, ErrChecksum},
		{"features", func(b []byte) []byte { b[64] = 2; reseal(b); return b }, ErrVersion},
		{"a known feature and another", func(b []byte) []byte {
			b[64] = 3
			reseal(b)
			return b
		}, ErrVersion},
		{"last feature", func(b []byte) []byte { b[67] = 0x80; reseal(b); return b }, ErrVersion},
		{"ordinal 0", func(b []byte) []byte { clear(b[32:40]); reseal(b); return b }, ErrIdentity},
		{"salt 0", func(b []byte) []byte { clear(b[40:48]); reseal(b); return b }, ErrIdentity},
		{"size too small", func(b []byte) []byte { return withSize(b, MinSize-4096) }, ErrIdentity},
		{"size too large", func(b []byte) []byte { return withSize(b, MaxSize+4096) }, ErrIdentity},
		{"size not whole pages", func(b []byte) []byte { return withSize(b, MinSize+8) }, ErrIdentity},
		{"size negative", func(b []byte) []byte { return withSize(b, -4096) }, ErrIdentity},
		{"first reserved byte", func(b []byte) []byte { b[68] = 1; reseal(b); return b }, ErrIdentity},
		{"last reserved byte", func(b []byte) []byte { b[4091] = 1; reseal(b); return b }, ErrIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := testIdentity(1)
			_, err := DecodeIdentity(c.change(id.Encode()))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			for _, other := range decodeErrors {
				if other != c.want && errors.Is(err, other) {
					t.Errorf("error %v is %v, too", err, other)
				}
			}
			texts[c.name] = err.Error()
		})
	}
	if texts["version"] == texts["features"] {
		t.Errorf("version and features: both %q", texts["version"])
	}
}

func withSize(b []byte, size int64) []byte {
	le.PutUint64(b[48:], uint64(size))
	reseal(b)
	return b
}

// decodeErrors are the sentinels that callers tell from each other.
var decodeErrors = []error{
	ErrShort, ErrMagic, ErrChecksum, ErrIdentity, ErrFrame, ErrSeq, ErrHole, ErrIndex, ErrMissing,
	ErrForeign, ErrVersion, ErrCorrupt, ErrNoSpace, ErrFault, ErrUnnamed,
}

// TestSentinelsDiffer: no sentinel is taken for another, and each has a text of its own.
func TestSentinelsDiffer(t *testing.T) {
	for i, a := range decodeErrors {
		for _, b := range decodeErrors[i+1:] {
			if errors.Is(a, b) || errors.Is(b, a) || a.Error() == b.Error() {
				t.Errorf("%q and %q are the same", a, b)
			}
		}
	}
}

// TestIdentityEveryBit: no changed bit of an identity goes unnoticed.
func TestIdentityEveryBit(t *testing.T) {
	id := testIdentity(3)
	b := id.Encode()
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if _, err := DecodeIdentity(b); err == nil {
			t.Fatalf("bit %d of byte %d makes no difference", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

// TestOpenErrors: the checks of FORMAT.md §3 for which the file's name and size are needed.
func TestOpenErrors(t *testing.T) {
	id := testIdentity(5)
	whole := append(id.Encode(), make([]byte, MinSize-4096)...)
	for _, c := range []struct {
		name    string
		file    string
		content []byte
		want    error
	}{
		{"good", FileName(5), whole, nil},
		{"shorter than an identity", FileName(5), whole[:4095], ErrShort},
		{"bad identity", FileName(5), make([]byte, MinSize), ErrMagic},
		{"another ordinal", FileName(6), whole, ErrForeign},
		{"no segment's name", "segment", whole, ErrForeign},
		{"shorter than it says", FileName(5), whole[:4096], ErrShort},
		{"longer than it says", FileName(5), append(whole[:MinSize:MinSize], 0), ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := &hookFS{FS: NewMemFS()}
			writeFile(t, fsys.FS, c.file, c.content)
			for _, mode := range []OpenMode{ReadOnly, ReadWrite} {
				s, err := Open(fsys, c.file, mode)
				if c.want == nil {
					if err != nil {
						t.Fatal(err)
					}
					if s.Path() != c.file || s.Ordinal != 5 || s.End() != FirstFrame || s.Next() != 0 {
						t.Errorf("segment %+v", s.Identity)
					}
					if err := s.Drop(); err != nil {
						t.Error(err)
					}
				} else {
					var ce *CorruptError
					if !errors.As(err, &ce) || !errors.Is(err, c.want) || !errors.Is(err, ErrCorrupt) {
						t.Fatalf("error %v, want a CorruptError of %v", err, c.want)
					}
					ordinal, _ := ParseFileName(c.file)
					if ce.Path != c.file || ce.Segment != ordinal || ce.Offset != 0 || ce.Seq != 0 {
						t.Errorf("%+v does not name the place", ce)
					}
				}
				if fsys.handles != 0 || fsys.maps != 0 {
					t.Errorf("%d handles and %d mappings are left", fsys.handles, fsys.maps)
				}
			}
		})
	}
}

// TestOpenNewer: a file of newer software is not called corrupt.
func TestOpenNewer(t *testing.T) {
	id := testIdentity(5)
	b := append(id.Encode(), make([]byte, MinSize-4096)...)
	b[8] = 2
	le.PutUint32(b[12:], Checksum(b[:12]))
	fsys := NewMemFS()
	writeFile(t, fsys, FileName(5), b)
	_, err := Open(fsys, FileName(5), ReadOnly)
	if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want ErrVersion", err)
	}
}

func TestJournalFileRoundTrip(t *testing.T) {
	for _, j := range []JournalFile{
		{Journal: testJournal, Newest: 0, Created: testTime},
		{Journal: NewID(), Newest: math.MaxUint64, Created: time.Unix(0, -1),
			Claim: Position{math.MaxUint64, math.MaxInt64}, FirstLive: MaxSeq},
	} {
		b := j.Encode()
		if len(b) != 128 {
			t.Fatalf("%d bytes", len(b))
		}
		got, err := DecodeJournalFile(b)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Created.Equal(j.Created) {
			t.Errorf("created %v, want %v", got.Created, j.Created)
		}
		if got.Created = j.Created; got != j {
			t.Errorf("got %+v, want %+v", got, j)
		}
	}
}

// TestJournalFileErrors: FORMAT.md §2.
func TestJournalFileErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"empty", func([]byte) []byte { return nil }, ErrShort},
		{"shorter than its first part", func(b []byte) []byte { return b[:15] }, ErrShort},
		{"too short", func(b []byte) []byte { return b[:127] }, ErrShort},
		{"too long", func(b []byte) []byte { return append(b, 0) }, ErrShort},
		{"magic", func(b []byte) []byte { b[7] ^= 1; reseal(b); return b }, ErrMagic},
		{"magic of a segment", func(b []byte) []byte {
			copy(b, segmentMagic[:])
			reseal(b)
			return b
		}, ErrMagic},
		{"checksum of the start", func(b []byte) []byte { b[15] ^= 1; return b }, ErrChecksum},
		{"version", func(b []byte) []byte { b[8] = 2; reseal(b); return b }, ErrVersion},
		{"version, whatever its size", func(b []byte) []byte {
			b[8] = 2
			reseal(b)
			return append(b, "more"...)
		}, ErrVersion},
		{"checksum", func(b []byte) []byte { b[124] ^= 1; return b }, ErrChecksum},
		{"first reserved byte", func(b []byte) []byte { b[72] = 1; reseal(b); return b }, ErrIdentity},
		{"last reserved byte", func(b []byte) []byte { b[123] = 1; reseal(b); return b }, ErrIdentity},
		{"negative claim", func(b []byte) []byte { b[63] = 0x80; reseal(b); return b }, ErrIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := JournalFile{Journal: testJournal, Newest: 1, Created: testTime}
			_, err := DecodeJournalFile(c.change(j.Encode()))
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
	j := JournalFile{Journal: testJournal, Newest: 1, Created: testTime}
	b := j.Encode()
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if _, err := DecodeJournalFile(b); err == nil {
			t.Fatalf("bit %d of byte %d makes no difference", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestLinkRoundTrip(t *testing.T) {
	for _, l := range []Link{
		startLink(),
		{Base: 1<<56 - 1, Pred: 6, PredSalt: 1, PredEnd: 8192, FirstLive: 5,
			Claim: Position{6, 8192}, Time: time.Unix(0, -5), Reason: ReasonTruncateBack},
	} {
		got, ok := decodeLink(linkBytes(l), l.Base, 7)
		if !ok || !got.Time.Equal(l.Time) {
			t.Errorf("got %+v, %v, want %+v", got, ok, l)
		}
		if got.Time = l.Time; got != l {
			t.Errorf("got %+v, want %+v", got, l)
		}
	}
}

func TestMarkRoundTrip(t *testing.T) {
	at := Position{7, 5000}
	for _, m := range []Mark{
		{Next: 1, FirstLive: 1, Time: testTime},
		{Next: 9, Claim: Position{7, 4992}, FirstLive: 3, Time: time.Unix(0, -1)},
		{Next: 9, Claim: at, FirstLive: 9, Time: testTime, Clean: true},
	} {
		got, ok := decodeMark(markBytes(m), m.Next, at)
		if !ok || !got.Time.Equal(m.Time) {
			t.Errorf("got %+v, %v, want %+v", got, ok, m)
		}
		if got.Time = m.Time; got != m {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

func TestSealRoundTrip(t *testing.T) {
	s := Seal{
		Next: 9, Records: 8, OldestTime: testTime, NewestTime: testTime.Add(time.Hour),
		Succ: 3, SuccSalt: 4, IndexAt: 8000, IndexLen: 2, IndexCRC: 0xdeadbeef,
	}
	got, ok := decodeSeal(sealBytes(s), 9, 8000)
	if !ok || !got.OldestTime.Equal(s.OldestTime) || !got.NewestTime.Equal(s.NewestTime) {
		t.Errorf("got %+v, %v, want %+v", got, ok, s)
	}
	got.OldestTime, got.NewestTime = s.OldestTime, s.NewestTime
	if got != s {
		t.Errorf("got %+v, want %+v", got, s)
	}
}

func TestPosition(t *testing.T) {
	order := []Position{{}, {0, 1}, {1, 0}, {1, 4096}, {2, 0}, {2, 5}, {math.MaxUint64, 0}}
	for i, a := range order {
		for k, b := range order {
			if a.Less(b) != (i < k) {
				t.Errorf("%v.Less(%v) = %v", a, b, a.Less(b))
			}
		}
	}
	if got := (Position{12, 4096}).String(); got != "12:4096" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for _, ordinal := range []uint64{1, 42, MaxOrdinal} {
		name := FileName(ordinal)
		if got, ok := ParseFileName(name); !ok || got != ordinal || len(name) != 20 {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	for _, name := range []string{
		"", "1.seg", "0000000000000000.seg", "000000000000000a.seg", "0000000000000001.SEG",
		"0000000000000001.seg.tmp", "00000000000000001.seg", "-000000000000001.seg", "JOURNAL",
	} {
		if got, ok := ParseFileName(name); ok {
			t.Errorf("%q is taken for the segment %d", name, got)
		}
	}
	for _, c := range []struct {
		got  fmt.Stringer
		want string
	}{
		{KindRecord, "record"}, {KindBatch, "batch"}, {KindBatchEnd, "batchEnd"},
		{KindMark, "mark"}, {KindLink, "link"}, {KindSeal, "seal"}, {KindVoid, "void"},
		{Kind(0), "kind 0x00"}, {Kind(8), "kind 0x08"}, {KindRecord | 0x20, "kind 0x21"},
		{ReasonStart, "start"}, {ReasonRoll, "roll"}, {ReasonRecovery, "recovery"},
		{ReasonTruncateBack, "truncate back"}, {ReasonReset, "reset"},
		{Reason(0), "reason 0"}, {Reason(6), "reason 6"},
		{testJournal, "11223300-0000-4a00-8b00-0000000000ff"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestNewIDs: journal ids are random UUIDs of version 4; salts are random and never 0.
func TestNewIDs(t *testing.T) {
	ids, salts := map[ID]bool{}, map[uint64]bool{0: true}
	for i := range 100 {
		id := NewID()
		if s := id.String(); s[14] != '4' || !strings.Contains("89ab", s[19:20]) {
			t.Errorf("%s is no UUID of version 4", s)
		}
		salt := NewIdentity(id, 1, MinSize, testTime).Salt
		if ids[id] || salts[salt] {
			t.Errorf("round %d: %v or %#x is not new", i, id, salt)
		}
		ids[id], salts[salt] = true, true
	}
}

// formatText returns FORMAT.md.
func formatText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLimitsTable holds MaxRecord and MaxBatch against the table and the formula of FORMAT.md §5.
func TestLimitsTable(t *testing.T) {
	line := regexp.MustCompile(`(?m)^\| (\d+) (KiB|MiB|GiB)(?: \(default\))? \| ([\d,]+) \|$`)
	rows := line.FindAllStringSubmatch(formatText(t), -1)
	var sizes []int64
	for _, r := range rows {
		n, err := strconv.ParseInt(r[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size := n << (10 * (1 + slices.Index([]string{"KiB", "MiB", "GiB"}, r[2])))
		want, err := strconv.ParseInt(strings.ReplaceAll(r[3], ",", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := MaxRecord(size); got != want {
			t.Errorf("MaxRecord(%s %s) = %d, FORMAT.md says %d", r[1], r[2], got, want)
		}
		if strings.Contains(r[0], "default") && size != DefaultSize {
			t.Errorf("FORMAT.md calls %d the default, it is %d", size, DefaultSize)
		}
		sizes = append(sizes, size)
	}
	if want := []int64{64 << 10, 1 << 20, 64 << 20, 1 << 30, 16 << 30}; !slices.Equal(sizes, want) {
		t.Errorf("FORMAT.md's table is for the sizes %v, want %v", sizes, want)
	}
	for _, s := range append(sizes, MinSize, MinSize+4096) {
		index := 16 * (s / 4096)
		if got, want := MaxBatch(s), s-4096-80-56-80-index; got != want {
			t.Errorf("MaxBatch(%d) = %d, want %d", s, got, want)
		}
		if MaxBatch(s)%8 != 0 || FrameSize(MaxRecord(s)) > MaxBatch(s) {
			t.Errorf("size %d: the largest record takes %d of %d bytes",
				s, FrameSize(MaxRecord(s)), MaxBatch(s))
		}
	}
}

func TestValidSize(t *testing.T) {
	for n, want := range map[int64]bool{
		MinSize: true, MaxSize: true, DefaultSize: true, MinSize + 4096: true,
		0: false, 4096: false, MinSize - 1: false, MinSize + 1: false, MaxSize + 4096: false,
		-4096: false, math.MinInt64: false,
	} {
		if ValidSize(n) != want {
			t.Errorf("ValidSize(%d) = %v", n, !want)
		}
	}
}

func TestFrameSize(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 16, 1: 24, 7: 24, 8: 24, 9: 32, 1024: 1040, 1<<32 - 17: 1 << 32,
	} {
		if got := FrameSize(n); got != want {
			t.Errorf("FrameSize(%d) = %d, want %d", n, got, want)
		}
	}
}

// TestErrorTexts: errors say file, offset, seq and reason.
func TestErrorTexts(t *testing.T) {
	corrupt := &CorruptError{Path: "d/x.seg", Segment: 1, Offset: 4176, Seq: 9, Err: ErrChecksum}
	noSeq := &CorruptError{Path: "d/x.seg", Segment: 1, Offset: 4176, Err: ErrHole}
	fault := &FaultError{Op: "append", Path: "d/x.seg", Offset: 8192, Err: errRuntime}
	for _, c := range []struct {
		err  error
		want string
	}{
		{corrupt, "d/x.seg: corrupt at offset 4176 (from seq 9 on): bad checksum"},
		{noSeq, "d/x.seg: corrupt at offset 4176: unwritten bytes where a frame must be"},
		{fault, "append d/x.seg at offset 8192: fault in mapped memory " +
			"(the file was cut short, the disk cannot be read, or it is full)"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("%q, want %q", c.err, c.want)
		}
	}
	if !errors.Is(corrupt, ErrCorrupt) || !errors.Is(corrupt, ErrChecksum) ||
		errors.Is(corrupt, ErrFault) {
		t.Error("CorruptError is not what it should be")
	}
	if !errors.Is(fault, ErrFault) || !errors.Is(fault, errRuntime) || errors.Is(fault, ErrCorrupt) {
		t.Error("FaultError is not what it should be")
	}
}

var errRuntime = errors.New("what the runtime said")

// TestPlausible: a link is not followed to a predecessor that could not hold what it says.
func TestPlausible(t *testing.T) {
	for _, c := range []struct {
		from, base Seq
		end        Offset
		want       bool
	}{
		{1, 1, LinkEnd, true},
		{1, 2, LinkEnd, false},
		{1, 2, LinkEnd + HeaderSize, true},
		{1, 101, LinkEnd + 100*HeaderSize, true},
		{1, 102, LinkEnd + 100*HeaderSize, false},
		{2, 1, LinkEnd + 100*HeaderSize, false},
		{1, 1 << 40, MaxSize, false}, // more than Segment.state can count
		{1, math.MaxUint64, MaxSize, false},
	} {
		l := Link{Base: c.base, PredEnd: c.end}
		if got := l.Plausible(&Link{Base: c.from}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
