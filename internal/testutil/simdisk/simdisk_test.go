package simdisk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"testing"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/segment"
)

// newDisk returns a disk with the directory "d".
func newDisk(t *testing.T, o simdisk.Options) *simdisk.Disk {
	t.Helper()
	d := simdisk.New(o)
	must(t, d.MkdirAll("d"))
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a file with that content; sync and syncDir say what of it is durable.
func create(t *testing.T, d *simdisk.Disk, path string, b []byte, sync, syncDir bool) segment.File {
	t.Helper()
	f, err := d.Open(path, segment.Create)
	must(t, err)
	if len(b) > 0 {
		_, err = f.WriteAt(b, 0)
		must(t, err)
	}
	if sync {
		must(t, f.Sync())
	}
	if syncDir {
		must(t, d.SyncDir("d"))
	}
	return f
}

func fill(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }

// outcomes crashes the disk in every way and returns what is left as text, sorted, with how often:
// for each file its name and the first byte of each sector, or ? for noise.
func outcomes(d *simdisk.Disk) map[string]int {
	all := map[string]int{}
	p := d.Pending()
	for c := range p.Choices(1<<16, 1) {
		all[show(p.Crash(c))]++
	}
	return all
}

func show(d *simdisk.Disk) string {
	s := ""
	files := d.Files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s += name + ":"
		b := files[name]
		for i := 0; i < len(b); i += 512 {
			end := min(i+512, len(b))
			switch c := b[i]; {
			case !bytes.Equal(b[i:end], fill(end-i, c)):
				s += "?"
			case c == 0:
				s += "0"
			default:
				s += string(rune(c))
			}
		}
		s += " "
	}
	return s
}

func want(t *testing.T, d *simdisk.Disk, outcome ...string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(outcomes(d)))
	slices.Sort(outcome)
	if !slices.Equal(got, outcome) {
		t.Errorf("a crash leaves one of\n%q, want\n%q", got, outcome)
	}
}

func TestNames(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	create(t, d, "d/a", fill(1, 'x'), true, false)
	want(t, d, "", "d/a:x ") // the content is durable, the name is not
	must(t, d.SyncDir("d"))
	want(t, d, "d/a:x ")

	must(t, d.Rename("d/a", "d/b"))
	want(t, d, "d/a:x ", "d/b:x ")
	must(t, d.Rename("d/b", "d/c"))
	want(t, d, "d/a:x ", "d/b:x ", "d/c:x ")
	must(t, d.SyncDir("d"))
	want(t, d, "d/c:x ")

	must(t, d.Remove("d/c"))
	want(t, d, "", "d/c:x ")
	must(t, d.SyncDir("d"))
	want(t, d, "")
}

func TestRenameReplaces(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	create(t, d, "d/a", fill(1, '1'), true, true)
	create(t, d, "d/a.tmp", fill(1, '2'), true, false)
	must(t, d.Rename("d/a.tmp", "d/a"))
	want(t, d, "d/a:1 ", "d/a:1 d/a.tmp:2 ", "d/a:2 ")
}

func TestOperationsOnNamesAreIndependent(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	create(t, d, "d/a", fill(1, 'a'), true, true)
	must(t, d.Remove("d/a"))
	create(t, d, "d/b", fill(1, 'b'), true, false)
	want(t, d, "", "d/a:a ", "d/b:b ", "d/a:a d/b:b ")
}

func TestUnsyncedContent(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f := create(t, d, "d/a", fill(1024, 'a'), true, true)
	_, err := f.WriteAt(fill(1024, 'b'), 0)
	must(t, err)
	want(t, d, "d/a:aa ", "d/a:ab ", "d/a:ba ", "d/a:bb ")
	_, err = f.WriteAt(fill(512, 'c'), 0)
	must(t, err)
	want(t, d, "d/a:aa ", "d/a:ab ", "d/a:ba ", "d/a:bb ", "d/a:ca ", "d/a:cb ")
	must(t, f.Datasync())
	want(t, d, "d/a:cb ")
}

