package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// survey takes a survey of all of a content.
func survey(tb testing.TB, f *frames) *Survey {
	tb.Helper()
	s, err := TakeSurvey(bytes.NewReader(f.b), int64(len(f.b)), &f.id)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// found says which records the stretches of a survey hold.
func found(tb testing.TB, f *frames, s *Survey) string {
	tb.Helper()
	var text []string
	for i := range s.Stretches {
		st := &s.Stretches[i]
		line := ""
		err := ReadStretch(bytes.NewReader(f.b), &f.id, st, func(r *FileRecord) bool {
			line += fmt.Sprintf("%d:%s ", r.Seq, r.Payload)
			return true
		})
		if err != nil {
			tb.Errorf("stretch %+v: %v", st, err)
		}
		if st.HeadEnd > 0 {
			line += fmt.Sprintf("head to %d ", st.HeadEnd)
		}
		if st.OpenAt > 0 {
			line += fmt.Sprintf("open from %d ", st.Open)
		}
		text = append(text, strings.TrimSpace(line))
	}
	return strings.Join(text, " | ")
}

func TestSurvey(t *testing.T) {
	// Where the records of the content below are, which have 24 bytes each.
	rec := func(n int) Offset { return LinkEnd + Offset(n)*24 }
	content := func() *frames {
		f := linked().record("a").record("b").record("c")
		f.put(KindBatch, []byte("d")).put(KindBatch, []byte("e")).put(KindBatchEnd, []byte("f"))
		return f.record("g").mark(f.position()).record("h")
	}
	for _, c := range []struct {
		name   string
		change func(f *frames)
		want   string
		stops  []error
	}{
		{"nothing wrong", func(*frames) {}, "1:a 2:b 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrHole}},
		{"a payload", func(f *frames) { f.b[rec(1)+16] ^= 1 },
			"1:a | 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrChecksum, ErrHole}},
		{"a length", func(f *frames) { f.b[rec(1)] ^= 0x40 },
			"1:a | 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrChecksum, ErrHole}},
		{"a length that leads out of the file", func(f *frames) { f.b[rec(1)+3] = 0xff },
			"1:a | 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrFrame, ErrHole}},
		{"a first word", func(f *frames) { clear(f.b[rec(1) : rec(1)+8]) },
			"1:a | 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrHole, ErrHole}},
		{"two places", func(f *frames) { f.b[rec(1)+16] ^= 1; f.b[rec(6)+16] ^= 1 },
			"1:a | 3:c 4:d 5:e 6:f | 8:h", []error{ErrChecksum, ErrChecksum, ErrHole}},
		{"the first of a batch", func(f *frames) { f.b[rec(3)+16] ^= 1 },
			"1:a 2:b 3:c | 5:e 6:f 7:g 8:h head to 7", []error{ErrChecksum, ErrHole}},
		{"the middle of a batch", func(f *frames) { f.b[rec(4)+16] ^= 1 },
			"1:a 2:b 3:c 4:d open from 4 | 6:f 7:g 8:h head to 7", []error{ErrChecksum, ErrHole}},
		{"the last of a batch", func(f *frames) { f.b[rec(5)+16] ^= 1 },
			"1:a 2:b 3:c 4:d 5:e open from 4 | 7:g 8:h", []error{ErrChecksum, ErrHole}},
		{"all but the middle of a batch", func(f *frames) { f.b[rec(3)+16] ^= 1; f.b[rec(5)+16] ^= 1 },
			"1:a 2:b 3:c | 5:e head to 6 open from 5 | 7:g 8:h",
			[]error{ErrChecksum, ErrChecksum, ErrHole}},
		{"the link", func(f *frames) { f.b[FirstFrame+16] ^= 1 },
			"1:a 2:b 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrHole}},
		{"link and first record", func(f *frames) { f.b[FirstFrame+16] ^= 1; f.b[rec(0)] ^= 1 },
			"2:b 3:c 4:d 5:e 6:f 7:g 8:h", []error{ErrHole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := content()
			c.change(f)
			s := survey(t, f)
			if got := found(t, f, s); got != c.want {
				t.Errorf("found %s\nwant  %s", got, c.want)
			}
			for i, st := range s.Stretches {
				if i < len(c.stops) && !errors.Is(st.Stop, c.stops[i]) {
					t.Errorf("stretch %d stops by %v, want %v", i, st.Stop, c.stops[i])
				}
			}
			if s.DataEnd != f.at || s.Unused() {
				t.Errorf("data ends at %d, want %d", s.DataEnd, f.at)
			}
			if want := (Position{f.id.Ordinal, f.at - 24 - markFrame}); s.Claim != want {
				t.Errorf("claims %v, want %v", s.Claim, want)
			}
		})
	}
}

// TestSurveyCopies: no copy of a frame counts, wherever it lies: in a payload of the same segment
// or of another one, at its own offset in another segment, as it was left by the file's earlier
// use.
func TestSurveyCopies(t *testing.T) {
	f := linked().record("one").record("two")
	frames := slices.Clone(f.b[FirstFrame:f.at])
	f.record(string(frames)).record("four")
	damaged := f.at - 24 - Offset(FrameSize(int64(len(frames))))
	f.b[damaged+20] ^= 1 // the payload's first word
	s := survey(t, f)
	if got := found(t, f, s); got != "1:one 2:two | 4:four" {
		t.Errorf("found %s", got)
	}

	other := linked()
	other.id.Salt++
	copy(other.b[FirstFrame:], frames)
	if s := survey(t, other); len(s.Stretches) > 0 || s.HasLink {
		t.Errorf("frames of another segment: %s", found(t, other, s))
	}
}

// TestSurveySeqs: a frame counts after damage only if the records in between can have led to its
// seq.
func TestSurveySeqs(t *testing.T) {
	for _, c := range []struct {
		skip Seq
		want bool
	}{{0, true}, {1, true}, {2, true}, {3, false}} { // 32 bytes are damaged
		f := linked().record("a")
		f.at += 32
		f.seq += c.skip
		f.record("b")
		if got := len(survey(t, f).Stretches) == 2; got != c.want {
			t.Errorf("%d records in 32 bytes: found %v, want %v", c.skip, got, c.want)
		}
	}
	f := linked().record("a").record("b")
	f.at += 8
	f.seq--
	f.record("twice")
	if s := survey(t, f); len(s.Stretches) != 1 {
		t.Errorf("a seq that was there: %s", found(t, f, s))
	}
}

// TestSurveyEnds: what the end of a segment says.
func TestSurveyEnds(t *testing.T) {
	f := linked()
	clear(f.b[FirstFrame:])
	if s := survey(t, f); !s.Unused() || s.HasLink || !errors.Is(s.NoLink, ErrHole) {
		t.Errorf("prepared: %+v", s)
	}
	f.b = append(f.b, make([]byte, pageSize)...)
	f.b[MinSize] = 1
	if s := survey(t, f); s.Unused() || s.DataEnd != MinSize+1 {
		t.Errorf("one byte: %+v", s)
	}
	f.id.Recycled = true
	if s := survey(t, f); !s.Unused() {
		t.Errorf("a byte of an earlier use: %+v", s)
	}
	f.b[FirstFrame+100] = 1
	if s := survey(t, f); s.Unused() {
		t.Errorf("a byte in the first page: %+v", s)
	}

	f = linked().record("a").record("b").seal(2, nil)
	f.b[f.at+100] = 1 // the index is behind the seal
	s := survey(t, f)
	st := s.Stretches[0]
	if s.Seal == nil || st.Stop != nil || st.To != f.at || len(s.Stretches) != 1 {
		t.Errorf("sealed: %+v", s)
	}
	f.b[LinkEnd+16] ^= 1
	if s := survey(t, f); s.Seal == nil || s.Stretches[1].Stop != nil {
		t.Errorf("sealed behind damage: %+v", s)
	}
	f = linked().record("a").seal(2, nil)
	if s := survey(t, f); s.Seal != nil || !errors.Is(s.Stretches[0].Stop, ErrFrame) {
		t.Errorf("a seal with a wrong number of records: %+v", s)
	}

	f = linked().record("a").record("b")
	for limit := FirstFrame; limit <= f.at; limit += 8 {
		s, err := TakeSurvey(bytes.NewReader(f.b), int64(limit), &f.id)
		if err != nil {
			t.Fatal(err)
		}
		want := max(limit-LinkEnd, 0) / 24
		if s.HasLink != (limit >= LinkEnd) || s.HasLink && s.Stretches[0].Next != 1+Seq(want) {
			t.Errorf("up to %d: %+v", limit, s)
		}
	}
}

func TestSurveyNewer(t *testing.T) {
	f := linked().record("a").put(Kind(9), []byte("of the future"))
	_, err := TakeSurvey(bytes.NewReader(f.b), int64(len(f.b)), &f.id)
	if !errors.Is(err, ErrVersion) {
		t.Errorf("a frame of newer software: %v", err)
	}
}

// badPages is a file some of whose pages cannot be read.
type badPages struct {
	b   []byte
	bad map[int64]bool
}

var errDisk = errors.New("input/output error")

func (f badPages) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if f.bad[at/pageSize] {
			return n, errDisk
		}
		if at >= int64(len(f.b)) {
			return n, io.EOF
		}
		n += copy(p[n:], f.b[at:min(int64(len(f.b)), (at/pageSize+1)*pageSize)])
	}
	return n, nil
}

// TestSurveyUnreadable: a page that cannot be read costs the records in it, and no others. Records
// and pages are larger and smaller than what is read at a time.
func TestSurveyUnreadable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f := linked()
		f.b = append(f.b, make([]byte, 1<<20)...)
		f.id.Size = int64(len(f.b))
		type span struct{ from, to Offset }
		var spans []span
		for {
			n := int64(rnd.IntN(3000))
			if rnd.IntN(20) == 0 {
				n = rnd.Int64N(300 << 10)
			}
			if f.at+Offset(FrameSize(n)) > Offset(len(f.b)) {
				break
			}
			from := f.at
			f.record(strings.Repeat("x", int(n)))
			spans = append(spans, span{from, f.at})
		}
		file := badPages{f.b, map[int64]bool{}}
		for range rnd.IntN(4) {
			file.bad[2+rnd.Int64N(int64(len(f.b))/pageSize-2)] = true
		}
		s, err := TakeSurvey(file, int64(len(f.b)), &f.id)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []Seq
		for i := range s.Stretches {
			err := ReadStretch(file, &f.id, &s.Stretches[i], func(r *FileRecord) bool {
				got = append(got, r.Seq)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i, sp := range spans {
			whole := true
			for p := sp.from / pageSize; p <= (sp.to-1)/pageSize; p++ {
				whole = whole && !file.bad[int64(p)]
			}
			if whole {
				want = append(want, Seq(i+1))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("bad pages %v: %d records, want %d of %d", file.bad, len(got), len(want), len(spans))
		}
	}
}

// TestSurveyHostile: bytes that all look like frames cost no more than a few times their number,
// and no more than a bounded number of stretches comes of any bytes.
func TestSurveyHostile(t *testing.T) {
	f := linked()
	f.b = append(f.b, make([]byte, 4<<20)...)
	f.id.Size = int64(len(f.b))
	for at := f.at + 8; at < Offset(len(f.b))-16; at += 16 {
		le.PutUint32(f.b[at:], uint32(Offset(len(f.b))-at)&^7)
		le.PutUint64(f.b[at+8:], 1<<8|uint64(KindRecord))
	}
	file := &countingReader{b: f.b}
	s, err := TakeSurvey(file, int64(len(f.b)), &f.id)
	if err != nil || s.GaveUp == 0 || file.n > 20*int64(len(f.b)) {
		t.Errorf("read %d bytes of %d, gave up at %d, %v", file.n, len(f.b), s.GaveUp, err)
	}

	f = linked()
	f.b = append(f.b, make([]byte, 32*(mostStretches+10))...)
	f.id.Size = int64(len(f.b))
	for f.at < Offset(len(f.b))-32 {
		f.record("")
		f.at += 8
	}
	if s := survey(t, f); len(s.Stretches) != mostStretches || s.GaveUp == 0 {
		t.Errorf("%d stretches, gave up at %d", len(s.Stretches), s.GaveUp)
	}
}

type countingReader struct {
	b []byte
	n int64
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(r.b).ReadAt(p, off)
	r.n += int64(n)
	return n, err
}

// TestReadStretchChanged: what has changed since the survey is an error, never a wrong record.
func TestReadStretchChanged(t *testing.T) {
	f := linked().record("a").record("b")
	st := survey(t, f).Stretches[0]
	for at := LinkEnd; at < f.at; at++ {
		f.b[at] ^= 4
		var got string
		err := ReadStretch(bytes.NewReader(f.b), &f.id, &st, func(r *FileRecord) bool {
			got += string(r.Payload)
			return true
		})
		if err == nil || !strings.HasPrefix("ab", got) {
			t.Errorf("byte %d has changed: %q, %v", at, got, err)
		}
		f.b[at] ^= 4
	}
}

// TestReadLinkAt agrees with a survey.
func TestReadLinkAt(t *testing.T) {
	f := linked().record("a")
	l, err := ReadLinkAt(bytes.NewReader(f.b), int64(len(f.b)), &f.id)
	if err != nil || l != survey(t, f).Link {
		t.Errorf("%+v, %v", l, err)
	}
	for _, size := range []int64{0, 4096, 4100, int64(LinkEnd) - 1} {
		if _, err := ReadLinkAt(bytes.NewReader(f.b[:size]), size, &f.id); err == nil {
			t.Errorf("a link in %d bytes", size)
		}
	}
	f.b[FirstFrame+20] ^= 1
	_, err = ReadLinkAt(bytes.NewReader(f.b), int64(len(f.b)), &f.id)
	if !errors.Is(err, ErrChecksum) {
		t.Errorf("a damaged link: %v", err)
	}
}

// checkSurvey holds a survey of hostile bytes against a scan of them.
func checkSurvey(t *testing.T, b []byte, id *Identity, sc *Scan) {
	t.Helper()
	s, err := TakeSurvey(bytes.NewReader(b), int64(len(b)), id)
	if errors.Is(err, ErrVersion) {
		return // a scan may find that later, or not at all
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.HasLink != sc.HasLink || s.Link != sc.Link {
		t.Fatalf("survey %+v, scan %+v", s, sc)
	}
	if s.HasLink {
		st := s.Stretches[0]
		if st.From != FirstFrame || st.To != sc.StopAt || st.OpenAt == 0 && st.Next != sc.Next ||
			st.OpenAt > 0 && (st.OpenAt != sc.End || st.Open != sc.Next) {
			t.Fatalf("first stretch %+v, scan ends at %d, stops at %d, next %d", st, sc.End, sc.StopAt,
				sc.Next)
		}
	}
	last := Stretch{To: FirstFrame}
	for i := range s.Stretches {
		st := &s.Stretches[i]
		if st.From < last.To || st.To <= st.From || st.Next < st.First || st.First < last.Next ||
			st.To > Offset(len(b)) {
			t.Fatalf("stretch %+v after %+v", st, last)
		}
		next := st.First
		err := ReadStretch(bytes.NewReader(b), id, st, func(r *FileRecord) bool {
			next = r.Seq + 1
			return true
		})
		if err != nil || next != st.Next {
			t.Fatalf("stretch %+v: %v, next %d", st, err, next)
		}
		last = *st
	}
}
