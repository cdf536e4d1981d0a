package main

import (
	"sync"

	"github.com/tidwall/wal"
)

var tidwallImpl = &Impl{
	Name:   "tidwall/wal",
	module: "github.com/tidwall/wal",
	caps:   peerCaps | canRead | wantsGroup,
	open:   openTidwall,
	recover: func(dir string, o OpenOptions) (int64, error) {
		l, err := openTidwall(dir, o)
		if err != nil {
			return 0, err
		}
		last, err := l.(*tidwallLog).log.LastIndex()
		return int64(last), err
	},
}

type tidwallLog struct {
	mu    sync.Mutex // the caller numbers the records, so it has to order them
	log   *wal.Log
	next  uint64
	batch wal.Batch
}

func openTidwall(dir string, o OpenOptions) (Log, error) {
	opts := *wal.DefaultOptions
	opts.NoSync = !o.Durable
	opts.SegmentSize = int(o.Segment)
	log, err := wal.Open(dir, &opts)
	if err != nil {
		return nil, err
	}
	last, err := log.LastIndex()
	return &tidwallLog{log: log, next: last + 1}, err
}

func (l *tidwallLog) Append(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.log.Write(l.next, p); err != nil {
		return err
	}
	l.next++
	return nil
}

func (l *tidwallLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batch.Clear()
	for i, p := range ps {
		l.batch.Write(l.next+uint64(i), p)
	}
	if err := l.log.WriteBatch(&l.batch); err != nil {
		return err
	}
	l.next += uint64(len(ps))
	return nil
}

func (l *tidwallLog) Sync() error { return l.log.Sync() }

func (l *tidwallLog) Read(seq uint64, _ []byte) ([]byte, error) { return l.log.Read(seq) }

func (l *tidwallLog) Scan(fn func(uint64, []byte) error) error {
	return scanByRead(l, l.next-1, fn)
}

func (l *tidwallLog) Close() error { return l.log.Close() }

// scanByRead is Scan for logs that can do no better than read each record by its seq.
func scanByRead(l Log, last uint64, fn func(uint64, []byte) error) error {
	var buf []byte
	for seq := uint64(1); seq <= last; seq++ {
		p, err := l.Read(seq, buf)
		if err == nil {
			err = fn(seq, p)
		}
		if err != nil {
			return err
		}
		buf = p
	}
	return nil
}
