package main

import (
	"runtime"
	"time"
)

// latencyImpls keep up with the pace, or nearly.
var latencyImpls = []*Impl{oursImpl, mappedLimitImpl, pebbleImpl, prometheusImpl}

// latencyCells append 128 B at a steady pace over many segments, and take the time of every append.
func latencyCells(cfg *config) []*cell {
	c := &cell{work: "latency", id: "128", title: "128 B, paced", rounds: cfg.longRounds}
	for _, impl := range latencyImpls {
		c.contenders = append(c.contenders, contender{
			name: impl.Name,
			run: func(dir string, _ *filled) (metrics, error) {
				return runLatency(cfg, impl, dir, 128)
			},
		})
	}
	return []*cell{c}
}

func runLatency(cfg *config, impl *Impl, dir string, size int) (m metrics, err error) {
	l, err := impl.start(dir, OpenOptions{Segment: cfg.segment}, 1)
	if err != nil {
		return nil, err
	}
	defer closeLog(l, &err)
	p := payload(1, size)
	if err := l.Append(p); err != nil {
		return nil, err
	}
	runtime.GC()
	h, took, err := pace(l, p, cfg.latency/int64(size), cfg.rate)
	if err != nil {
		return nil, err
	}
	return metrics{
		"p50": h.quantile(.5), "p90": h.quantile(.9), "p99": h.quantile(.99),
		"p99.9": h.quantile(.999), "p99.99": h.quantile(.9999), "max": float64(h.max),
		"MB/s": float64(h.n) * float64(size) / took.Seconds() / 1e6,
	}, nil
}

// pace appends p n times, rate bytes a second. Behind its time it goes as fast as it can, and gives
// up at twice the time.
func pace(l Log, p []byte, n, rate int64) (h *histogram, took time.Duration, err error) {
	h = new(histogram)
	gap := float64(len(p)) * 1e9 / float64(rate)
	limit := time.Duration(2 * gap * float64(n))
	begun := time.Now()
	now := time.Duration(0)
	for i := int64(0); i < n && now < limit; i++ {
		due := time.Duration(gap * float64(i))
		for now < due {
			now = time.Since(begun)
		}
		before := now
		if err := l.Append(p); err != nil {
			return h, now, err
		}
		now = time.Since(begun)
		h.add(uint64(now - before))
	}
	return h, now, nil
}
