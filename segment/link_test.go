package segment

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestLinkRoundTrip(t *testing.T) {
	for _, l := range []Link{
		startLink(),
		{Base: 1<<56 - 1, Pred: 6, PredSalt: 1, PredEnd: 8192, FirstLive: 5,
			Claim: Position{6, 8192}, Time: time.Unix(0, -5), Reason: ReasonTruncateBack,
			Epoch: 1 << 60, EpochNonce: 1 << 61, EpochStart: 1 << 62},
	} {
		got, ok := decodeLink(append(linkBytes(l), 0xff), l.Base, 7)
		if !ok || !got.Time.Equal(l.Time) {
			t.Errorf("got %+v, %v, want %+v", got, ok, l)
		}
		if got.Time = l.Time; got != l {
			t.Errorf("got %+v, want %+v", got, l)
		}
	}
}

// longLink writes a link whose payload has n bytes, as newer software might.
func (f *frames) longLink(l Link, n int) *frames {
	payload := append(linkBytes(l), bytes.Repeat([]byte{0xee}, 4000)...)
	f.seq = l.Base
	return f.put(KindLink, payload[:n])
}

// TestLinkLengths: a link of newer software may be longer; what it says behind the bytes that are
// known is covered by the checksum, and ignored.
func TestLinkLengths(t *testing.T) {
	want := Link{
		Base: 5, Pred: 6, PredSalt: 1, PredEnd: 8192, FirstLive: 4, Claim: Position{6, 8192},
		Time: testTime, Reason: ReasonRoll,
	}
	for n, good := range map[int]bool{
		0: false, 64: false, 88: false, 95: false, 96: true, 97: true, 104: true, 3496: true,
		3497: false, 3504: false,
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := linked()
			clear(f.b[FirstFrame:])
			f.at = FirstFrame
			f.longLink(want, n)
			end := f.at
			f.record("behind it").mark(Position{7, end})
			sc := scanAll(f.b, &f.id, 0)
			link, ok, err := openBytes(t, f.b, f.id, nil).ReadLink()
			if err != nil || ok != good || sc.HasLink != good {
				t.Fatalf("ReadLink: %v, %v; the scan: %v, %v", ok, err, sc.HasLink, sc.Stop)
			}
			if !good {
				if !errors.Is(sc.Stop, ErrFrame) || sc.End != FirstFrame || sc.LinkEnd != 0 {
					t.Errorf("stopped by %v at %d, behind a link at %d", sc.Stop, sc.End, sc.LinkEnd)
				}
				return
			}
			link.Time = want.Time
			if link != want || sc.Link.Base != want.Base || sc.LinkEnd != end || sc.End != f.at {
				t.Errorf("%+v; the scan: %+v", link, sc)
			}
			longLinkReads(t, f, end)
			for at := FirstFrame; at < end; at++ {
				f.b[at] ^= 0x10
				if sc := scanAll(f.b, &f.id, 0); sc.HasLink {
					t.Fatalf("byte %d of the link can be changed", at-FirstFrame)
				}
				f.b[at] ^= 0x10
			}
		})
	}
}

// longLinkReads reads and goes on in a segment with one record behind a link that ends at end.
func longLinkReads(t *testing.T, f *frames, end Offset) {
	t.Helper()
	for _, limit := range []Offset{end, end + 32, f.at} {
		if sc := scanAll(f.b, &f.id, limit); sc.Stop != nil || sc.End != limit {
			t.Errorf("limit %d: frames end at %d: %v", limit, sc.End, sc.Stop)
		}
	}
	if sc := scanAll(f.b, &f.id, LinkEnd); end > LinkEnd && (sc.HasLink || sc.Stop == nil) {
		t.Errorf("a link that ends at %d ends before a limit of %d", end, LinkEnd)
	}
	s := openBytes(t, bytes.Clone(f.b), f.id, nil)
	sc := scan(t, s, 0)
	s.Adopt(sc)
	if seq, err := s.SeqAt(end); err != nil || seq != 5 {
		t.Errorf("SeqAt(%d) = %d, %v", end, seq, err)
	}
	if got := payloads(t, s); len(got) != 1 || got[0] != "behind it" {
		t.Errorf("records %q", got)
	}
	w := ResumeWriter(s, sc, nil)
	if got, want := int64(w.limit-w.at), s.Size-int64(f.at)-markFrame-sealFrame-32; got != want {
		t.Errorf("room for %d bytes, want %d", got, want)
	}
	for w.Fits(FrameSize(10), false) {
		mustAppend(t, w, "ten bytes.")
	}
	mustMark(t, w, markAt(w))
	mustSeal(t, w)
	sc = scan(t, openBytes(t, s.m.b, s.Identity, nil), 0)
	if sc.Seal == nil || sc.Next != w.Next() || sc.Seal.IndexEnd() > Offset(s.Size) {
		t.Errorf("written full: %+v", sc)
	}
	if err := s.CheckIndex(sc); err != nil {
		t.Error(err)
	}
}

// TestEmptyBehindALongLink: a writer that goes on behind a link is empty, however long that is.
func TestEmptyBehindALongLink(t *testing.T) {
	for _, n := range []int{96, 3496} {
		f := linked()
		clear(f.b[FirstFrame:])
		f.at = FirstFrame
		f.longLink(startLink(), n)
		s := openBytes(t, f.b, f.id, nil)
		w := ResumeWriter(s, scan(t, s, 0), nil)
		if !w.Empty() {
			t.Errorf("%d bytes: not empty", n)
		}
		s.Adopt(scan(t, s, 0))
		if mustAppend(t, w, "x"); w.Empty() {
			t.Errorf("%d bytes: empty with a record", n)
		}
	}
}
