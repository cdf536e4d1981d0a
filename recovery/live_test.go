package recovery

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"mmjournal/segment"
)

// TestLive: with a writer at work a listing may hold moments that do not fit together. What speaks
// against the journal must show twice; what does not is believed at once.
func TestLive(t *testing.T) {
	d := newDir(t)
	d.start().append(5).sync().roll().append(5).sync().mark().roll().append(1).done()
	for _, c := range []struct {
		name   string
		wrong  []uint64 // the segment that is missing from each listing; 0: none
		live   bool
		looks  int
		refuse bool
	}{
		{"nothing wrong", nil, true, 1, false},
		{"wrong once", []uint64{1}, true, 2, false},
		{"wrong once, not live", []uint64{1}, false, 1, true},
		{"wrong twice, in different places", []uint64{1, 2}, true, 3, false},
		{"wrong five times, in different places", []uint64{1, 2, 1, 2, 1}, true, 6, false},
		{"wrong twice, in the same place", []uint64{2, 2}, true, 2, true},
		{"wrong in different places, then in the same", []uint64{1, 2, 2}, true, 3, true},
		{"damaged for ever", slices.Repeat([]uint64{1}, 100), true, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			watch := &watchFS{FS: d.fsys}
			watch.listing = func(list []fs.DirEntry) []fs.DirEntry {
				n++
				if n > len(c.wrong) {
					return list
				}
				return slices.DeleteFunc(list, func(e fs.DirEntry) bool {
					return e.Name() == name(c.wrong[n-1])
				})
			}
			st, err := Scan(watch, testDir, Options{Live: c.live})
			if err != nil {
				t.Fatal(err)
			}
			if n != c.looks || (st.Err != nil) != c.refuse {
				t.Errorf("%d looks, %v; want %d, refused: %v", n, st.Err, c.looks, c.refuse)
			}
			st.Close()
			if watch.handles != 0 || watch.maps != 0 {
				t.Errorf("%d handles, %d mappings left", watch.handles, watch.maps)
			}
		})
	}
	// What a scan sees of a segment that costs no record: its identity is checked at another moment
	// than its name. wrong[i] is done before the i-th scan.
	for _, c := range []struct {
		name    string
		wrong   []func(d *dir)
		verdict Verdict
		scans   int
	}{
		{"damage that costs no record, once", []func(d *dir){
			func(d *dir) { d.flip(2, 40) }, func(d *dir) { d.flip(2, 40) },
		}, Intact, 2},
		{"different damage at the same place", []func(d *dir){
			func(d *dir) { d.flip(2, 40) },
			func(d *dir) { d.flip(2, 40).flip(2, 0) },
			func(d *dir) { d.flip(2, 0) },
		}, Intact, 3},
		{"the same damage twice", []func(d *dir){func(d *dir) { d.flip(2, 40) }}, Damaged, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().done()
			n := 0
			watch := &watchFS{FS: d.fsys}
			watch.hook = func(op, _ string) error {
				if op == "readdir" {
					if n < len(c.wrong) {
						c.wrong[n](d)
					}
					n++
				}
				return nil
			}
			st, err := Scan(watch, testDir, Options{Live: true, Full: true})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if n != c.scans || st.Report.Verdict != c.verdict {
				t.Errorf("%d scans, %v; want %d, %s", n, st.Report, c.scans, c.verdict)
			}
		})
	}
	t.Run("never twice the same", func(t *testing.T) {
		n := uint64(0)
		watch := &watchFS{FS: d.fsys}
		watch.listing = func(list []fs.DirEntry) []fs.DirEntry {
			n++
			return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Name() == name(1+n%2) })
		}
		st, err := Scan(watch, testDir, Options{Live: true})
		if !errors.Is(err, ErrMoving) || errors.Is(err, segment.ErrCorrupt) || st != nil {
			t.Errorf("%v, %v", st, err)
		}
		if watch.handles != 0 || watch.maps != 0 {
			t.Errorf("%d handles, %d mappings left", watch.handles, watch.maps)
		}
	})
	t.Run("a segment that is removed between listing and opening", func(t *testing.T) {
		gone := true
		watch := &watchFS{FS: d.fsys}
		watch.hook = func(op, what string) error {
			if op == "open" && what == name(1) && gone {
				gone = false
				return &fs.PathError{Op: op, Path: what, Err: fs.ErrNotExist}
			}
			return nil
		}
		st, err := Scan(watch, testDir, Options{Live: true})
		if err != nil || st.Err != nil || st.Next != 12 {
			t.Fatalf("%v, %+v", err, st)
		}
		st.Close()
	})
}
