package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/nobody"
	"mmjournal/internal/testutil/simdisk"
	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// A second writer fails at once and learns who the first one is.
func TestSecondWriter(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	mustAppend(t, j, []byte("x"))
	_, err := journal.Open(dir, nil)
	pid := fmt.Sprintf("process %d", os.Getpid())
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), pid) {
		t.Errorf("second writer: %v; want %q in it", err, pid)
	}
	mustAppend(t, j, []byte("y"))
	mustClose(t, j)
	expect(t, mustOpen(t, dir, nil), 1, "x", "y")
}

// TestForeignFiles: files that cannot be the journal's are warned of beside a journal, and forbid
// to create one; names that could be meant for one of the journal's files forbid to write to it.
func TestForeignFiles(t *testing.T) {
	for _, name := range []string{"notes.txt", "core", "nohup.out", "heap.pprof", "x~", "sub/"} {
		put := func(dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			var err error
			if strings.HasSuffix(name, "/") {
				err = os.Mkdir(path, 0o700)
			} else {
				err = os.WriteFile(path, []byte("mine"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		beside, alone := t.TempDir(), t.TempDir()
		mustClose(t, mustOpen(t, beside, smallSegments))
		put(beside)
		j := mustOpen(t, beside, smallSegments)
		mustAppend(t, j, []byte("a record"))
		shown := strings.TrimSuffix(name, "/") + " is not a file of the journal"
		if w := j.Report().Warnings; !slices.Contains(w, shown) {
			t.Errorf("%s: warnings %q", name, w)
		}
		mustClose(t, j)
		put(alone)
		mustRefuse(t, alone, strings.TrimSuffix(name, "/"))
	}
	for _, name := range []string{"1.seg", segment.FileName(1) + ".bak", "JOURNAL.old"} {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, dir, smallSegments))
		note := filepath.Join(dir, name)
		if err := os.WriteFile(note, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, dir, name)
		if _, err := journal.Open(note, nil); err == nil {
			t.Error("a file was opened as a directory")
		}
	}
	for _, name := range []string{".hidden", "lost+found"} {
		where := t.TempDir()
		if err := os.Mkdir(filepath.Join(where, name), 0o700); err != nil {
			t.Fatal(err)
		}
		mustClose(t, mustOpen(t, where, smallSegments))
	}
}

// mustRefuse checks that a directory is not opened for writing because of a file, and not changed.
func mustRefuse(t *testing.T, dir, name string) {
	t.Helper()
	before := listing(t, dir)
	_, err := journal.Open(dir, nil)
	if !errors.Is(err, journal.ErrNotJournal) || !strings.Contains(err.Error(), name) {
		t.Errorf("with %s: %v", name, err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory was changed:\n%s\n%s", before, after)
	}
}

// TestStrayCopy: a copy of a segment under a higher number costs readers no record; a writer
// refuses to work beside it, and says what it is.
func TestStrayCopy(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	for range 50 {
		mustAppend(t, j, make([]byte, 5000))
	}
	mustClose(t, j)
	b, err := os.ReadFile(filepath.Join(dir, segment.FileName(2)))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, segment.FileName(9)), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, dir, "a copy of segment 2")
	r, err := journal.OpenReadOnly(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := len(collect(t, r, 0)); n != 50 {
		t.Errorf("%d records", n)
	}
}

// A segment of another journal is never taken for one of ours, nor removed.
func TestForeignSegment(t *testing.T) {
	ours, theirs := t.TempDir(), t.TempDir()
	for _, dir := range []string{ours, theirs} {
		j := mustOpen(t, dir, smallSegments)
		for range 50 {
			mustAppend(t, j, make([]byte, 5000))
		}
		mustClose(t, j)
	}
	for _, n := range []uint64{1, 3, 5, 9} {
		b, err := os.ReadFile(filepath.Join(theirs, segment.FileName(min(n, 4))))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(ours, segment.FileName(n))
		old, _ := os.ReadFile(path)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		before := listing(t, ours)
		want := journal.ErrCorrupt
		if n == 9 { // above the newest one
			want = journal.ErrNotJournal
		}
		if _, err := journal.Open(ours, nil); !errors.Is(err, want) ||
			!strings.Contains(err.Error(), segment.FileName(n)) {
			t.Errorf("segment %d of another journal: %v", n, err)
		}
		if listing(t, ours) != before {
			t.Errorf("segment %d: the directory was changed", n)
		}
		if old == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, old, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, mustOpen(t, ours, nil))
}

// listing describes the files of a directory, but for the lock.
func listing(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != segment.LockName {
			fmt.Fprintln(&b, e.Name(), fi.Size(), fi.ModTime())
		}
	}
	return b.String()
}

// A file that somebody cuts short while it is mapped makes errors, and not the end of the process.
func TestTruncatedUnderneath(t *testing.T) {
	for _, keep := range []int64{0, 4096, 8192} {
		dir := t.TempDir()
		j := mustOpen(t, dir, &journal.Options{
			SegmentSize: journal.MinSegmentSize, Durability: journal.Published,
		})
		for range 20 {
			mustAppend(t, j, make([]byte, 1000))
		}
		if err := os.Truncate(filepath.Join(dir, segment.FileName(1)), keep); err != nil {
			t.Fatal(err)
		}
		_, readErr := j.Read(20, nil)
		viewErr := j.View(20, func([]byte) error { return nil })
		var recErr error
		for _, err := range j.Records(0) {
			recErr = err
		}
		for name, err := range map[string]error{"Read": readErr, "View": viewErr, "Records": recErr} {
			if !errors.Is(err, journal.ErrFault) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := j.Append(make([]byte, 1000))
		if !errors.Is(err, journal.ErrFault) || !errors.Is(err, journal.ErrFailed) {
			t.Errorf("Append: %v", err)
		}
		for name, again := range map[string]error{
			"Append": second(j.Append(nil)), "Sync": j.Sync(t.Context()),
			"AppendFunc":    second(j.AppendFunc(0, nil)),
			"AppendBatch":   second(j.AppendBatch([][]byte{nil})),
			"TruncateFront": errors.Unwrap(j.TruncateFront(3)),
			"Close":         errors.Unwrap(j.Close()),
		} {
			if name != "Close" && again != err {
				t.Errorf("%s afterwards: %v; want the first failure", name, again)
			}
		}
		if _, err := journal.Open(dir, nil); !errors.Is(err, journal.ErrCorrupt) {
			t.Errorf("Open of the short file: %v", err)
		}
	}
}

// fdatasync says nothing of bytes that were cut off underneath.
func TestSyncOfTruncatedFile(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, &journal.Options{Durability: journal.Published})
	mustAppend(t, j, make([]byte, 100))
	if err := os.Truncate(filepath.Join(dir, segment.FileName(1)), 4096); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(t.Context()); !errors.Is(err, journal.ErrFailed) || j.Durable() != 0 {
		t.Errorf("Sync: %v, durable %d", err, j.Durable())
	}
}

// The first failed sync is the last word: nothing is acknowledged after it, although the next sync
// would succeed.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	disk, j := onDisk(t, journal.Synced)
	mustAppend(t, j, []byte("acknowledged"))
	fails := true
	disk.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpDatasync && fails {
			fails = false
			return syscall.EIO
		}
		return nil
	}
	_, first := j.Append([]byte("lost"))
	if !errors.Is(first, syscall.EIO) || !errors.Is(first, journal.ErrFailed) {
		t.Errorf("Append: %v", first)
	}
	for range 3 {
		if _, err := j.Append([]byte("more")); err != first {
			t.Errorf("Append afterwards: %v", err)
		}
		if err := j.Sync(t.Context()); err != first {
			t.Errorf("Sync afterwards: %v", err)
		}
	}
	if j.Durable() != 1 {
		t.Errorf("durable: %d", j.Durable())
	}
	if err := j.Close(); !errors.Is(err, first) {
		t.Errorf("Close: %v", err)
	}
	if handles, mappings := disk.Leaks(); handles != 0 || mappings != 0 {
		t.Errorf("%d handles and %d mappings are left", handles, mappings)
	}
	j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192})
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, j, 0); got[0] != "acknowledged" {
		t.Errorf("after reopening: %q", got)
	}
	mustClose(t, j)
}

