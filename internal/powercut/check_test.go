package powercut

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// rec is record n of writer 0 in a life; recs are several from 0 on.
func rec(life, n int) ID { return ID{Life: life, N: n, Of: 1} }

func recs(life, n int) (ids []ID) {
	for i := range n {
		ids = append(ids, rec(life, i))
	}
	return ids
}

// marks of a life in which three records were acknowledged, one published and one begun.
func someMarks() []Mark {
	return []Mark{
		{Kind: Opened, First: 1},
		{Kind: Append, Op: 1, IDs: recs(1, 2)[:1]}, {Kind: Acked, Op: 1, Seq: 1},
		{Kind: Append, Op: 2, IDs: []ID{rec(1, 1)}}, {Kind: Acked, Op: 2, Seq: 2},
		{Kind: Append, Op: 3, IDs: []ID{rec(1, 2)}}, {Kind: Acked, Op: 3, Seq: 3},
		{Kind: Append, Op: 4, IDs: []ID{rec(1, 3)}}, {Kind: Returned, Op: 4, Seq: 4},
		{Kind: Append, Op: 5, IDs: []ID{rec(1, 4)}},
	}
}

func TestModel(t *testing.T) {
	batch := []ID{{1, 1, 0, 0, 2}, {1, 1, 1, 1, 2}}
	for _, c := range []struct {
		name  string
		more  []Mark
		first uint64
		shown []ID
		want  string // prefix of the error
	}{
		{"acknowledged only", nil, 1, recs(1, 3), ""},
		{"published", nil, 1, recs(1, 4), ""},
		{"begun", nil, 1, recs(1, 5), ""},
		{"lost", nil, 1, recs(1, 2), "I1"},
		{"never begun", nil, 1, recs(1, 6), "I3"},
		{"other at an acknowledged seq", nil, 1, []ID{rec(1, 0), rec(1, 2), rec(1, 1)}, "I1"},
		{"other at a published seq", nil, 1, append(recs(1, 3), rec(1, 4)), "I2"},
		{"twice", nil, 1, append(recs(1, 5), rec(1, 4)), "I3"},
		{"front gone", nil, 2, recs(1, 3)[1:], "I6"},
		{"made durable", []Mark{{Kind: Durable, Seq: 4}}, 1, recs(1, 3), "I1"},
		{"front: before", []Mark{{Kind: Front, Seq: 3}}, 1, recs(1, 3), ""},
		{"front: after", []Mark{{Kind: Front, Seq: 3}}, 3, recs(1, 3)[2:], ""},
		{"front: between", []Mark{{Kind: Front, Seq: 3}}, 2, recs(1, 3)[1:], "I6"},
		{"front: undone", []Mark{{Kind: Front, Seq: 3}, {Kind: Fronted, Seq: 3}}, 1, recs(1, 3), "I6"},
		{"back: before", []Mark{{Kind: Back, Seq: 1}}, 1, recs(1, 4), ""},
		{"back: after", []Mark{{Kind: Back, Seq: 1}}, 1, recs(1, 1), ""},
		{"back: between", []Mark{{Kind: Back, Seq: 1}}, 1, recs(1, 2), "I1"},
		{"back: undone", []Mark{{Kind: Back, Seq: 1}, {Kind: Backed, Seq: 1}}, 1, recs(1, 2), "I3"},
		{"reset: after", []Mark{{Kind: Reset, Seq: 9}}, 9, nil, ""},
		{"reset: undone", []Mark{{Kind: Reset, Seq: 9}, {Kind: WasReset, Seq: 9}}, 1, recs(1, 3), "I6"},
		{"failed for good", []Mark{{Kind: Failed, Op: 5, Sticky: true}}, 1, recs(1, 5), ""},
		{"refused", []Mark{{Kind: Failed, Op: 5}}, 1, recs(1, 5), "I3"},
		{"half a batch", []Mark{{Kind: Append, Op: 6, IDs: batch}}, 1,
			append(recs(1, 4), batch[0]), "I4"},
		{"a batch", []Mark{{Kind: Append, Op: 6, IDs: batch}}, 1,
			append(recs(1, 4), batch...), ""},
		{"shown and lost", []Mark{{Kind: Opened, First: 1, IDs: recs(1, 5)}}, 1, recs(1, 4), "I1"},
		{"dead", []Mark{{Kind: Opened, First: 1, IDs: recs(1, 3)}}, 1, recs(1, 4), "I3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log []Entry
			for _, m := range append(someMarks(), c.more...) {
				log = append(log, Entry{Kind: MarkEntry, Mark: &m})
			}
			m, err := newModel().replay(log)
			if err != nil {
				t.Fatal(err)
			}
			err = m.check(c.first, c.shown)
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// filled returns n bytes of a letter.
func filled(letter byte, n int) []byte { return []byte(strings.Repeat(string(letter), n)) }

// TestCrash: what was flushed is there, of the rest each sector is old or one of its versions, and
// all of these occur.
func TestCrash(t *testing.T) {
	k := &Kind{whole: []int64{2 * blockSize}}
	base := &Image{size: 3 * blockSize, blocks: map[int64]*block{}}
	log := []Entry{
		{Kind: WriteEntry, Offset: 0, Data: filled('a', 2*blockSize)},
		{Kind: FlushEntry},
		{Kind: WriteEntry, Offset: blockSize - sectorSize, Data: filled('b', 2*sectorSize)},
		{Kind: WriteEntry, Offset: blockSize, Data: filled('c', sectorSize)},
		{Kind: WriteEntry, Offset: 2*blockSize + 1024, Data: filled('d', 1024)},
		{Kind: WriteEntry, Offset: 0, Data: filled('x', blockSize)}, // after the cut
	}
	seen := map[string]bool{}
	for seed := range uint64(500) {
		img, pending := crash(base, log, 5, k, anySubset, rand.New(rand.NewPCG(seed, 0)))
		if pending != 3 {
			t.Fatalf("%d writes pending, want 3", pending)
		}
		e := edit(img)
		whole := append(filled('a', blockSize-sectorSize), e.read(blockSize-sectorSize, sectorSize)...)
		if !slices.Equal(e.read(0, blockSize), whole) {
			t.Fatalf("seed %d: flushed bytes are gone, or unwritten ones are there", seed)
		}
		key := ""
		for _, at := range []int64{blockSize - 1, blockSize, 2*blockSize + 1024, 2*blockSize + 2047} {
			key += string(e.read(at, 1))
		}
		seen[strings.ReplaceAll(key, "\x00", "-")] = true
	}
	for first := range strings.SplitSeq("a b", " ") {
		for second := range strings.SplitSeq("a b c", " ") {
			for super := range strings.SplitSeq("-- dd", " ") {
				if key := first + second + super; !seen[key] {
					t.Errorf("%q never occurs", key)
				}
			}
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d states occur, want 12: %v", len(seen), seen)
	}
}