func TestNewFileHoldsGarbage(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f := create(t, d, "d/a", nil, true, true)
	must(t, f.Truncate(512))
	want(t, d, "d/a: ", "d/a:0 ", "d/a:? ")
}

func TestNewFileHoldsWhatARemovedOneHeld(t *testing.T) {
	seen := false
	for seed := range uint64(20) {
		d := newDisk(t, simdisk.Options{Seed: seed})
		create(t, d, "d/a", fill(512, 'a'), true, true)
		must(t, d.Remove("d/a"))
		create(t, d, "d/b", fill(512, 'b'), false, true)
		seen = seen || outcomes(d)["d/b:a "] > 0
	}
	if !seen {
		t.Error("no new file has been left with the bytes of the removed one")
	}
}

// mapped returns a durable file of n sectors of 'a', mapped.
func mapped(t *testing.T, d *simdisk.Disk, n int) (segment.File, *segment.Mapping) {
	t.Helper()
	f := create(t, d, "d/m", fill(512*n, 'a'), true, true)
	m, err := f.Map(int64(512*n), segment.ReadWrite)
	must(t, err)
	return f, m
}

func TestMappedStores(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f, m := mapped(t, d, 2)
	copy(m.Bytes(), fill(512, 'b'))
	want(t, d, "d/m:aa ", "d/m:ba ") // seen although nothing has told of it
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil || b[0] != 'b' {
		t.Errorf("read %q, %v", b, err)
	}
	must(t, f.Datasync())
	copy(m.Bytes()[512:], fill(512, 'c'))
	must(t, m.Close())
	want(t, d, "d/m:ba ", "d/m:bc ")
	if h, m := d.Leaks(); h != 1 || m != 0 {
		t.Errorf("%d handles, %d mappings open", h, m)
	}
}

func TestTornStores(t *testing.T) {
	d := newDisk(t, simdisk.Options{Torn: true})
	_, m := mapped(t, d, 1)
	copy(m.Bytes(), fill(512, 'b'))
	want(t, d, "d/m:a ", "d/m:? ", "d/m:b ")
}

func TestFailedSyncForgets(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f, m := mapped(t, d, 16)
	copy(m.Bytes(), fill(512, 'b'))
	d.OnOp = func(op simdisk.Op) error {
		if op.Kind == simdisk.OpDatasync {
			return syscall.EIO
		}
		return nil
	}
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	d.OnOp = nil
	must(t, f.Datasync()) // a lie, as the kernel's
	want(t, d, "d/m:aaaaaaaaaaaaaaaa ", "d/m:baaaaaaaaaaaaaaa ")
	m.Bytes()[512*9] = 'c' // another page
	must(t, f.Datasync())
	if n := d.Pending().States(); n != 2 {
		t.Errorf("%d states, want 2", n)
	}
	m.Bytes()[512] = 'c' // the same page
	must(t, f.Datasync())
	if n := d.Pending().States(); n != 1 {
		t.Errorf("%d states, want 1", n)
	}
}

// failSync makes a sync of f fail.
func failSync(t *testing.T, d *simdisk.Disk, f segment.File) {
	t.Helper()
	d.OnOp = func(simdisk.Op) error { return syscall.EIO }
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	d.OnOp = nil
}

func TestEvict(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f, m := mapped(t, d, 16)
	copy(m.Bytes(), fill(512, 'b'))
	if d.Evict(0) {
		t.Error("a page that is to be written has been dropped")
	}
	failSync(t, d, f)
	copy(m.Bytes()[512*15:], fill(512, 'c'))
	if !d.Evict(0) || d.Evict(0) {
		t.Error("a page that was given up stays, or goes twice")
	}
	if got := show(d); got != "d/m:aaaaaaaaaaaaaaac " { // c is of a page that is dirty
		t.Errorf("the page cache holds %q", got)
	}
	want(t, d, "d/m:aaaaaaaaaaaaaaaa ", "d/m:aaaaaaaaaaaaaaac ")

	must(t, f.Datasync())
	copy(m.Bytes(), fill(512, 'b'))
	failSync(t, d, f)
	m.Bytes()[512] = 'c' // dirty again, all of it
	if d.Evict(0) {
		t.Error("a page that was stored to after the failed sync has been dropped")
	}
}

