package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// spaceCells append records and look at what they take: bytes in the files, memory of the process.
func spaceCells(cfg *config) (cells []*cell) {
	for _, size := range cfg.sizes {
		n := uint64(min(cfg.space/int64(size), 400_000))
		c := &cell{work: "space", id: fmt.Sprint(size), title: sizeTitle(size)}
		for _, impl := range withCaps(canAppend) {
			if impl.limit() {
				continue
			}
			c.contenders = append(c.contenders, contender{
				name: impl.Name,
				run: func(dir string, _ *filled) (metrics, error) {
					return runSpace(cfg, impl, dir, size, n)
				},
			})
		}
		cells = append(cells, c)
	}
	return cells
}

func runSpace(cfg *config, impl *Impl, dir string, size int, n uint64) (metrics, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	t := task{
		Kind: "space", Impl: impl.Name, Dir: dir, Size: size, N: n,
		Options: OpenOptions{Segment: cfg.segment},
	}
	m, err := t.start()
	if err != nil {
		return nil, err
	}
	used, err := usedBytes(dir)
	m["disk"] = float64(used) / float64(n)
	return m, err
}

// usedBytes adds up how far the files below dir are written, zeros at their ends not counted.
func usedBytes(dir string) (used int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n, err := writtenEnd(path)
		used += n
		return err
	})
	return used, err
}

// writtenEnd returns the offset behind the last byte of a file that is not zero.
func writtenEnd(path string) (end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 256<<10)
	for end = st.Size(); end > 0; {
		from := max(0, end-int64(len(buf)))
		n, err := f.ReadAt(buf[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for ; n > 0; n-- {
			if buf[n-1] != 0 {
				return from + int64(n), nil
			}
		}
		end = from
	}
	return 0, nil
}