func onDisk(t *testing.T, d journal.Durability) (*simdisk.Disk, *journal.Journal) {
	t.Helper()
	disk := simdisk.New(simdisk.Options{})
	if err := disk.MkdirAll("/j"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenFS(disk, "/j", &journal.Options{SegmentSize: 8192, Durability: d})
	if err != nil {
		t.Fatal(err)
	}
	return disk, j
}

// Lack of space is no failure: what is there stays usable, and the append works when there is
// space. Every operation of a preparation may be the one that fails.
func TestNoSpaceIsRetryable(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	kinds := []simdisk.OpKind{simdisk.OpCreate, simdisk.OpTruncate, simdisk.OpAllocate,
		simdisk.OpWrite, simdisk.OpSync, simdisk.OpRename}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			disk, j := onDisk(t, journal.Synced)
			var want []string
			grow := func() error {
				for i := range 20 {
					p := strings.Repeat(fmt.Sprint(i%10), 600)
					if _, err := j.Append([]byte(p)); err != nil {
						return err
					}
					want = append(want, p)
				}
				return nil
			}
			if err := grow(); err != nil {
				t.Fatal(err)
			}
			disk.OnOp = func(op simdisk.Op) error {
				if op.Kind == kind {
					return syscall.ENOSPC
				}
				return nil
			}
			for range 3 {
				if err := grow(); !errors.Is(err, journal.ErrNoSpace) || errors.Is(err, journal.ErrFailed) {
					t.Fatalf("full disk: %v", err)
				}
				if err := j.Sync(t.Context()); err != nil {
					t.Fatalf("Sync on a full disk: %v", err)
				}
				if kind == simdisk.OpWrite { // that is a disk that cannot write in place
					continue
				}
				if err := j.TruncateBack(j.Last() - 1); err != nil {
					t.Fatalf("a truncation on a full disk: %v", err)
				}
				want = want[:len(want)-1]
			}
			expect(t, j, 1, want...)
			disk.OnOp = nil
			if err := grow(); err != nil {
				t.Fatalf("after space was made: %v", err)
			}
			expect(t, j, 1, want...)
			mustClose(t, j)
			j, err := journal.OpenFS(disk, "/j", &journal.Options{
				SegmentSize: 8192, VerifyOnOpen: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, j, 1, want...)
			mustClose(t, j)
		})
	}
}

