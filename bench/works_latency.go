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
	times, err := pace(l, p, cfg.latency/int64(size), cfg.rate)
	if err != nil {
		return nil, err
	}
	return times.metrics(size), nil
}

// paced is what appends at a pace have taken.
type paced struct {
	calls histogram // from the beginning of the call
	due   histogram // from when the append was due: a stall is in all that it has held up
	took  time.Duration
}

func (p *paced) metrics(size int) metrics {
	n := float64(p.calls.n)
	m := metrics{
		"MB/s":  n * float64(size) / p.took.Seconds() / 1e6,
		"bytes": n * float64(size),
	}
	for name, h := range map[string]*histogram{"": &p.calls, fromDue: &p.due} {
		for _, q := range percentiles {
			m[name+q.name] = h.quantile(q.share)
		}
		m[name+"max"] = float64(h.max)
	}
	return m
}

// fromDue begins the names of metrics that count from when an append was due.
const fromDue = "due "

var percentiles = []struct {
	name  string
	share float64
}{{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"p99.99", .9999}}

// pace appends p n times, rate bytes a second. Behind its time it goes as fast as it can, and gives
// up at twice the time.
func pace(l Log, p []byte, n, rate int64) (*paced, error) {
	r := new(paced)
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
			return r, err
		}
		now = time.Since(begun)
		r.calls.add(uint64(now - before))
		r.due.add(uint64(now - due))
	}
	r.took = now
	return r, nil
}
