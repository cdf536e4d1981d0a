package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
	"mmjournal/recovery"
)

// smallSegments are the least that the public interface allows.
var smallSegments = &journal.Options{SegmentSize: journal.MinSegmentSize}

var levels = []journal.Durability{journal.Synced, journal.Published, journal.Interval}

func mustOpen(t testing.TB, dir string, o *journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func mustClose(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t testing.TB, j *journal.Journal, payload []byte) journal.Seq {
	t.Helper()
	seq, err := j.Append(payload)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// collect returns what Records yields.
func collect(t testing.TB, j *journal.Journal, from journal.Seq) (payloads []string) {
	t.Helper()
	want := max(from, j.First())
	for rec, err := range j.Records(from) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Seq != want {
			t.Fatalf("Records yields seq %d instead of %d", rec.Seq, want)
		}
		payloads = append(payloads, string(rec.Payload))
		want++
	}
	return payloads
}

func expect(t testing.TB, j *journal.Journal, first journal.Seq, want ...string) {
	t.Helper()
	if got := collect(t, j, 0); !slices.Equal(got, want) || j.First() != first ||
		j.Last() != first+journal.Seq(len(want))-1 {
		t.Fatalf("First %d Last %d, records %q; want First %d, records %q",
			j.First(), j.Last(), got, first, want)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published, journal.Interval} {
		t.Run(d.String(), func(t *testing.T) {
			dir := t.TempDir() + "/new/journal"
			o := journal.Applicable(journal.Options{
				SegmentSize: journal.MinSegmentSize, Durability: d, SyncInterval: time.Millisecond,
			})
			j := mustOpen(t, dir, o)
			r := rand.New(rand.NewPCG(1, uint64(d)))
			var want []string
			for i := range 200 {
				p := make([]byte, r.IntN(3000))
				for k := range p {
					p[k] = byte(r.Uint32())
				}
				if i%10 == 0 {
					p = nil
				}
				if seq := mustAppend(t, j, p); seq != journal.Seq(i+1) {
					t.Fatalf("Append returns seq %d instead of %d", seq, i+1)
				}
				if d == journal.Synced && j.Durable() != journal.Seq(i+1) {
					t.Fatalf("Durable is %d after Append of %d", j.Durable(), i+1)
				}
				want = append(want, string(p))
			}
			expect(t, j, 1, want...)
			if err := j.Sync(t.Context()); err != nil || j.Durable() != 200 {
				t.Fatalf("Sync: %v, Durable %d", err, j.Durable())
			}
			if s := j.Stats(); s.Segments < 4 || s.Rolls == 0 || s.Syncs == 0 {
				t.Errorf("Stats after several segments: %+v", s)
			}
			mustClose(t, j)

			j = mustOpen(t, dir, o)
			if r := j.Report(); r.End != recovery.EndClean || !r.Verdict.Sound() {
				t.Errorf("after Close: %v", r)
			}
			expect(t, j, 1, want...)
			var buf []byte
			for i := range want {
				got, err := j.Read(journal.Seq(i+1), buf)
				if err != nil || string(got) != want[i] {
					t.Fatalf("Read(%d): %v", i+1, err)
				}
				buf = got
				err = j.View(journal.Seq(i+1), func(p []byte) error {
					if string(p) != want[i] {
						return errors.New("other bytes")
					}
					return nil
				})
				if err != nil {
					t.Fatalf("View(%d): %v", i+1, err)
				}
			}
		})
	}
}

func TestBatch(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	if seq, err := j.AppendBatch(nil); seq != 0 || err != nil {
		t.Errorf("empty batch: %d, %v", seq, err)
	}
	for i, b := range [][]string{{"a", "", "c"}, {"d"}, {"", ""}} {
		var payloads [][]byte
		for _, s := range b {
			payloads = append(payloads, []byte(s))
		}
		first, err := j.AppendBatch(payloads)
		if want := journal.Seq([]int{1, 4, 5}[i]); err != nil || first != want {
			t.Errorf("batch %d: first %d, %v", i, first, err)
		}
	}
	expect(t, j, 1, "a", "", "c", "d", "", "")
}

func TestAppendFunc(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	fill := func(text string) func([]byte) error {
		return func(dst []byte) error {
			if len(bytes.Trim(dst, "\x00")) > 0 || len(dst) != cap(dst) {
				t.Errorf("dst is %q, capacity %d", dst, cap(dst))
			}
			copy(dst, text)
			return nil
		}
	}
	if seq, err := j.AppendFunc(5, fill("first")); seq != 1 || err != nil {
		t.Errorf("AppendFunc: %d, %v", seq, err)
	}
	refusal := errors.New("refused")
	_, err := j.AppendFunc(100, func(dst []byte) error {
		copy(dst, bytes.Repeat([]byte("x"), 100))
		return refusal
	})
	if err != refusal {
		t.Errorf("AppendFunc returns %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
		}()
		j.AppendFunc(50, func(dst []byte) error { dst[0] = 1; panic("mine") })
	}()
	if seq, err := j.AppendFunc(99, fill("second")); seq != 2 || err != nil {
		t.Errorf("AppendFunc: %d, %v", seq, err)
	}
	if _, err := j.AppendFunc(-1, fill("")); !errors.Is(err, journal.ErrOptions) {
		t.Errorf("negative size: %v", err)
	}
	expect(t, j, 1, "first", "second"+string(make([]byte, 93)))
}

func TestLimits(t *testing.T) {
	const size = journal.MinSegmentSize
	j := mustOpen(t, t.TempDir(), &journal.Options{
		SegmentSize: size, Durability: journal.Published,
	})
	most := int(journal.MaxRecord(size))
	for i := range 3 { // each in a segment of its own, with whatever marks
		p := bytes.Repeat([]byte{byte(i + 1)}, most)
		mustAppend(t, j, p)
		if err := j.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := j.Read(j.Last(), nil); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("Read of the largest record: %v", err)
		}
	}
	half := most/2 - 8
	for half%8 != 0 {
		half--
	}
	full := [][]byte{make([]byte, half), make([]byte, most-half-16)}
	over := [][]byte{make([]byte, half), make([]byte, most-half)}
	if journal.FrameSize(len(full[0]))+journal.FrameSize(len(full[1])) != journal.MaxBatch(size) {
		t.Fatal("the batch is not exactly full")
	}
	if _, err := j.AppendBatch(full); err != nil {
		t.Errorf("a full batch: %v", err)
	}
	last := j.Last()
	huge := func(dst []byte) error { return nil }
	for name, err := range map[string]error{
		"record": second(j.Append(make([]byte, most+1))),
		"func":   second(j.AppendFunc(most+1, huge)),
		"batch":  second(j.AppendBatch(over)),
	} {
		if !errors.Is(err, journal.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.Last() != last {
		t.Error("something was appended all the same")
	}
	mustAppend(t, j, []byte("still works"))
}

func second[T any](_ T, err error) error { return err }

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]*journal.Options{
		"tiny segments":    {SegmentSize: journal.MinSegmentSize - 1},
		"huge segments":    {SegmentSize: journal.MaxSegmentSize + 1},
		"negative":         {SegmentSize: -1},
		"durability":       {Durability: 7},
		"negative seconds": {SyncInterval: -1},
	} {
		dir := t.TempDir() + "/j"
		for text, open := range map[string]func() (*journal.Journal, error){
			"open journal: " + dir: func() (*journal.Journal, error) { return journal.Open(dir, o) },
			"open journal for reading: " + dir: func() (*journal.Journal, error) {
				return journal.OpenReadOnly(dir, o)
			},
			"open journal: memory": func() (*journal.Journal, error) { return journal.OpenMemory(o) },
		} {
			_, err := open()
			if !errors.Is(err, journal.ErrOptions) || !strings.HasPrefix(err.Error(), text+": ") {
				t.Errorf("%s: %v, want %s", name, err, text)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was created", name)
		}
	}
	o := journal.Options{SegmentSize: journal.MinSegmentSize + 1}
	j := mustOpen(t, t.TempDir(), &o)
	mustAppend(t, j, nil)
	if o.SegmentSize != journal.MinSegmentSize+1 || o.Logger != nil {
		t.Error("the caller's options were changed")
	}
	if got := j.Stats().SizeBytes; got != journal.MinSegmentSize+4096 {
		t.Errorf("SegmentSize is not rounded up to a page: %d", got)
	}
}

// Other options never touch what is there, and apply to what comes.
func TestReopenWithOtherOptions(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i, size := range []int64{1 << 20, 64 << 10, 256 << 10, 64 << 10} {
		j := mustOpen(t, dir, &journal.Options{
			SegmentSize: size, Durability: journal.Durability(i % 3),
		})
		for k := range 150 {
			p := fmt.Sprintf("life %d record %d %0*d", i, k, 5000, k)
			mustAppend(t, j, []byte(p))
			want = append(want, p)
		}
		expect(t, j, 1, want...)
		mustClose(t, j)
	}
	r, err := recovery.Inspect(dir, true)
	if err != nil || r.Verdict != recovery.Intact {
		t.Fatalf("%v %v", r, err)
	}
	sizes := map[int64]bool{}
	for _, s := range r.Segments {
		sizes[s.Size] = true
	}
	if len(sizes) < 2 {
		t.Errorf("segment sizes: %v", sizes)
	}
}

func TestReadOutOfRange(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	nothing := func([]byte) error { t.Error("called"); return nil }
	check := func(seq journal.Seq) {
		t.Helper()
		if _, err := j.Read(seq, nil); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("Read(%d): %v", seq, err)
		}
		if err := j.View(seq, nothing); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("View(%d): %v", seq, err)
		}
	}
	check(0)
	check(1)
	for i := range 5 {
		mustAppend(t, j, []byte{byte(i)})
	}
	if err := j.TruncateFront(3); err != nil {
		t.Fatal(err)
	}
	check(2)
	check(6)
	if n := len(collect(t, j, 6)); n != 0 {
		t.Errorf("Records(Last+1) yields %d", n)
	}
	for _, from := range []journal.Seq{2, 7} {
		n := 0
		for _, err := range j.Records(from) {
			if n++; !errors.Is(err, journal.ErrNotFound) {
				t.Errorf("Records(%d): %v", from, err)
			}
		}
		if n != 1 {
			t.Errorf("Records(%d) yields %d times", from, n)
		}
	}
}

