package segment

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

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
		{64, strings.Repeat("\x00", 4028)}, // features, reserved
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
		{"a feature damaged", func(b []byte) []byte { b[64] = 2; return b }, ErrChecksum},
		{"a compatible feature damaged", func(b []byte) []byte { b[72] = 1; return b }, ErrChecksum},
		{"salt 0 and a compatible feature", func(b []byte) []byte {
			clear(b[40:48])
			b[72] = 1
			reseal(b)
			return b
		}, ErrIdentity},
		{"ordinal 0", func(b []byte) []byte { clear(b[32:40]); reseal(b); return b }, ErrIdentity},
		{"salt 0", func(b []byte) []byte { clear(b[40:48]); reseal(b); return b }, ErrIdentity},
		{"size too small", func(b []byte) []byte { return withSize(b, MinSize-4096) }, ErrIdentity},
		{"size too large", func(b []byte) []byte { return withSize(b, MaxSize+4096) }, ErrIdentity},
		{"size not whole pages", func(b []byte) []byte { return withSize(b, MinSize+8) }, ErrIdentity},
		{"size negative", func(b []byte) []byte { return withSize(b, -4096) }, ErrIdentity},
		{"first reserved byte", func(b []byte) []byte { b[76] = 1; reseal(b); return b }, ErrIdentity},
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

// TestIdentityFeatures: what software does that does not know a feature of newer software, by the
// class of its bit.
func TestIdentityFeatures(t *testing.T) {
	for _, c := range []struct {
		name     string
		at       int
		bits     byte
		reserved bool // a byte behind the features is not zero
		want     error
		readOnly bool
		recycled bool
	}{
		{"none", 64, 0, false, nil, false, false},
		{"recycled", 64, 1, false, nil, false, true},
		{"incompatible", 64, 2, false, ErrVersion, false, false},
		{"incompatible, with bytes of its own", 64, 2, true, ErrVersion, false, false},
		{"read-only compatible", 68, 1, false, nil, true, false},
		{"read-only compatible, the last", 71, 0x80, false, nil, true, false},
		{"read-only compatible, with bytes of its own", 68, 1, true, nil, true, false},
		{"compatible", 72, 1, false, nil, false, false},
		{"compatible, the last", 75, 0x80, false, nil, false, false},
		{"compatible, with bytes of its own", 72, 1, true, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := testIdentity(1)
			b := id.Encode()
			b[c.at] = c.bits
			if c.reserved {
				b[76], b[4091] = 1, 1
			}
			reseal(b)
			got, err := DecodeIdentity(b)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			if got.ReadOnly != c.readOnly || got.Recycled != c.recycled || got.Salt != id.Salt {
				t.Errorf("got %+v", got)
			}
		})
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
