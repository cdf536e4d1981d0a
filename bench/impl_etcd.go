package main

import (
	"errors"
	"io"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

var etcdImpl = &Impl{
	Name:   "etcd wal",
	module: "go.etcd.io/etcd/server/v3",
	caps:   peerCaps | isChecked | wantsGroup,
	open:   openEtcd,
	recover: func(dir string, o OpenOptions) (int64, error) {
		wal.SegmentSizeBytes = o.Segment
		w, err := wal.Open(zap.NewNop(), etcdDir(dir), &walpb.Snapshot{})
		if err != nil {
			return 0, err
		}
		_, _, ents, err := w.ReadAll()
		if errors.Is(err, io.ErrUnexpectedEOF) { // then etcd calls Repair and starts again
			w.Close()
			if !wal.Repair(zap.NewNop(), etcdDir(dir)) {
				return 0, err
			}
			if w, err = wal.Open(zap.NewNop(), etcdDir(dir), &walpb.Snapshot{}); err == nil {
				_, _, ents, err = w.ReadAll()
			}
		}
		return int64(len(ents)), err
	},
}

type etcdLog struct {
	unreadable
	mu    sync.Mutex // the caller numbers the entries, so it has to order them
	w     *wal.WAL
	dir   string
	next  uint64
	state raftpb.HardState
}

func etcdDir(dir string) string { return filepath.Join(dir, "wal") }

func openEtcd(dir string, o OpenOptions) (Log, error) {
	wal.SegmentSizeBytes = o.Segment
	w, err := wal.Create(zap.NewNop(), etcdDir(dir), nil)
	if err != nil {
		return nil, err
	}
	if !o.Durable {
		w.SetUnsafeNoFsync()
	}
	return &etcdLog{w: w, dir: etcdDir(dir), next: 1}, nil
}

func (l *etcdLog) entry(p []byte) *raftpb.Entry {
	index, term := l.next, uint64(1)
	l.next++
	return &raftpb.Entry{Term: &term, Index: &index, Data: p}
}

func (l *etcdLog) Append(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Save(&l.state, []*raftpb.Entry{l.entry(p)})
}

func (l *etcdLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ents := make([]*raftpb.Entry, len(ps))
	for i, p := range ps {
		ents[i] = l.entry(p)
	}
	return l.w.Save(&l.state, ents)
}

func (l *etcdLog) Sync() error { return l.w.Sync() }

// Scan is ReadAll, which is the only way to read: it decodes all entries into memory first.
func (l *etcdLog) Scan(fn func(uint64, []byte) error) error {
	r, err := wal.OpenForRead(zap.NewNop(), l.dir, &walpb.Snapshot{})
	if err != nil {
		return err
	}
	defer r.Close()
	_, _, ents, err := r.ReadAll()
	if err != nil {
		return err
	}
	for _, e := range ents {
		if err := fn(e.GetIndex(), e.GetData()); err != nil {
			return err
		}
	}
	return nil
}

func (l *etcdLog) Close() error { return l.w.Close() }