// Files of newer software are refused and left alone.
func TestNewerVersion(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
	for _, name := range []string{segment.JournalName, segment.FileName(1)} {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(old)
		b[8] = 2
		c := segment.Checksum(b[:12])
		b[12], b[13], b[14], b[15] = byte(c), byte(c>>8), byte(c>>16), byte(c>>24)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		_, openErr := journal.Open(dir, nil)
		_, readErr := journal.OpenReadOnly(dir, &journal.Options{ReadDamaged: true})
		_, inspectErr := recovery.Inspect(dir, true)
		for _, err := range []error{openErr, readErr, inspectErr} {
			if !errors.Is(err, journal.ErrVersion) || errors.Is(err, journal.ErrCorrupt) ||
				!strings.Contains(err.Error(), name) {
				t.Errorf("%s of version 2: %v", name, err)
			}
		}
		if after := listing(t, dir); after != before {
			t.Errorf("the directory was changed:\n%s\n%s", before, after)
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, mustOpen(t, dir, nil), 1, "x")
}

// A reader's store into the journal's memory is an error of View once the segment is full and
// durable, and cannot change what is stored in any case but the newest segment of the writer's own
// process.
func TestStoreInView(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, smallSegments)
	mustAppend(t, j, []byte("x"))
	mustClose(t, j)
	r, err := journal.OpenReadOnly(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = r.View(1, func(p []byte) error { p[0] = 'y'; return nil })
	if !errors.Is(err, journal.ErrFault) {
		t.Errorf("a store into a read-only mapping: %v", err)
	}
	expect(t, r, 1, "x")
}

// A panic of the caller's own passes through View.
func TestPanicInView(t *testing.T) {
	j := mustOpen(t, t.TempDir(), smallSegments)
	mustAppend(t, j, []byte("x"))
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
		expect(t, j, 1, "x")
	}()
	j.View(1, func([]byte) error { panic("mine") })
}

// A directory that may not be written to, or not be read, is a clear error.
func TestNoPermission(t *testing.T) {
	if nobody.Demote(t) {
		return
	}
	dir := t.TempDir()
	mustClose(t, mustOpen(t, dir, smallSegments))
	open := func(sub string) (error, error) {
		w, writeErr := journal.Open(filepath.Join(dir, sub), nil)
		if writeErr == nil { // it was there already; what it cannot do is create files
			_, writeErr = w.Append(nil)
			w.Close()
		}
		r, readErr := journal.OpenReadOnly(filepath.Join(dir, sub), nil)
		if readErr == nil {
			r.Close()
		}
		return writeErr, readErr
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	for mode, readable := range map[os.FileMode]bool{0o500: true, 0o000: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err, _ := open("new"); !errors.Is(err, os.ErrPermission) ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("mode %v, a new journal: %v", mode, err)
		}
		writeErr, err := open("")
		if !errors.Is(writeErr, os.ErrPermission) || !strings.Contains(writeErr.Error(), dir) {
			t.Errorf("mode %v, appending: %v", mode, writeErr)
		}
		if readable != (err == nil) || err != nil && !errors.Is(err, os.ErrPermission) {
			t.Errorf("mode %v, reading: %v", mode, err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, nil))
}
