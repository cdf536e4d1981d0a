package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// fileSystems are those that the tests here run on.
var fileSystems = []struct {
	name  string
	fsys  func() FS
	mkdir func(string) error
}{
	{"memory", NewMemFS, noDir},
	{"heap", NewHeapFS, noDir},
	{"system", func() FS { return OS }, CreateDir},
}

// noDir: a file system in memory has every directory.
func noDir(string) error { return nil }

// TestPrepare: the file that is there afterwards, and what was done to get it, in this order.
func TestPrepare(t *testing.T) {
	for _, c := range fileSystems {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var ops []string
			fsys := &hookFS{FS: c.fsys(), hook: func(op, path string) error {
				ops = append(ops, op+" "+strings.TrimPrefix(path, FileName(3)))
				return nil
			}}
			id := testIdentity(3)
			s, err := Prepare(fsys, dir, id, Zeros{Chunk: 4096})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"open .tmp", "truncate .tmp", "allocate .tmp", "write .tmp", "write .tmp",
				"sync .tmp", "rename ", "syncdir " + filepath.Base(dir), "map .tmp"}
			if !slices.Equal(ops, want) {
				t.Errorf("operations %q, want %q", ops, want)
			}
			if s.Path() != filepath.Join(dir, FileName(3)) || s.Identity != id {
				t.Errorf("segment %s, %+v", s.Path(), s.Identity)
			}
			if sc := scan(t, s, 0); !sc.Unused() {
				t.Errorf("it is in use: %+v", sc)
			}
			if err := s.Drop(); err != nil || fsys.handles != 0 || fsys.maps != 0 {
				t.Errorf("%v; %d handles, %d mappings left", err, fsys.handles, fsys.maps)
			}
			got := readFile(t, fsys, filepath.Join(dir, FileName(3)))
			if d := firstDifference(got, append(id.Encode(), make([]byte, MinSize-4096)...)); d != "" {
				t.Error(d)
			}
			if list := names(t, fsys, dir); !slices.Equal(list, []string{FileName(3)}) {
				t.Errorf("the directory holds %q", list)
			}
		})
	}
}

// TestPreparePrimed: the zeros are there behind the sync, before the file has its name, by one call
// or, where that is not done, by writes; if they cannot be written, no file is left. Where space
// cannot be reserved, they are on the disk as ever.
func TestPreparePrimed(t *testing.T) {
	var ops []string
	reserves, broken := true, 0
	fsys := &hookFS{FS: NewMemFS(), hook: func(op, _ string) error {
		ops = append(ops, op)
		if op == "allocate" && !reserves {
			return fmt.Errorf("fallocate: %w", errors.ErrUnsupported)
		}
		if broken--; broken == 0 {
			return syscall.ENOSPC
		}
		return nil
	}}
	prepare := func(want ...string) *Segment {
		t.Helper()
		ops = nil
		id := testIdentity(1)
		id.Size = 64 << 10
		s, err := Prepare(fsys, "d", id, Zeros{Chunk: 64 << 10, Primed: true})
		if failed := want[len(want)-1] == "remove"; failed != (err != nil) ||
			failed && !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		if !slices.Equal(ops, want) {
			t.Errorf("operations %q, want %q", ops, want)
		}
		return s
	}
	s := prepare("open", "truncate", "allocate", "write", "sync", "zero", "write",
		"rename", "syncdir", "map")
	if s.Populated() != Offset(s.Size) || !zero(s.m.b[FirstFrame:]) {
		t.Errorf("populated to %d; zero: %v", s.Populated(), zero(s.m.b[FirstFrame:]))
	}
	if err := errors.Join(s.Drop(), fsys.Remove(s.Path())); err != nil {
		t.Fatal(err)
	}
	fsys.zeroes = true
	s = prepare("open", "truncate", "allocate", "write", "sync", "zero", "rename", "syncdir", "map")
	if err := errors.Join(s.Drop(), fsys.Remove(s.Path())); err != nil {
		t.Fatal(err)
	}
	broken = 6
	s = prepare("open", "truncate", "allocate", "write", "sync", "zero", "write",
		"rename", "syncdir", "map")
	if err := errors.Join(s.Drop(), fsys.Remove(s.Path())); err != nil {
		t.Fatal(err)
	}
	broken, fsys.zeroes = 7, false
	prepare("open", "truncate", "allocate", "write", "sync", "zero", "write", "truncate", "close",
		"remove")
	if list := names(t, fsys, "d"); len(list) > 0 {
		t.Errorf("files %q are left", list)
	}
	reserves = false
	s = prepare("open", "truncate", "allocate", "write", "write", "sync", "rename", "syncdir", "map")
	if s.Populated() != 0 {
		t.Errorf("populated to %d", s.Populated())
	}
	if err := s.Drop(); err != nil {
		t.Error(err)
	}
}

