package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const reopenRecord = 16 << 10

// reopenCells open what a process left that was killed after it had appended durably.
func reopenCells(cfg *config) (cells []*cell) {
	for _, size := range cfg.reopen {
		c := &cell{
			work: "reopen", id: fmt.Sprint(size / mib), title: sizeTitle(int(size)),
			rounds: cfg.longRounds,
		}
		for _, impl := range withCaps(canReopen) {
			if impl == etcdImpl && size > gib {
				continue // reads everything into memory
			}
			c.contenders = append(c.contenders, reopen(cfg, impl, size))
		}
		cells = append(cells, c)
	}
	return cells
}

// reopen returns a contender: ns is with what an Open reads in the page cache, cold without, and
// first is the one after the kill, in the first round. The page cache does not hold the files of
// all contenders at once, so each round brings them in anew.
func reopen(cfg *config, impl *Impl, size int64) contender {
	base := task{
		Impl: impl.Name, Size: reopenRecord,
		N:       uint64((size - cfg.segment/2) / reopenRecord), // the last segment is half full
		Options: OpenOptions{Segment: cfg.segment, Durable: true},
	}
	return contender{
		name: impl.Name,
		setup: func(dir string) (*filled, error) {
			t := base
			t.Kind, t.Dir = "fill", dir
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			m, err := t.startAndKill()
			return &filled{n: uint64(m["records"])}, err
		},
		run: func(dir string, f *filled) (metrics, error) {
			t := base
			t.Kind, t.Dir = "recover", dir
			return runReopen(&t, f)
		},
	}
}

func runReopen(t *task, f *filled) (metrics, error) {
	m := metrics{}
	first, err := recoverAll(t, f.n) // brings in what an Open reads
	if err != nil {
		return nil, err
	}
	if !f.opened {
		m["first"], f.opened = first, true
	}
	if m["ns"], err = recoverAll(t, f.n); err != nil {
		return nil, err
	}
	if err := dropCaches(t.Dir); err != nil {
		return nil, err
	}
	if m["cold"], err = recoverAll(t, f.n); err != nil {
		return nil, err
	}
	// The others' files are not to be driven out of the page cache by these.
	return m, dropCaches(t.Dir)
}

// unclaimed is how much is there to be synced and checked.
const unclaimed = 64 * mib

// unclaimedCells open what a process left that was killed after it had appended without a sync.
func unclaimedCells(cfg *config) []*cell {
	size := min(unclaimed, cfg.reopen[0])
	c := &cell{work: "unclaimed", id: fmt.Sprint(size / mib), title: sizeTitle(int(size))}
	for _, impl := range withCaps(canResync) {
		t := task{
			Impl: impl.Name, Size: reopenRecord, N: uint64(size / reopenRecord),
			Options: OpenOptions{Segment: cfg.segment, Total: size},
		}
		c.contenders = append(c.contenders, contender{
			name: impl.Name,
			run: func(dir string, _ *filled) (metrics, error) {
				t := t
				t.Kind, t.Dir = "fill", dir
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return nil, err
				}
				m, err := t.startAndKill()
				if err != nil {
					return nil, err
				}
				t.Kind = "recover"
				ns, err := recoverAll(&t, uint64(m["records"]))
				return metrics{"ns": ns}, err
			},
		})
	}
	return []*cell{c}
}

// recoverAll returns how long it takes to open the log; all records must be there.
func recoverAll(t *task, want uint64) (ns float64, err error) {
	m, err := t.start()
	if n := m["records"]; err == nil && n >= 0 && n != float64(want) {
		err = fmt.Errorf("%.0f records instead of %d after kill -9", n, want)
	}
	return m["ns"], err
}

// dropCaches drops the pages of all files below dir from the page cache.
func dropCaches(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
