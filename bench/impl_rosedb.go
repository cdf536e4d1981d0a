package main

import (
	"errors"
	"io"
	"sync"

	"github.com/rosedblabs/wal"
)

var rosedbImpl = &Impl{
	Name:   "rosedblabs/wal",
	module: "github.com/rosedblabs/wal",
	caps:   peerCaps | canRead | isChecked | wantsGroup,
	open:   openRosedb,
	recover: func(dir string, o OpenOptions) (int64, error) {
		l, err := openRosedb(dir, o)
		if err != nil {
			return 0, err
		}
		// A user has to read everything, to learn the positions that reads take.
		err = l.Scan(func(uint64, []byte) error { return nil })
		return int64(l.(*rosedbLog).seen), err
	},
}

type rosedbLog struct {
	mu   sync.Mutex // orders records and positions
	log  *wal.WAL
	sync bool
	at   []*wal.ChunkPosition // of each record, as a user has to keep them
	seen uint64
}

func openRosedb(dir string, o OpenOptions) (Log, error) {
	opts := wal.DefaultOptions
	opts.DirPath = dir
	opts.SegmentSize = o.Segment
	opts.Sync = o.Durable
	log, err := wal.Open(opts)
	return &rosedbLog{log: log, sync: o.Durable}, err
}

func (l *rosedbLog) Append(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := l.log.Write(p)
	if err != nil {
		return err
	}
	l.at = append(l.at, at)
	return nil
}

// AppendBatch does what rosedb's own batches do.
func (l *rosedbLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range ps {
		l.log.PendingWrites(p)
	}
	at, err := l.log.WriteAll()
	if err != nil {
		return err
	}
	l.at = append(l.at, at...)
	if !l.sync {
		return nil
	}
	return l.log.Sync()
}

func (l *rosedbLog) Sync() error { return l.log.Sync() }

func (l *rosedbLog) Read(seq uint64, _ []byte) ([]byte, error) { return l.log.Read(l.at[seq-1]) }

func (l *rosedbLog) Scan(fn func(uint64, []byte) error) error {
	r := l.log.NewReader()
	for l.seen = 0; ; {
		p, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			l.seen++
			err = fn(l.seen, p)
		}
		if err != nil {
			return err
		}
	}
}

func (l *rosedbLog) Close() error { return l.log.Close() }
