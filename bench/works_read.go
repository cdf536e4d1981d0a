package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// filled is a log that was filled for the rounds of a cell.
type filled struct {
	log Log    // nil if another process filled it
	n   uint64 // records

	opened bool // somebody has opened it since the process that filled it was killed
}

// fill opens a log and appends n records of a size; record seq is payload(seq, size).
func fill(impl *Impl, dir string, o OpenOptions, n uint64, size int) (*filled, error) {
	o.Total = int64(n) * frame8(size)
	l, err := impl.start(dir, o, 1)
	if err != nil {
		return nil, err
	}
	batch := uint64(min(100, max(1, mib/8/size)))
	if impl.limit() || impl.can(oneByOne) {
		batch = 1
	}
	ps := make([][]byte, 0, batch)
	for seq := uint64(1); seq <= n; {
		ps = ps[:0]
		for ; seq <= n && uint64(len(ps)) < batch; seq++ {
			ps = append(ps, payload(seq, size))
		}
		if batch == 1 {
			err = l.Append(ps[0])
		} else {
			err = l.AppendBatch(ps)
		}
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("record %d: %w", seq, err)
		}
	}
	return &filled{log: l, n: n}, nil
}

func (cfg *config) records(size int) uint64 {
	return uint64(min(cfg.readMost, int(cfg.read)/size))
}

// sequentialCells read everything, in order.
func sequentialCells(cfg *config) []*cell {
	return readCells(cfg, "sequential", canScan, func(f *filled) (uint64, error) {
		n, sum := uint64(0), uint64(0)
		err := f.log.Scan(func(_ uint64, p []byte) error {
			n++
			sum += touch(p)
			return nil
		})
		touched.Store(sum)
		if err == nil && n != f.n {
			err = fmt.Errorf("%d records instead of %d", n, f.n)
		}
		return n, err
	})
}

// touch loads a byte of each cache line of p, so that a log that hands out memory which it has not
// looked at reads it all the same.
func touch(p []byte) (sum uint64) {
	for i := 0; i < len(p); i += 64 {
		sum += uint64(p[i])
	}
	return sum
}

// touched keeps what touch returns from being optimised away.
var touched atomic.Uint64

// randomCells read records by their seq.
func randomCells(cfg *config) []*cell {
	return readCells(cfg, "random", canRead, func(f *filled) (n uint64, err error) {
		rnd := rand.New(rand.NewPCG(1, 2))
		var buf []byte
		for ; n < min(f.n, 50_000); n++ {
			if buf, err = f.log.Read(1+rnd.Uint64N(f.n), buf); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

func readCells(cfg *config, work string, can caps, read func(*filled) (uint64, error),
) (cells []*cell) {
	for _, size := range cfg.sizes {
		c := &cell{work: work, id: fmt.Sprint(size), title: sizeTitle(size)}
		for _, impl := range withCaps(can) {
			c.contenders = append(c.contenders, contender{
				name: impl.Name,
				setup: func(dir string) (*filled, error) {
					f, err := fill(impl, dir, OpenOptions{Segment: cfg.segment},
						cfg.records(size), size)
					if err == nil {
						_, err = read(f) // once, so that caches and tables are there
					}
					return f, err
				},
				run: func(_ string, f *filled) (metrics, error) { return timeRead(f, read) },
			})
		}
		cells = append(cells, c)
	}
	return cells
}

func timeRead(f *filled, read func(*filled) (uint64, error)) (metrics, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	n, err := read(f)
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	return metrics{
		"ns":     float64(took) / float64(n),
		"allocs": float64(after.Mallocs-before.Mallocs) / float64(n),
	}, err
}