func TestTruncate(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	text := func(i int) string { return fmt.Sprintf("%d %0*d", i, 10_000, i) }
	var want []string
	for i := range 30 {
		mustAppend(t, j, []byte(text(i+1)))
		want = append(want, text(i+1))
	}
	reopen := func() {
		t.Helper()
		mustClose(t, j)
		j = mustOpen(t, dir, smallSegments)
	}
	step := func(err error, first journal.Seq) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		expect(t, j, first, want...)
		reopen()
		expect(t, j, first, want...)
	}
	want = want[9:]
	step(j.TruncateFront(10), 10)
	if s := j.Stats(); s.Segments > 5 {
		t.Errorf("segments are not removed: %+v", s)
	}
	want = want[:5]
	step(j.TruncateBack(14), 10)
	want = append(want, "new")
	mustAppend(t, j, []byte("new"))
	step(nil, 10)
	for _, err := range []error{
		j.TruncateFront(9), j.TruncateFront(17), j.TruncateBack(8), j.TruncateBack(16),
	} {
		if !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("truncation out of range: %v", err)
		}
	}
	want = nil
	step(j.TruncateBack(9), 10)
	step(j.TruncateFront(10), 10)
	mustAppend(t, j, []byte("x"))
	step(j.TruncateFront(11), 11)
	step(j.Reset(1000), 1000)
	step(j.Reset(5), 5)
	for _, next := range []journal.Seq{0, 1<<55 + 1} {
		if err := j.Reset(next); !errors.Is(err, journal.ErrOptions) {
			t.Errorf("Reset(%d): %v", next, err)
		}
	}
	mustAppend(t, j, []byte("five"))
	want = []string{"five"}
	step(nil, 5)
	r, err := recovery.Inspect(dir, true)
	if err != nil || r.Verdict != recovery.Intact || len(r.Segments) != 1 {
		t.Errorf("%v %v", r, err)
	}
}

