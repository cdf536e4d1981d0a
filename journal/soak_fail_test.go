package journal_test

import (
	"slices"
	"strings"
	"testing"

	"mmjournal/journal"
)

// soakRecord is the n-th record of an author.
type soakRecord struct {
	author
	n uint64
}

// soakStory is what the checks must believe: two lives, a batch in each. Its seqs begin with 1.
func soakStory() []soakRecord {
	a0, b0, a1, b1 := author{0, 0}, author{0, 5}, author{1, 0}, author{1, 5}
	return []soakRecord{{a0, 0}, {b0, 0}, {b0, 1}, {a0, 1}, {a1, 0}, {b1, 0}, {b1, 1}, {a1, 1}}
}

// TestSoakCanFail: what the soak test promises to find, it finds, where one thing is wrong with the
// journal, or with what was reported.
func TestSoakCanFail(t *testing.T) {
	for _, c := range []struct {
		name string
		want string // in the error; empty: there is none
		do   func(s *soakFiction)
	}{
		{"nothing", "", func(*soakFiction) {}},
		{"an append without a report", "", func(s *soakFiction) { s.add(soakRecord{author{1, 1}, 0}) }},
		{"two of them", "reported 0", func(s *soakFiction) {
			s.add(soakRecord{author{1, 1}, 0}, soakRecord{author{1, 1}, 1})
		}},
		{"the last record is lost", "is missing", func(s *soakFiction) { s.records = s.records[:7] }},
		{"all are lost", "is missing", func(s *soakFiction) { s.records = nil }},
		{"another record in a place", "want 1", func(s *soakFiction) { s.records[3].n = 7 }},
		{"a record is there twice", "want 2", func(s *soakFiction) { s.add(s.records[7]) }},
		{"the first record is missing", "missing", func(s *soakFiction) {
			s.records = slices.Delete(s.records, 0, 1)
		}},
		{"the first record of a life is missing", "missing", func(s *soakFiction) {
			s.records[4] = soakRecord{author{1, 1}, 1}
		}},
		{"an earlier life comes back", "is of life 0", func(s *soakFiction) {
			s.add(soakRecord{author{0, 1}, 0})
		}},
		{"a life that was not yet", "reported 0", func(s *soakFiction) {
			s.add(soakRecord{author{2, 0}, 0})
		}},
		{"a batch ends half-way", "within a batch", func(s *soakFiction) {
			s.add(soakRecord{author{1, 6}, 0}, soakRecord{author{1, 6}, 1})
		}},
		{"a batch is interrupted", "half of a batch", func(s *soakFiction) {
			s.records[2], s.records[3] = s.records[3], s.records[2]
		}},
		{"one bit of a record", "damaged", func(s *soakFiction) {
			s.harm = func(b []byte) { b[30] ^= 4 }
		}},
		{"the record of another seed", "nobody has appended", func(s *soakFiction) { s.writes++ }},
		{"retention has said so", "", func(s *soakFiction) { s.book.truncated(4); s.first = 4 }},
		{"retention was about to", "", func(s *soakFiction) { s.book.begun, s.first = 4, 4 }},
		{"retention drops one too many", "retention", func(s *soakFiction) {
			s.book.truncated(3)
			s.first = 4
		}},
		{"retention is forgotten", "retention", func(s *soakFiction) { s.book.truncated(3) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newSoakFiction(t, c.do).tell(t)
			if c.want == "" && err != nil || c.want != "" &&
				(err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// soakFiction is a journal, and a book that fits unless something was changed.
type soakFiction struct {
	records []soakRecord
	writes  uint64       // the seed that the records are made with
	harm    func([]byte) // done to the fourth record
	first   journal.Seq
	book    *soakBook
}

// newSoakFiction returns the story and its book, changed.
func newSoakFiction(t *testing.T, change func(*soakFiction)) *soakFiction {
	t.Helper()
	s := &soakFiction{records: soakStory(), writes: 9, first: 1, book: newSoakBook(9)}
	for i, rec := range s.records {
		s.book.life = rec.life
		b := soakPayload(s.writes, rec.author, rec.n)
		r := report{acknowledged, rec.author, rec.n, journal.Seq(i + 1), payloadSum(b)}
		if err := s.book.note(r); err != nil {
			t.Fatal(err)
		}
	}
	change(s)
	return s
}

func (s *soakFiction) add(records ...soakRecord) { s.records = append(s.records, records...) }

// tell writes the journal and holds it against the book.
func (s *soakFiction) tell(t *testing.T) error {
	t.Helper()
	j, err := journal.OpenMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	for i, rec := range s.records {
		b := soakPayload(s.writes, rec.author, rec.n)
		if s.harm != nil && i == 3 {
			s.harm(b)
		}
		mustAppend(t, j, b)
	}
	if s.first > 1 {
		if err := j.TruncateFront(s.first); err != nil {
			t.Fatal(err)
		}
	}
	return s.book.check(j)
}

// TestSoakReports: reports that contradict each other are noticed.
func TestSoakReports(t *testing.T) {
	who := author{1, 0}
	for name, r := range map[string]report{
		"another record":            {seen, who, 1, 5, 77},
		"acknowledged twice":        {acknowledged, who, 1, 9, 1},
		"acknowledged out of order": {acknowledged, who, 3, 9, 1},
		"acknowledged too late":     {acknowledged, author{0, 0}, 2, 9, 1},
		"of a life to come":         {followed, author{2, 0}, 0, 9, 1},
		"Open shows fewer":          {opened, author{}, 1, 7, 0},
		"Open shows more in front":  {opened, author{}, 0, 8, 0},
	} {
		s := newSoakFiction(t, func(s *soakFiction) { s.book.last = 8 })
		if err := s.book.note(r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := newSoakFiction(t, func(s *soakFiction) { s.book.last = 8 })
	if err := s.book.note(report{opened, author{}, 1, 8, 0}); err != nil {
		t.Error(err)
	}
}