// TestEvictTakesWhatTheDiskHas: any of the versions comes back, sector by sector, the same for the
// same seed, and from then on a power cut leaves nothing else.
func TestEvictTakesWhatTheDiskHas(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(100) {
		d := newDisk(t, simdisk.Options{})
		f, m := mapped(t, d, 2)
		copy(m.Bytes(), fill(1024, 'b'))
		failSync(t, d, f)
		again := d.Kill()
		if d.Evict(seed) != again.Evict(seed) || show(d) != show(again) {
			t.Errorf("seed %d: %q, then %q", seed, show(d), show(again))
		}
		if now := show(d); now != "d/m:bb " {
			want(t, d, now)
		}
		seen[show(d)]++
	}
	for _, s := range []string{"d/m:aa ", "d/m:ab ", "d/m:ba ", "d/m:bb "} {
		if seen[s] < 5 {
			t.Errorf("%q came back %d times of 100", s, seen[s])
		}
	}
}

func TestSyncCoversWhatWasThereWhenItWasCalled(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f, m := mapped(t, d, 2)
	copy(m.Bytes(), fill(512, 'b'))
	d.OnOp = func(op simdisk.Op) error {
		copy(m.Bytes(), fill(1024, 'c'))
		return nil
	}
	must(t, f.Datasync())
	want(t, d, "d/m:ba ", "d/m:ca ", "d/m:bc ", "d/m:cc ")
}

func TestLies(t *testing.T) {
	d := newDisk(t, simdisk.Options{IgnoreSync: true})
	f := create(t, d, "d/a", nil, true, true)
	must(t, f.Truncate(512))
	must(t, f.Sync())
	if n := len(outcomes(d)); n != 3 {
		t.Errorf("a synced file has %d outcomes, want 3", n)
	}
	d = newDisk(t, simdisk.Options{IgnoreSyncDir: true})
	create(t, d, "d/a", fill(1, 'a'), true, true)
	want(t, d, "", "d/a:a ")
}

func TestKillKeepsThePageCache(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	_, m := mapped(t, d, 1)
	copy(m.Bytes(), fill(512, 'b'))
	create(t, d, "d/n", nil, false, false)
	k := d.Kill()
	copy(m.Bytes(), fill(512, 'c')) // of the old disk
	if got := show(k); got != "d/m:b d/n: " {
		t.Errorf("kill leaves %q", got)
	}
	want(t, k, "d/m:a ", "d/m:b ", "d/m:a d/n: ", "d/m:b d/n: ")
	f, err := k.Open("d/m", segment.ReadWrite)
	must(t, err)
	must(t, f.Datasync())
	must(t, k.SyncDir("d"))
	want(t, k, "d/m:b d/n: ")
	if show(d) != "d/m:c d/n: " {
		t.Errorf("the old disk has become %q", show(d))
	}
}

func TestCrashedDiskIsIndependent(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	_, m := mapped(t, d, 1)
	p := d.Pending()
	c := p.Crash(p.Newest())
	copy(m.Bytes(), fill(512, 'b'))
	f, err := c.Open("d/m", segment.ReadWrite)
	must(t, err)
	_, err = f.WriteAt(fill(512, 'c'), 0)
	must(t, err)
	if show(d) != "d/m:b " || show(c) != "d/m:c " {
		t.Errorf("%q, %q", show(d), show(c))
	}
	want(t, c, "d/m:a ", "d/m:c ")
}

func TestCoarse(t *testing.T) {
	d := newDisk(t, simdisk.Options{Coarse: simdisk.IsTemporary})
	create(t, d, "d/a.tmp", fill(512*16, 'a'), false, true)
	if n := d.Pending().States(); n != 3 {
		t.Errorf("%d states, want 3", n)
	}
	must(t, d.Rename("d/a.tmp", "d/a"))
	if n := d.Pending().States(); n < 1<<16 {
		t.Errorf("%d states after the rename, want at least one per subset of sectors", n)
	}
}