// A batch can be cut in the middle by hand, and only by hand.
func TestTruncateInsideBatch(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	if _, err := j.AppendBatch([][]byte{[]byte("a"), []byte("b"), []byte("c")}); err != nil {
		t.Fatal(err)
	}
	if err := j.TruncateBack(2); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, []byte("d"))
	mustClose(t, j)
	expect(t, mustOpen(t, dir, &journal.Options{VerifyOnOpen: true}), 1, "a", "b", "d")
}

func TestClosed(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
	ctx := context.Background()
	for name, err := range map[string]error{
		"Append":        second(j.Append(nil)),
		"AppendBatch":   second(j.AppendBatch([][]byte{nil})),
		"no batch":      second(j.AppendBatch(nil)),
		"AppendFunc":    second(j.AppendFunc(0, func([]byte) error { return nil })),
		"Sync":          j.Sync(ctx),
		"Read":          func() error { _, err := j.Read(1, nil); return err }(),
		"View":          j.View(1, func([]byte) error { return nil }),
		"TruncateFront": j.TruncateFront(1),
		"TruncateBack":  j.TruncateBack(1),
		"Reset":         j.Reset(1),
		"Close":         j.Close(),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if err := j.WaitDurable(ctx, 1); err != nil {
		t.Errorf("WaitDurable of a durable record: %v", err)
	}
	for _, err := range j.Records(0) {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Records after Close: %v", err)
		}
	}
}