// TestPrepareZeroes: how the file is zeroed, by chunk size; where space cannot be reserved, by
// writing in any case.
func TestPrepareZeroes(t *testing.T) {
	for _, c := range []struct {
		chunk     int
		supported bool
		writes    int // beside that of the identity
	}{
		{0, true, 0}, {4096, true, 47}, {5000, true, 40}, {64 << 10, true, 3}, {1 << 20, true, 1},
		{0, false, 3}, {4096, false, 3}, {128 << 10, false, 2},
	} {
		t.Run(fmt.Sprintf("%d, reserves: %v", c.chunk, c.supported), func(t *testing.T) {
			writes := -1
			fsys := &hookFS{FS: NewMemFS(), hook: func(op, _ string) error {
				switch {
				case op == "write":
					writes++
				case op == "allocate" && !c.supported:
					return fmt.Errorf("fallocate: %w", errors.ErrUnsupported)
				}
				return nil
			}}
			id := testIdentity(1)
			id.Size = 192 << 10
			s, err := Prepare(fsys, "d", id, Zeros{Chunk: c.chunk})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Drop()
			if writes != c.writes {
				t.Errorf("%d writes of zeros, want %d", writes, c.writes)
			}
			if !bytes.Equal(s.m.b, append(id.Encode(), make([]byte, id.Size-4096)...)) {
				t.Error("other bytes are there")
			}
		})
	}
}

// failAt returns a hook that fails the k-th operation (from 0), and, if sticky, all later ones. It
// notes in what which operation that was.
func failAt(k int, err error, sticky bool, what *string) func(op, path string) error {
	n := 0
	return func(op, _ string) error {
		n++
		switch {
		case n == k+1:
			*what = op
			return err
		case n > k+1 && sticky:
			return err
		}
		return nil
	}
}

// TestPrepareFails: each operation in turn fails, with each error, once or for good. No file is
// left behind, but where it could not be removed; no handle and no mapping; and Prepare can be
// repeated.
func TestPrepareFails(t *testing.T) {
	ioErr := errors.New("i/o error")
	for _, base := range fileSystems {
		for _, fault := range []error{ioErr, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE} {
			for _, sticky := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %v, sticky %v", base.name, fault, sticky), func(t *testing.T) {
					var failed []string
					for k := 0; ; k++ {
						op := prepareFailing(t, base.fsys(), k, fault, sticky)
						if op == "" {
							break
						}
						failed = append(failed, op)
					}
					want := []string{"open", "truncate", "allocate", "write", "write", "sync",
						"rename", "syncdir", "map"}
					if !slices.Equal(failed, want) {
						t.Errorf("operations failed: %q, want %q", failed, want)
					}
				})
			}
		}
	}
}

