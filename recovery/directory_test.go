package recovery

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mmjournal/segment"
)

// flipBoth damages both copies in a JOURNAL.
func flipBoth(b []byte) { b[20] ^= 1; b[4096+20] ^= 1 }

// setByte changes a byte of an identity, or of a copy in JOURNAL, and makes its checksum right.
func setByte(b []byte, at int, value byte) {
	b[at] = value
	binary.LittleEndian.PutUint32(b[4092:], segment.Checksum(b[:4092]))
}

// TestJournalCopies: one bad copy in JOURNAL is a warning that says which one and why; the other
// one is taken, with its claim.
func TestJournalCopies(t *testing.T) {
	const second = "JOURNAL: the second copy is not good (bad checksum); the first one serves"
	for _, c := range []struct {
		name     string
		change   func(b []byte) []byte
		warnings []string
	}{
		{"good", func(b []byte) []byte { return b }, nil},
		{"the first damaged", func(b []byte) []byte { b[70] ^= 1; return b }, []string{
			"JOURNAL: the first copy is not good (bad checksum); the second one serves",
		}},
		{"the second damaged", func(b []byte) []byte { b[4096+70] ^= 1; return b }, []string{second}},
		{"the second torn", func(b []byte) []byte {
			b[4096+32]++ // of the next generation, and only its first sector
			return b
		}, []string{second}},
		{"the second of an older generation", func(b []byte) []byte {
			b[4096+64]++ // and with a claim of nothing
			clear(b[4096+72 : 4096+96])
			setByte(b[4096:], 32, b[32]-1)
			return b
		}, nil},
		{"the second cut off", func(b []byte) []byte { return b[:4096] }, []string{
			"JOURNAL: the second copy is not good (file is too short or has the wrong size); " +
				"the first one serves",
		}},
		{"longer", func(b []byte) []byte { return append(b, make([]byte, 100_000)...) }, []string{
			"JOURNAL: file is too short or has the wrong size",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			d.start().append(3).close().done().write("JOURNAL", c.change(d.read("JOURNAL")))
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				r := st.Report
				if r.Verdict != Intact || r.Label != Clean || len(r.Damage) > 0 || st.Err != nil {
					t.Fatalf("%v, %v", r, st.Err)
				}
				if !slices.Equal(r.Warnings, c.warnings) {
					t.Errorf("warnings %q, want %q", r.Warnings, c.warnings)
				}
				if st.Journal == nil || st.Journal.Claim != d.file.Claim || st.Journal.Newest != 1 ||
					st.Faults.Any() != (len(c.warnings) > 0) {
					t.Errorf("JOURNAL %+v, %v", st.Journal, st.Faults)
				}
				checkShown(t, d, st, 3)
			}
			d.remove(name(1)) // the copy that serves knows that it has to be there
			if st := look(t, d, Options{}); st.Err == nil {
				t.Errorf("%s", st.Label)
			}
		})
	}
}

// TestReadOnlyFeature: newer software has made a journal in a way that can be read here; only it
// may write to it.
func TestReadOnlyFeature(t *testing.T) {
	for _, c := range []struct {
		name, file string
		change     func(b []byte)
		readOnly   bool
	}{
		{"in JOURNAL", "JOURNAL", func(b []byte) {
			setByte(b, 52, 4)
			setByte(b[4096:], 52, 4)
		}, true},
		{"in the copy of JOURNAL that counts", "JOURNAL", func(b []byte) {
			b[4096+52] = 4
			setByte(b[4096:], 32, 0x77)
		}, true},
		{"in an identity", name(1), func(b []byte) { setByte(b, 68, 4) }, true},
		{"in the identity of a prepared segment", name(3), func(b []byte) { setByte(b, 71, 0x80) }, true},
		{"compatible, in JOURNAL", "JOURNAL", func(b []byte) {
			setByte(b, 56, 4)
			setByte(b[4096:], 56, 4)
		}, false},
		{"compatible, in an identity", name(2), func(b []byte) { setByte(b, 72, 4) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			d.start().append(3).roll().append(2).close().prepare(3)
			d.done().edit(c.file, c.change)
			st := look(t, d, Options{Full: true})
			if st.Err != nil || st.Label != Clean || st.Report.Verdict != Intact {
				t.Fatalf("%v, %v", st.Report, st.Err)
			}
			checkShown(t, d, st, 5)
			if !c.readOnly {
				if st.ReadOnly != nil || len(st.Report.Warnings) > 0 {
					t.Errorf("%v, %q", st.ReadOnly, st.Report.Warnings)
				}
				return
			}
			if !errors.Is(st.ReadOnly, segment.ErrVersion) ||
				!strings.HasPrefix(st.ReadOnly.Error(), path(c.file)+": ") {
				t.Errorf("read-only: %v", st.ReadOnly)
			}
			if !slices.Equal(st.Report.Warnings, []string{st.ReadOnly.Error()}) {
				t.Errorf("warnings %q", st.Report.Warnings)
			}
		})
	}
}

