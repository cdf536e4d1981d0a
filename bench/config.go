package main

import (
	"regexp"
	"time"
)

// config is how much is done.
type config struct {
	mode    string
	rounds  int
	segment int64
	only    *regexp.Regexp // nil: everything
	dir     string         // of temporary files

	appendTime  time.Duration // of a run of unsynced appends
	durableTime time.Duration // of a run of durable appends
	latency     int64         // bytes that the latency work appends
	rate        int64         // bytes per second, of payload
	sustained   int64         // bytes, and
	flatOut     time.Duration // the time that they may take
	read        int64         // bytes of payload that the read works read
	readMost    int           // records
	reopen      []int64       // bytes
	space       int64         // bytes that the space work appends

	longRounds int   // of works whose runs take long; 0: rounds
	sizes      []int // of records
	goroutines []int // of unsynced appends
	writers    []int // of durable appends
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// standard is the configuration without a flag.
func standard() config {
	return config{
		mode: "standard", rounds: 5, segment: 64 * mib,
		appendTime: 50 * time.Millisecond, durableTime: 300 * time.Millisecond,
		latency: 2 * gib, rate: 200e6, sustained: gib, flatOut: 3 * time.Second,
		read: 48 * mib, readMost: 500_000,
		reopen: []int64{gib}, space: 160 * mib,
		sizes:      []int{16, 128, 1024, 16384},
		goroutines: []int{1, 2, 4, 16, 64},
		writers:    []int{1, 8, 64, 256},
	}
}

// short is for a look: at most five minutes.
func short() config {
	c := standard()
	c.mode, c.rounds = "short", 3
	c.appendTime, c.durableTime = 15*time.Millisecond, 100*time.Millisecond
	c.latency, c.sustained, c.flatOut = 256*mib, 256*mib, time.Second
	c.read, c.readMost = 16*mib, 100_000
	c.goroutines = []int{1, 2, 64}
	c.reopen, c.space = []int64{256 * mib}, 96*mib
	return c
}

// full is for figures that are published.
func full() config {
	c := standard()
	c.mode, c.rounds, c.longRounds = "full", 5, 2
	c.latency, c.sustained = 10*gib, 2*gib
	c.durableTime = 1200 * time.Millisecond // 16 KiB × 1 fills two segments, not half of one
	c.read = 128 * mib
	c.reopen = []int64{gib, 4 * gib}
	return c
}

// smoke runs everything once, with hardly any data.
func smoke() config {
	c := standard()
	c.mode, c.rounds, c.segment = "smoke", 1, mib
	c.appendTime, c.durableTime = time.Millisecond, 2*time.Millisecond
	c.latency, c.sustained, c.read, c.readMost = mib, mib, 64<<10, 200
	c.reopen, c.space = []int64{2 * mib}, 2*mib
	c.sizes, c.goroutines, c.writers = []int{16, 16384}, []int{1, 4}, []int{1, 8}
	return c
}

// wants reports whether the run of an implementation in a cell is asked for.
func (cfg *config) wants(work, cell, impl string) bool {
	return cfg.only == nil || cfg.only.MatchString(work+"/"+cell+"/"+impl)
}

// needs is how many bytes of disk are used at a time at most.
func (cfg *config) needs() int64 {
	most := max(cfg.latency, cfg.sustained, 12*cfg.read, cfg.space)
	for _, n := range cfg.reopen {
		most = max(most, n*int64(len(withCaps(canReopen))+1)) // all at once; bbolt takes more
	}
	return most + most/4 + 8*cfg.segment + gib/4
}