// prepareFailing prepares a segment on a file system whose k-th operation fails. It returns which
// operation that was, or "" if none failed.
func prepareFailing(t *testing.T, base FS, k int, fault error, sticky bool) (op string) {
	t.Helper()
	dir := t.TempDir()
	fsys := &hookFS{FS: base, hook: failAt(k, fault, sticky, &op)}
	s, err := Prepare(fsys, dir, testIdentity(1), Zeros{Chunk: 64 << 10})
	if op == "" {
		if err != nil {
			t.Fatalf("no operation failed: %v", err)
		}
		s.Drop()
		return ""
	}
	if s != nil || !errors.Is(err, fault) {
		t.Errorf("%s failed: segment %v, error %v", op, s, err)
	}
	isFull := fault == syscall.ENOSPC || fault == syscall.EDQUOT
	if errors.Is(err, ErrNoSpace) != (isFull && !errors.Is(err, ErrUnnamed)) {
		t.Errorf("%s failed: %v; is it ErrNoSpace?", op, err)
	}
	if errors.Is(err, ErrUnnamed) != (op == "syncdir" && fault != syscall.EMFILE) {
		t.Errorf("%s failed: %v; is it ErrUnnamed?", op, err)
	}
	if fsys.handles != 0 || fsys.maps != 0 {
		t.Errorf("%s failed: %d handles, %d mappings left", op, fsys.handles, fsys.maps)
	}
	if list := names(t, base, dir); len(list) > 0 && !sticky {
		t.Errorf("%s failed: the directory holds %q", op, list)
	}
	fsys.hook = nil
	s, err = Prepare(fsys, dir, testIdentity(1), Zeros{Chunk: 64 << 10})
	if err != nil {
		t.Fatalf("%s failed, and then Prepare again: %v", op, err)
	}
	s.Drop()
	return op
}