// longLink puts a link with a payload of 3,496 bytes into a prepared segment, as newer software
// may, and as many empty records behind it. It returns where they end.
func longLink(b []byte, l segment.Link, records int) segment.Offset {
	le := binary.LittleEndian
	salt, at := le.Uint64(b[40:]), segment.FirstFrame
	put := func(seq segment.Seq, kind segment.Kind, payload []byte) {
		f := b[at:]
		length := uint64(16 + len(payload))
		copy(f[16:], payload)
		le.PutUint64(f[8:], uint64(seq)<<8|uint64(kind))
		sum := le.AppendUint64(payload, salt^(uint64(at)<<29|length))
		le.PutUint32(f[4:], segment.Checksum(append(sum, f[8:16]...)))
		le.PutUint32(f, uint32(length))
		at += segment.Offset(length)
	}
	p := make([]byte, 3496)
	for i, n := range []uint64{
		l.Pred, l.PredSalt, uint64(l.PredEnd), uint64(l.FirstLive), l.Claim.Ordinal,
		uint64(l.Claim.Offset), uint64(l.Time.UnixNano()), uint64(l.Reason), 1, 2, 3, 4, 5,
	} {
		le.PutUint64(p[8*i:], n)
	}
	put(l.Base, segment.KindLink, p)
	for i := range records {
		put(l.Base+segment.Seq(i), segment.KindRecord, nil)
	}
	return at
}

// TestLongLinks: a chain of segments whose links are longer than those of this version.
func TestLongLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		base  segment.Seq // of the second segment
		label Label
		next  segment.Seq
	}{
		{"a chain", 4, Open, 6},
		// The second segment does not follow the first one: nothing of that is certain but its link.
		{"with a wrong base seq", 5, BrokenChain, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			one := d.prepare(1).Identity
			d.prepare(2)
			d.done().records = make([]string, 5)
			var end segment.Offset
			d.edit(name(1), func(b []byte) {
				l := segment.Link{Base: 1, FirstLive: 1, Time: time.Unix(1, 0), Reason: 1}
				end = longLink(b, l, 3)
			})
			d.edit(name(2), func(b []byte) {
				longLink(b, segment.Link{
					Base: c.base, Pred: 1, PredSalt: one.Salt, PredEnd: end, FirstLive: 1,
					Claim: pos(1, end), Time: time.Unix(2, 0), Reason: segment.ReasonRecovery,
				}, 2)
			})
			for _, full := range []bool{false, true} {
				st := look(t, d, Options{Full: full})
				if c.label == BrokenChain && !full {
					continue // a claim vouches for it
				}
				if st.Label != c.label || st.Next != c.next {
					t.Errorf("%s, next seq %d (%v), want %s, %d", st.Label, st.Next, st.Err, c.label, c.next)
				}
				if records, err := shown(st); err != nil || len(records) != int(c.next-1) {
					t.Errorf("%d records, %v", len(records), err)
				}
			}
		})
	}
}