func TestChoices(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f := create(t, d, "d/a", fill(512*8, 'a'), true, true)
	_, err := f.WriteAt(fill(512*8, 'b'), 0)
	must(t, err)
	p := d.Pending()
	if p.States() != 256 {
		t.Fatalf("%d states", p.States())
	}
	seen := map[uint64]bool{}
	for c := range p.Choices(256, 1) {
		seen[p.Crash(c).Key()] = true
	}
	if len(seen) != 256 {
		t.Errorf("%d of 256 states", len(seen))
	}
	var first, second []string
	for c := range p.Choices(100, 7) {
		first = append(first, c.String())
	}
	for c := range p.Choices(100, 7) {
		second = append(second, c.String())
		parsed, err := simdisk.ParseChoice(c.String())
		if err != nil || !slices.Equal(parsed, c) {
			t.Errorf("%v became %v, %v", c, parsed, err)
		}
	}
	if len(first) != 100 || !slices.Equal(first, second) {
		t.Errorf("the same seed gave other choices")
	}
	if !p.Has(p.Newest()) || p.Has(p.Newest()[1:]) || p.Has(append(p.Newest()[1:], 2)) {
		t.Errorf("Has is wrong about %v", p.Newest())
	}
	for _, must := range []string{p.Newest().String(), "0.0.0.0.0.0.0.0", "0.1.1.1.1.1.1.1"} {
		if !slices.Contains(first, must) {
			t.Errorf("%s is not among the sampled", must)
		}
	}
}

func TestOpsInjectsErrors(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		ops := &simdisk.Ops{FailAt: 2, Sticky: sticky, Err: syscall.ENOSPC}
		d := newDisk(t, simdisk.Options{})
		d.OnOp = ops.Hook
		f := create(t, d, "d/a", fill(1, 'a'), false, false)
		if err := f.Sync(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("sync: %v", err)
		}
		if err := f.Sync(); errors.Is(err, syscall.ENOSPC) != sticky {
			t.Errorf("second sync: %v", err)
		}
		if ops.N != 4 {
			t.Errorf("%d operations, want 4", ops.N)
		}
	}
}

func TestErrors(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	f := create(t, d, "d/a", fill(1, 'a'), false, false)
	r, err := d.Open("d/a", segment.ReadOnly)
	must(t, err)
	_, writeErr := r.WriteAt([]byte("x"), 0)
	_, mapErr := r.Map(1, segment.ReadWrite)
	must(t, f.Close())
	_, createErr := d.Open("d/a", segment.Create)
	_, openErr := d.Open("d/b", segment.ReadOnly)
	_, dirErr := d.ReadDir("e")
	for i, c := range []struct{ got, want error }{
		{writeErr, fs.ErrPermission},
		{mapErr, fs.ErrPermission},
		{f.Sync(), fs.ErrClosed},
		{createErr, fs.ErrExist},
		{openErr, fs.ErrNotExist},
		{dirErr, fs.ErrNotExist},
		{d.SyncDir("e"), fs.ErrNotExist},
		{d.Rename("d/b", "d/c"), fs.ErrNotExist},
		{d.Remove("d/b"), fs.ErrNotExist},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%d: %v, want %v", i, c.got, c.want)
		}
	}
}

func TestEdit(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	create(t, d, "d/a", fill(512, 'a'), true, true)
	if !d.Edit("d/a", func(b []byte) { clear(b) }) || d.Edit("d/b", nil) {
		t.Error("Edit does not tell whether the file exists")
	}
	want(t, d, "d/a:0 ")
}

func TestReadDir(t *testing.T) {
	d := newDisk(t, simdisk.Options{})
	create(t, d, "d/b", fill(3, 'b'), false, false)
	create(t, d, "d/a", nil, false, false)
	all, err := d.ReadDir("d")
	must(t, err)
	got := ""
	for _, e := range all {
		info, err := e.Info()
		must(t, err)
		got += fmt.Sprintf("%s %d %v, ", e.Name(), info.Size(), info.Mode().IsRegular())
	}
	if got != "a 0 true, b 3 true, " {
		t.Errorf("listed %s", got)
	}
}