// TestPrepareReplaces: a file that an earlier life was preparing makes room.
func TestPrepareReplaces(t *testing.T) {
	for _, c := range fileSystems {
		t.Run(c.name, func(t *testing.T) {
			dir, fsys := t.TempDir(), c.fsys()
			tmp := filepath.Join(dir, FileName(1)+TempSuffix)
			writeFile(t, fsys, tmp, bytes.Repeat([]byte("old"), 10000))
			failing := &hookFS{FS: fsys, hook: func(op, _ string) error {
				if op == "remove" {
					return errors.New("cannot be removed")
				}
				return nil
			}}
			if _, err := Prepare(failing, dir, testIdentity(1), Zeros{}); err == nil {
				t.Error("the old file cannot be removed, and nothing is said")
			}
			s, err := Prepare(fsys, dir, testIdentity(1), Zeros{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Drop()
			if sc := scan(t, s, 0); !sc.Unused() {
				t.Errorf("it is in use: %+v", sc)
			}
			if list := names(t, fsys, dir); !slices.Equal(list, []string{FileName(1)}) {
				t.Errorf("the directory holds %q", list)
			}
		})
	}
}

// TestCreateJournalFile: at any failure the old file is there, or the new one, whole; nothing else.
func TestCreateJournalFile(t *testing.T) {
	oldFile := JournalFile{Journal: testJournal, Newest: 1, Created: testTime}
	newFile := JournalFile{Journal: testJournal, Newest: 2, Created: testTime}
	for _, fault := range []error{errors.New("i/o error"), syscall.ENOSPC} {
		var failed []string
		for k := 0; ; k++ {
			dir, op := "d", ""
			fsys := &hookFS{FS: NewMemFS()}
			if err := writeJournalFile(fsys, dir, oldFile); err != nil {
				t.Fatal(err)
			}
			fsys.hook = failAt(k, fault, false, &op)
			f, err := CreateJournalFile(fsys, dir, &newFile)
			fsys.hook = nil
			if err == nil {
				f.Close()
			}
			got := readFile(t, fsys.FS, filepath.Join(dir, JournalName))
			if list := names(t, fsys, dir); !slices.Equal(list, []string{JournalName}) {
				t.Errorf("%s failed: the directory holds %q", op, list)
			}
			if fsys.handles != 0 {
				t.Errorf("%s failed: %d handles left", op, fsys.handles)
			}
			if op == "" {
				if err != nil || !bytes.Equal(got, twice(newFile)) {
					t.Errorf("error %v, content % x", err, got[:256])
				}
				break
			}
			failed = append(failed, op)
			want := oldFile
			if op == "syncdir" {
				want = newFile
			}
			if !errors.Is(err, fault) || !bytes.Equal(got, twice(want)) {
				t.Errorf("%s failed: %v, content % x", op, err, got[:256])
			}
			if errors.Is(err, ErrUnnamed) != (op == "syncdir") {
				t.Errorf("%s failed: %v; is it ErrUnnamed?", op, err)
			}
			if op != "syncdir" && errors.Is(err, ErrNoSpace) != (fault == syscall.ENOSPC) {
				t.Errorf("%s failed: %v; is it ErrNoSpace?", op, err)
			}
		}
		want := []string{"open", "write", "sync", "rename", "syncdir"}
		if !slices.Equal(failed, want) {
			t.Errorf("operations failed: %q, want %q", failed, want)
		}
	}
}

// TestOpenFails: each operation of Open in turn fails. That is an error of its own, never damage,
// and nothing is left open.
func TestOpenFails(t *testing.T) {
	fault := errors.New("i/o error")
	for _, mode := range []OpenMode{ReadOnly, ReadWrite} {
		var failed []string
		for k := 0; ; k++ {
			op := ""
			fsys := &hookFS{FS: NewMemFS()}
			made, err := Prepare(fsys.FS, "d", testIdentity(1), Zeros{})
			if err != nil {
				t.Fatal(err)
			}
			made.Drop()
			fsys.hook = failAt(k, fault, false, &op)
			s, err := Open(fsys, made.Path(), mode)
			if op == "" {
				if err != nil {
					t.Fatal(err)
				}
				s.Drop()
				break
			}
			failed = append(failed, op)
			if s != nil || !errors.Is(err, fault) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s failed: segment %v, error %v", op, s, err)
			}
			if fsys.handles != 0 || fsys.maps != 0 {
				t.Errorf("%s failed: %d handles, %d mappings left", op, fsys.handles, fsys.maps)
			}
		}
		want := []string{"open", "size", "read", "map"}
		if !slices.Equal(failed, want) {
			t.Errorf("operations failed: %q, want %q", failed, want)
		}
	}
	_, err := Open(NewMemFS(), FileName(1), ReadOnly)
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		t.Errorf("no file: %v", err)
	}
}

// TestSyncFails: Sync passes errors on, and notices a file that was cut.
func TestSyncFails(t *testing.T) {
	fault := errors.New("i/o error")
	var fail string
	fsys := &hookFS{FS: NewMemFS(), hook: func(op, _ string) error {
		if op == fail {
			return fault
		}
		return nil
	}}
	s, err := Prepare(fsys, "d", testIdentity(1), Zeros{})
	if err != nil {
		t.Fatal(err)
	}
	for _, fail = range []string{"datasync", "size"} {
		if err := s.Sync(); !errors.Is(err, fault) || !strings.Contains(err.Error(), s.Path()) {
			t.Errorf("%s failed: %v", fail, err)
		}
	}
	if fail = ""; s.Sync() != nil {
		t.Error("a good sync fails")
	}
	fail = "close"
	if err := s.Release(); !errors.Is(err, fault) {
		t.Errorf("close failed: %v", err)
	}
	if err := s.Release(); err != nil {
		t.Errorf("released twice: %v", err)
	}
	if err := s.Sync(); !errors.Is(err, errReleased) {
		t.Errorf("sync of a released segment: %v", err)
	}
	if err := s.Drop(); err != nil || fsys.handles != 0 || fsys.maps != 0 {
		t.Errorf("%v; %d handles, %d mappings left", err, fsys.handles, fsys.maps)
	}
}

