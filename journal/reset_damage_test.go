package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/segment"
)

// TestDamageAfterResetBelow: what JOURNAL says of dropped records is not about segments above what
// it claims. A journal dropped records in front and was reset to a lower seq; the process ended
// before JOURNAL knew; then the new segment was damaged. What precedes the damage is shown.
func TestDamageAfterResetBelow(t *testing.T) {
	broken := errors.New("broken disk")
	d, j := stagedOn(t)
	for i := range 60 {
		mustAppend(t, j, fmt.Appendf(nil, "%0200d", i))
	}
	if err := j.TruncateFront(50); err != nil {
		t.Fatal(err)
	}
	writes := 0
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpWrite && filepath.Base(op.Path) == segment.JournalName {
			if writes++; writes > 2 { // both copies say first which segment is the newest
				return broken
			}
		}
		return nil
	}
	if err := j.Reset(5); err != nil {
		t.Fatal(err)
	}
	if writes != 3 {
		t.Fatalf("JOURNAL was written %d times", writes)
	}
	var want []string
	for i := range 9 {
		want = append(want, fmt.Sprintf("new %0200d", i))
		mustAppend(t, j, []byte(want[i]))
	}
	d = d.Kill()
	damageNewest(t, d, "new "+fmt.Sprintf("%0200d", 6))

	if _, err := journal.OpenReadOnlyFS(d, "j", nil); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
	j, err := journal.OpenReadOnlyFS(d, "j", &journal.Options{ReadDamaged: true})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	var got []string
	for rec, err := range j.Records(0) {
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Error(err)
			}
			break
		}
		got = append(got, string(rec.Payload))
	}
	if len(got) != 6 || j.First() != 5 || got[0] != want[0] || got[5] != want[5] {
		t.Errorf("%d records from %d on, want 6 from 5 on: %.20q", len(got), j.First(), got)
	}
}

// damageNewest flips a bit in the record with that payload in the newest segment.
func damageNewest(t *testing.T, d *simdisk.Disk, payload string) {
	t.Helper()
	segs := parseSegments(d.Files())
	newest := segs[len(segs)-1]
	for len(newest.frames) == 0 { // prepared
		segs = segs[:len(segs)-1]
		newest = segs[len(segs)-1]
	}
	for _, f := range newest.frames {
		if string(f.payload) == payload {
			d.Edit(newest.path, func(b []byte) { b[f.off+20] ^= 1 })
			return
		}
	}
	t.Fatal("the record is not there")
}