// An iteration that is under way when the journal is closed gets an error, and no fault.
func TestCloseDuringIteration(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	for range 100 {
		mustAppend(t, j, make([]byte, 2000))
	}
	n := 0
	for rec, err := range j.Records(0) {
		if err != nil {
			if !errors.Is(err, journal.ErrClosed) {
				t.Error(err)
			}
			break
		}
		if n++; n == 10 {
			mustClose(t, j)
		}
		if len(rec.Payload) != 2000 {
			t.Error("payload is gone")
		}
	}
	if n == 100 {
		t.Error("the iteration never noticed")
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := journal.OpenReadOnly(dir, nil); !errors.Is(err, journal.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	w := mustOpen(t, dir, smallSegments)
	mustAppend(t, w, []byte("one"))
	r, err := journal.OpenReadOnly(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	mustAppend(t, w, []byte("two"))
	expect(t, r, 1, "one")
	for name, err := range map[string]error{
		"Append":        second(r.Append(nil)),
		"AppendBatch":   second(r.AppendBatch([][]byte{nil})),
		"AppendFunc":    second(r.AppendFunc(0, nil)),
		"Sync":          r.Sync(t.Context()),
		"TruncateFront": r.TruncateFront(1),
		"TruncateBack":  r.TruncateBack(1),
		"Reset":         r.Reset(1),
	} {
		if !errors.Is(err, journal.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.TruncateFront(3); err != nil {
		t.Fatal(err)
	}
	expect(t, r, 1, "one") // what the writer drops stays readable
}

func TestWaitDurable(t *testing.T) {
	j := mustOpen(t, t.TempDir(), &journal.Options{Durability: journal.Published})
	mustAppend(t, j, []byte("x"))
	if err := j.WaitDurable(t.Context(), 2); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("a record that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.WaitDurable(ctx, 1); !errors.Is(err, context.Canceled) || j.Durable() != 0 {
		t.Errorf("cancelled: %v, durable %d", err, j.Durable())
	}
	if err := j.WaitDurable(t.Context(), 1); err != nil || j.Durable() != 1 {
		t.Errorf("%v, durable %d", err, j.Durable())
	}
}

// Interval makes records durable without anybody asking.
func TestInterval(t *testing.T) {
	j := mustOpen(t, t.TempDir(), &journal.Options{
		Durability: journal.Interval, SyncInterval: time.Millisecond,
	})
	seq := mustAppend(t, j, []byte("x"))
	wait.Until(t, "it is durable", func() bool { return j.Durable() >= seq })
}

// The hot paths allocate nothing, durable or not.
func TestAllocations(t *testing.T) {
	for _, d := range []journal.Durability{journal.Published, journal.Synced} {
		t.Run(d.String(), func(t *testing.T) {
			j := mustOpen(t, t.TempDir(), &journal.Options{Durability: d})
			p := make([]byte, 128)
			mustAppend(t, j, p)
			var buf []byte
			encode := func(dst []byte) error { copy(dst, p); return nil }
			batch := [][]byte{p, p, p}
			look := func(p []byte) error { return nil }
			for name, f := range map[string]func(){
				"Append":      func() { j.Append(p) },
				"AppendFunc":  func() { j.AppendFunc(128, encode) },
				"AppendBatch": func() { j.AppendBatch(batch) },
				"Read":        func() { buf, _ = j.Read(1, buf) },
				"View":        func() { j.View(1, look) },
			} {
				most := 0.0
				if d == journal.Synced && strings.HasPrefix(name, "Append") {
					most = 3 // of the sync, which checks the directory: paths and results
				}
				if n := testing.AllocsPerRun(500, f); n > most {
					t.Errorf("%s allocates %v times", name, n)
				}
			}
		})
	}
}

// A journal that is closed holds nothing any more, whatever it did.
func TestNoLeaks(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	disk := simdisk.New(simdisk.Options{})
	if err := disk.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192})
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			mustAppend(t, j, make([]byte, 500))
		}
		collect(t, j, 0)
		err = errors.Join(j.TruncateFront(j.Last()-10), j.TruncateBack(j.Last()-3))
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, j)
		if handles, mappings := disk.Leaks(); handles != 0 || mappings != 0 {
			t.Fatalf("%d handles and %d mappings are left", handles, mappings)
		}
	}
}