// TestSyncDropped: a segment that nobody holds any more has no file to sync.
func TestSyncDropped(t *testing.T) {
	s, err := Prepare(OS, t.TempDir(), testIdentity(1), Zeros{Chunk: 4096, Primed: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Sync(), s.SyncFrames(), s.SyncRange(0, 8192)} {
		if !errors.Is(err, errReleased) {
			t.Error(err)
		}
	}
}

func writeJournalFile(fsys FS, dir string, j JournalFile) error {
	f, err := CreateJournalFile(fsys, dir, &j)
	if err != nil {
		return err
	}
	f.Close()
	return nil
}

// TestUpdateJournalFile: an update writes the two copies one after the other, each of them durably
// before the next step, and makes no name; wherever it fails, one copy is whole.
func TestUpdateJournalFile(t *testing.T) {
	oldFile := JournalFile{Journal: testJournal, Generation: 1, Newest: 1, Created: testTime}
	newFile := JournalFile{Journal: testJournal, Generation: 2, Newest: 2, Created: testTime}
	for _, fault := range []error{errors.New("i/o error"), syscall.ENOSPC} {
		var failed []string
		for k := 0; ; k++ {
			op := ""
			fsys := &hookFS{FS: NewMemFS()}
			f, createErr := CreateJournalFile(fsys, "d", &oldFile)
			if createErr != nil {
				t.Fatal(createErr)
			}
			fsys.hook = failAt(k, fault, false, &op)
			done, err := UpdateJournalFile(f, &newFile)
			if want := JournalUpdate(min(k, 2)); done != want {
				t.Errorf("operation %d failed: done is %d, want %d", k, done, want)
			}
			got := readFile(t, fsys.FS, filepath.Join("d", JournalName))
			if op == "" {
				if err != nil || !bytes.Equal(got, twice(newFile)) {
					t.Errorf("error %v, content % x", err, got[:256])
				}
				break
			}
			failed = append(failed, op)
			if !errors.Is(err, fault) || errors.Is(err, ErrNoSpace) != (fault == syscall.ENOSPC) {
				t.Errorf("%s failed: %v", op, err)
			}
			j, faults, err := DecodeJournalFile(got)
			if err != nil || faults.Any() || j.Newest != 1 && j.Newest != 2 {
				t.Errorf("operation %d, %s, failed: %+v, %v, %v", k, op, j, faults, err)
			}
			if behind := k == 1 || k == 2; faults.Behind != behind {
				t.Errorf("operation %d, %s, failed: is one copy behind? %v", k, op, faults.Behind)
			}
		}
		if want := []string{"write", "datasync", "write", "datasync"}; !slices.Equal(failed, want) {
			t.Errorf("operations failed: %q, want %q", failed, want)
		}
	}
}

// TestNextGeneration: an update writes first the copy that it can do without.
func TestNextGeneration(t *testing.T) {
	bad := errors.New("bad")
	for _, c := range []struct {
		name   string
		faults JournalFaults
		first  [2]int64 // the copy that is written first after an even generation, and an odd one
	}{
		{"both good", JournalFaults{}, [2]int64{1, 0}},
		{"the first one is bad", JournalFaults{Copies: [2]error{bad, nil}}, [2]int64{0, 0}},
		{"the second one is bad", JournalFaults{Copies: [2]error{nil, bad}}, [2]int64{1, 1}},
		{"the newer one was written first", JournalFaults{Behind: true}, [2]int64{0, 1}},
	} {
		for odd, want := range c.first {
			j := JournalFile{Generation: uint64(10 + odd)}
			next := j.NextGeneration(&c.faults)
			if got := firstCopy(next) / copySize; got != want || next <= j.Generation {
				t.Errorf("%s, %d: generation %d writes copy %d first", c.name, 10+odd, next, got)
			}
		}
	}
}
