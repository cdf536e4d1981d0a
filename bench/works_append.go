package main

import (
	"fmt"
	"time"
)

// preparer is a log that prepares files in the background, and can wait until that is done.
type preparer interface{ awaitPrepared() error }

// staller is a log that says how long appends have waited for files to be prepared.
type staller interface{ stalled() time.Duration }

func cellID(size, goroutines int) string { return fmt.Sprintf("%dx%d", size, goroutines) }

func sizeTitle(n int) string {
	switch {
	case n < 1024:
		return fmt.Sprintf("%d B", n)
	case n < mib:
		return fmt.Sprintf("%d KiB", n/1024)
	case n < gib:
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d GiB", n/gib)
}

// unsyncedCells are appends without a sync, inside a segment.
func unsyncedCells(cfg *config) (cells []*cell) {
	for _, size := range cfg.sizes {
		for _, g := range cfg.goroutines {
			c := &cell{
				work: "unsynced", id: cellID(size, g),
				title: fmt.Sprintf("%s × %d", sizeTitle(size), g),
			}
			for _, impl := range withCaps(canAppend) {
				c.contenders = append(c.contenders, contender{
					name: impl.Name,
					run: func(dir string, _ *filled) (metrics, error) {
						return runUnsynced(cfg, impl, dir, size, g)
					},
				})
			}
			cells = append(cells, c)
		}
	}
	return cells
}

func runUnsynced(
	cfg *config, impl *Impl, dir string, size, goroutines int,
) (m metrics, err error) {
	l, err := impl.start(dir, OpenOptions{Segment: cfg.segment}, goroutines)
	if err != nil {
		return nil, err
	}
	defer closeLog(l, &err)
	if err := warm(l, cfg.segment); err != nil {
		return nil, err
	}
	return drive(l, load{
		goroutines: goroutines, size: size, most: roomFor(cfg.segment, size),
		budget: cfg.appendTime, chunk: max(1, min(64, 16384/int64(size))),
	})
}

// warm appends a quarter of a segment, and waits for what is prepared in the background then, so
// that what is measured next is appends to a file that is there, and nothing else.
func warm(l Log, segment int64) error {
	n := min(segment/64, 64<<10)
	filler := payload(0, int(n))
	for range segment / 4 / n {
		if err := l.Append(filler); err != nil {
			return err
		}
	}
	if p, ok := l.(preparer); ok {
		return p.awaitPrepared()
	}
	return nil
}

// roomFor returns how many records of a size everybody may append after warm: so many that nobody
// comes to the end of the segment. 64 bytes a record are more than anybody adds.
func roomFor(segment int64, size int) int64 {
	return (segment*3/4 - segment/32) / int64(size+64)
}

// sustainedCells are appends without a sync over many segments, as fast as they go: then the disk
// decides.
func sustainedCells(cfg *config) (cells []*cell) {
	for _, size := range []int{128, 16384} {
		c := &cell{
			work: "sustained", id: cellID(size, 1), title: sizeTitle(size), rounds: cfg.longRounds,
		}
		for _, impl := range withCaps(canAppend) {
			c.contenders = append(c.contenders, contender{
				name: impl.Name,
				run: func(dir string, _ *filled) (metrics, error) {
					return runSustained(cfg, impl, dir, size)
				},
			})
		}
		cells = append(cells, c)
	}
	return cells
}

func runSustained(cfg *config, impl *Impl, dir string, size int) (m metrics, err error) {
	l, err := impl.start(dir, OpenOptions{Segment: cfg.segment}, 1)
	if err != nil {
		return nil, err
	}
	defer closeLog(l, &err)
	start := time.Now()
	m, err = drive(l, load{
		goroutines: 1, size: size, most: cfg.sustained / int64(size),
		budget: cfg.flatOut, chunk: 16,
	})
	if k, ok := l.(staller); ok && err == nil {
		m["stalled"] = float64(k.stalled()) / float64(time.Since(start))
	}
	return m, err
}

// durableCells are appends that are durable when they return.
func durableCells(cfg *config) (cells []*cell) {
	for _, size := range []int{128, 16384} {
		for _, g := range cfg.writers {
			c := &cell{
				work: "durable", id: cellID(size, g),
				title: fmt.Sprintf("%s × %d", sizeTitle(size), g),
			}
			for _, impl := range withCaps(canDurable) {
				if g == 1 && impl == diskGroupLimitImpl {
					continue
				}
				c.contenders = append(c.contenders, durable(cfg, impl, load{
					goroutines: g, size: size,
				}))
			}
			cells = append(cells, c)
		}
	}
	return cells
}

// batchCells are batches that are durable when they return.
func batchCells(cfg *config) []*cell {
	c := &cell{work: "batch", id: "100x128", title: "100 × 128 B"}
	for _, impl := range withCaps(canBatch) {
		c.contenders = append(c.contenders, durable(cfg, impl, load{
			goroutines: 1, size: 128, batch: 100,
		}))
	}
	return []*cell{c}
}

// durable returns a contender that runs a load with a durable log, and counts what the device
// does.
func durable(cfg *config, impl *Impl, w load) contender {
	w.most, w.budget, w.chunk = 1<<40, cfg.durableTime, 1
	return contender{name: impl.Name, run: func(dir string, _ *filled) (metrics, error) {
		return runDurable(cfg, impl, dir, w)
	}}
}

func runDurable(cfg *config, impl *Impl, dir string, w load) (m metrics, err error) {
	l, err := impl.start(dir, OpenOptions{Segment: cfg.segment, Durable: true}, w.goroutines)
	if err != nil {
		return nil, err
	}
	defer closeLog(l, &err)
	op := w.appender(l, 0)
	for range 4 { // the first ones create files
		if err := op(); err != nil {
			return nil, err
		}
	}
	time.Sleep(cfg.durableTime / 4) // files that are prepared in the background
	before, statErr := deviceCounters(dir)
	m, err = drive(l, w)
	if err != nil || statErr != nil {
		return m, err
	}
	after, err := deviceCounters(dir)
	n := m["ops"]
	m["ios"] = float64(after.writes-before.writes) / n
	m["flushes"] = float64(after.flushes-before.flushes) / n
	m["bytes"] = float64(after.bytes-before.bytes) / n
	return m, err
}
