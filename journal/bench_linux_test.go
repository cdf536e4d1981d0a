package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// benchCold writes 256 MiB of records of 1 KiB and returns the directory and how many they are.
func benchCold(b *testing.B) (dir string, n int) {
	dir = b.TempDir()
	j, err := journal.Open(dir, &journal.Options{Durability: journal.Published})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<10)
	for n = 0; n < 256<<10; n++ {
		if _, err := j.Append(p); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	return dir, n
}

// dropPages drops the pages of a directory's files from the page cache.
func dropPages(b *testing.B, dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		b.Fatal(names, err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkRecordsCold opens a journal that is not in the page cache and reads all of it.
func BenchmarkRecordsCold(b *testing.B) {
	dir, want := benchCold(b)
	b.SetBytes(int64(want) << 10)
	for b.Loop() {
		b.StopTimer()
		dropPages(b, dir)
		b.StartTimer()
		j, err := journal.OpenReadOnly(dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range j.Records(1) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if err := j.Close(); n != want || err != nil {
			b.Fatal(n, err)
		}
	}
}
