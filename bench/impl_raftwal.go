package main

import (
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

var raftWALImpl = &Impl{
	Name:   "hashicorp/raft-wal",
	module: "github.com/hashicorp/raft-wal",
	caps:   peerCaps | canRead | wantsGroup,
	open:   openRaftWAL,
	recover: func(dir string, o OpenOptions) (int64, error) {
		l, err := openRaftWAL(dir, o)
		if err != nil {
			return 0, err
		}
		last, err := l.(*raftLog).log.LastIndex()
		return int64(last), err
	},
}

type raftLog struct {
	mu   sync.Mutex // the caller numbers the records, so it has to order them
	log  *raftwal.WAL
	next uint64
	out  raft.Log
}

func openRaftWAL(dir string, o OpenOptions) (Log, error) {
	var vfs types.VFS = fs.New()
	if !o.Durable {
		vfs = unsyncedVFS{vfs}
	}
	log, err := raftwal.Open(dir,
		raftwal.WithSegmentSize(int(o.Segment)),
		raftwal.WithSegmentFiler(segment.NewFiler(dir, vfs)),
		raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return nil, err
	}
	last, err := log.LastIndex()
	return &raftLog{log: log, next: last + 1}, err
}

func (l *raftLog) Append(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.log.StoreLog(&raft.Log{Index: l.next, Term: 1, Data: p}); err != nil {
		return err
	}
	l.next++
	return nil
}

func (l *raftLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	logs := make([]*raft.Log, len(ps))
	for i, p := range ps {
		logs[i] = &raft.Log{Index: l.next + uint64(i), Term: 1, Data: p}
	}
	if err := l.log.StoreLogs(logs); err != nil {
		return err
	}
	l.next += uint64(len(ps))
	return nil
}

func (l *raftLog) Sync() error { return nil }

func (l *raftLog) Read(seq uint64, _ []byte) ([]byte, error) {
	err := l.log.GetLog(seq, &l.out)
	return l.out.Data, err
}

func (l *raftLog) Scan(fn func(uint64, []byte) error) error {
	return scanByRead(l, l.next-1, fn)
}

func (l *raftLog) Close() error { return l.log.Close() }

// unsyncedVFS leaves out the sync of every append. raft-wal has no option for that.
type unsyncedVFS struct{ types.VFS }

func (v unsyncedVFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := v.VFS.Create(dir, name, size)
	return unsyncedFile{f}, err
}

func (v unsyncedVFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := v.VFS.OpenWriter(dir, name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ types.WritableFile }

func (unsyncedFile) Sync() error { return nil }
