package journal_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// stubbornFS removes what it is asked to, but for one file.
type stubbornFS struct {
	segment.FS
	stays   string
	removed *[]string
}

func (f stubbornFS) Remove(path string) error {
	name := filepath.Base(path)
	if name == f.stays {
		return fs.ErrPermission
	}
	*f.removed = append(*f.removed, name)
	return f.FS.Remove(path)
}

// TestReadyRemoved: Close removes the segments that are ready from the highest down, and up to the
// first that stays: a gap would be taken for a lost segment.
func TestReadyRemoved(t *testing.T) {
	name := segment.FileName
	for _, c := range []struct {
		stays string
		want  []string
	}{
		{"", []string{name(3), name(2)}},
		{name(2), []string{name(3)}},
		{name(3), nil},
	} {
		t.Run("stays: "+c.stays, func(t *testing.T) {
			var removed []string
			fsys := stubbornFS{segment.NewHeapFS(), c.stays, &removed}
			j, err := journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Append([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := journal.Prepare(j, 2); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); errors.Is(err, fs.ErrPermission) != (c.stays != "") {
				t.Error(err)
			}
			removed = slices.DeleteFunc(removed, func(n string) bool { return filepath.Ext(n) != ".seg" })
			if !slices.Equal(removed, c.want) {
				t.Errorf("removed %q, want %q", removed, c.want)
			}
			fsys.stays = ""
			j, err = journal.OpenFS(fsys, "/j", &journal.Options{SegmentSize: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if last := j.Last(); last != 1 {
				t.Errorf("%d records instead of 1", last)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
