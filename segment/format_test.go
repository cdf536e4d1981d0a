package segment

import (
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
		{ReasonNoSpace, "no space"}, {ReasonShared, "shared file"}, {Reason(0), "reason 0"},
		{Reason(8), "reason 8"},
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
		if got, want := MaxBatch(s), s-4096-112-56-80-index; got != want {
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
	corrupt := &CorruptError{Path: "d/x.seg", Segment: 1, Offset: 4208, Seq: 9, Err: ErrChecksum}
	noSeq := &CorruptError{Path: "d/x.seg", Segment: 1, Offset: 4208, Err: ErrHole}
	fault := &FaultError{Op: "append", Path: "d/x.seg", Offset: 8192, Err: errRuntime}
	for _, c := range []struct {
		err  error
		want string
	}{
		{corrupt, "d/x.seg: corrupt at offset 4208 (from seq 9 on): bad checksum"},
		{noSeq, "d/x.seg: corrupt at offset 4208: unwritten bytes where a frame must be"},
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
