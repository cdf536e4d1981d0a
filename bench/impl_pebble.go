package main

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

var (
	pebbleImpl = &Impl{
		Name:   "Pebble",
		module: "github.com/cockroachdb/pebble/v2",
		caps:   peerCaps | isChecked | oneByOne,
		open:   func(dir string, o OpenOptions) (Log, error) { return openPebble(dir, o, false) },
		// Pebble replays the whole log at open. What is there was filled with batches.
		recover: func(dir string, _ OpenOptions) (n int64, err error) {
			err = scanPebble(dir, true, func(uint64, []byte) error { n++; return nil })
			return n, err
		},
	}

	// pebbleRecycledImpl is what Pebble is after a while: each file is one that is not needed any
	// more, written over.
	pebbleRecycledImpl = &Impl{
		Name: "Pebble, recycled files",
		caps: canDurable | canBatch,
		open: func(dir string, o OpenOptions) (Log, error) { return openPebble(dir, o, true) },
	}
)

type pebbleLog struct {
	unreadable
	dir     string
	segment int64
	durable bool
	recycle bool
	m       wal.Manager
	slots   chan struct{} // bounds the syncs that are waited for

	mu      sync.Mutex // Pebble's commit pipeline orders the records
	w       wal.Writer
	num     wal.NumWAL
	batch   []byte
	batched bool // records hold several payloads each
}

func openPebble(dir string, o OpenOptions, recycle bool) (Log, error) {
	l := &pebbleLog{
		dir: dir, segment: o.Segment, durable: o.Durable, recycle: recycle,
		slots: make(chan struct{}, record.SyncConcurrency-1),
	}
	var err error
	l.m, err = wal.Init(wal.Options{
		Primary:              wal.Dir{FS: vfs.Default, Dirname: dir},
		MaxNumRecyclableLogs: 4,
		PreallocateSize:      func() int { return int(o.Segment) },
		QueueSemChan:         l.slots,
		EventListener:        pebbleEvents{},
		WriteWALSyncOffsets:  func() bool { return true },
	}, nil)
	if err != nil {
		return nil, err
	}
	if err = l.roll(); err == nil && recycle {
		err = l.fillForRecycling()
	}
	return l, err
}

type pebbleEvents struct{}

func (pebbleEvents) LogCreated(wal.CreateInfo) {}

// fillForRecycling writes two files full and gives them up, so that the next ones are recycled.
func (l *pebbleLog) fillForRecycling() error {
	p := make([]byte, 32<<10)
	for start := l.num; l.num < start+3; {
		if err := l.write(p, wal.SyncOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// roll begins a new file. With recycling the older ones are free from then on, as after the flush
// of a memtable.
func (l *pebbleLog) roll() (err error) {
	if l.w != nil {
		if _, err := l.w.Close(); err != nil {
			return err
		}
	}
	l.num++
	if l.w, err = l.m.Create(l.num, int(l.num)); err != nil || !l.recycle {
		return err
	}
	_, err = l.m.Obsolete(l.num, false)
	return err
}

func (l *pebbleLog) write(p []byte, o wal.SyncOptions) error {
	at, err := l.w.WriteRecord(p, o, nil)
	if err == nil && at >= l.segment {
		err = l.roll()
	}
	return err
}

// commit is what Pebble's commit pipeline does: write under a lock, then wait without it. It
// unlocks l.mu.
func (l *pebbleLog) commit(p []byte) error {
	if !l.durable {
		defer l.mu.Unlock()
		return l.write(p, wal.SyncOptions{})
	}
	var done sync.WaitGroup
	var syncErr error
	done.Add(1)
	l.slots <- struct{}{}
	err := l.write(p, wal.SyncOptions{Done: &done, Err: &syncErr})
	l.mu.Unlock()
	if err != nil {
		return err
	}
	done.Wait()
	return syncErr
}

func (l *pebbleLog) Append(p []byte) error {
	l.mu.Lock()
	return l.commit(p)
}

// AppendBatch writes one record, as Pebble does with a batch.
func (l *pebbleLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	l.batched = true
	b := l.batch[:0]
	for _, p := range ps {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	l.batch = b
	return l.commit(b)
}

func (l *pebbleLog) Sync() error {
	durable := l.durable
	l.durable = true
	err := l.Append(nil)
	l.durable = durable
	return err
}

// Scan begins a new file first: the writer keeps records in memory of its own.
func (l *pebbleLog) Scan(fn func(uint64, []byte) error) error {
	l.mu.Lock()
	err := l.roll()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return scanPebble(l.dir, l.batched, fn)
}

func scanPebble(dir string, batched bool, fn func(uint64, []byte) error) error {
	logs, err := wal.Scan(wal.Dir{FS: vfs.Default, Dirname: dir})
	if err != nil {
		return err
	}
	s := pebbleScan{batched: batched, fn: fn}
	for _, log := range logs {
		if err := s.file(log); err != nil {
			return err
		}
	}
	return nil
}

type pebbleScan struct {
	batched bool
	fn      func(uint64, []byte) error
	seq     uint64
	buf     []byte
}

func (s *pebbleScan) file(log wal.LogicalLog) error {
	_, path := log.SegmentLocation(0)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := newReader(record.NewReader, f, uint64(log.Num))
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) || record.IsInvalidRecord(err) {
			return nil // its way to say that the file ends
		}
		if err == nil {
			s.buf, err = readInto(rec, s.buf)
		}
		if err == nil {
			err = s.record(s.buf)
		}
		if err != nil {
			return err
		}
	}
}

// newReader is there to convert num to a type that has no public name.
func newReader[N ~uint64](
	open func(io.Reader, N) *record.Reader, r io.Reader, num uint64,
) *record.Reader {
	return open(r, N(num))
}

func (s *pebbleScan) record(p []byte) error {
	if !s.batched {
		s.seq++
		return s.fn(s.seq, p)
	}
	for len(p) > 0 {
		n, k := binary.Uvarint(p)
		if k <= 0 || n > uint64(len(p)-k) {
			return errors.New("not a record of a batch")
		}
		end := k + int(n)
		s.seq++
		if err := s.fn(s.seq, p[k:end]); err != nil {
			return err
		}
		p = p[end:]
	}
	return nil
}

// readInto reads all of r into buf's memory, which grows if need be.
func readInto(r io.Reader, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

func (l *pebbleLog) Close() error {
	_, err := l.w.Close()
	return errors.Join(err, l.m.Close())
}
