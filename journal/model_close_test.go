package journal_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/recovery"
)

// TestModelClose: what a Close that returned nil leaves, a power cut leaves too: every record, and
// an end that Open knows for a clean one. That is so whatever Append promises.
func TestModelClose(t *testing.T) {
	modelSetup(t)
	all := slices.Concat([]string{"s: ", "s: tb0", "p: a0", "p: a9 k"}, scripts, errorScripts,
		largeScripts)
	for seed := range uint64(200) {
		all = append(all, "s: "+randomScript(newRand(seed), 3+int(seed%10)))
	}
	states, clean := 0, 0
	for i, text := range all {
		for _, d := range []journal.Durability{journal.Synced, journal.Published, journal.Interval} {
			seed := uint64(i)
			if slices.Contains(largeScripts, text) {
				seed |= seedLarge
			}
			w := newWalk(text, seed, 0, simdisk.Options{Torn: i%2 == 0})
			w.durability = d
			if slices.Contains(errorScripts, text) {
				w.segment = 12 << 10
			}
			n, end, err := w.closeAndCut()
			if err != nil {
				t.Errorf("%v: %s: %v", d, w.text, err)
			}
			states += n
			if end == recovery.EndClean {
				clean++
			}
		}
	}
	if clean < 3*len(all)*2/3 {
		t.Errorf("%d of %d scripts end cleanly", clean, 3*len(all))
	}
	t.Logf("%d scripts, %d of them end cleanly, %d states", 3*len(all), clean, states)
}

// closeAndCut runs the script, closes, and opens what power cuts leave then. It returns how many,
// and the end that all of them have to find.
func (w *walk) closeAndCut() (states int, end recovery.End, err error) {
	l := w.first(nil)
	l.hook()
	if err := l.open(); err != nil {
		return 0, "", err
	}
	before := written(l.d)
	for _, s := range parseScript(w.text) {
		if err := l.do(s); err != nil {
			return 0, "", fmt.Errorf("step %+v: %w", s, err)
		}
		if s.op == "c" || s.op == "k" {
			before = written(l.d)
		}
	}
	end = recovery.EndClean
	if !wrote(before, written(l.d)) { // who writes nothing leaves the end as it was
		end = l.j.Report().End
	}
	if err := l.close(); err != nil {
		return 0, end, err
	}
	p := l.d.Pending()
	for c := range p.Choices(32, w.seed) {
		states++
		if err := l.isClosed(p.Crash(c), end); err != nil {
			return states, end, fmt.Errorf("a power cut that leaves %v: %w", c, err)
		}
	}
	return states, end, nil
}

// wrote reports whether there is a segment that was not there before, or has other bytes.
func wrote(before, after map[string][]byte) bool {
	for name, b := range after {
		if strings.HasSuffix(name, ".seg") && !bytes.Equal(before[name], b) {
			return true
		}
	}
	return false
}

// isClosed opens what a power cut after Close has left.
func (l *life) isClosed(d *simdisk.Disk, end recovery.End) error {
	j, err := journal.OpenFS(d, modelDir, l.options())
	if err != nil {
		return err
	}
	defer j.Close()
	got, err := readAll(j)
	if err != nil {
		return err
	}
	if want := l.or.now(); !got.equal(want) {
		return fmt.Errorf("I1: holds %v, want %v", got, want)
	}
	if r := j.Report(); r.End != end || r.Tail != nil {
		return fmt.Errorf("the end is %q, want %q; the tail %+v", r.End, end, r.Tail)
	}
	return nil
}
