package segment

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRecycleReserves: a file with holes, as a copy may have them, gets its blocks before it is a
// segment.
func TestRecycleReserves(t *testing.T) {
	dir := t.TempDir()
	id := testIdentity(2)
	id.Size = 1 << 20
	from := filepath.Join(dir, FileName(1)+TempSuffix)
	f, err := OS.Open(from, Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(id.Size), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Recycle(OS, dir, from, id)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer mustDrop(t, s)
	var st unix.Stat_t
	if err := unix.Stat(s.Path(), &st); err != nil {
		t.Fatal(err)
	}
	if n := st.Blocks * 512; n < id.Size {
		t.Errorf("%d of %d bytes have blocks", n, id.Size)
	}
}
