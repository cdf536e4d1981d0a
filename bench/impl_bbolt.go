package main

import (
	"encoding/binary"
	"path/filepath"
	"sync"

	"go.etcd.io/bbolt"
)

var bboltImpl = &Impl{
	Name:   "bbolt",
	module: "go.etcd.io/bbolt",
	caps:   peerCaps | canRead | wantsGroup,
	open:   openBbolt,
	recover: func(dir string, o OpenOptions) (n int64, err error) {
		l, err := openBbolt(dir, o)
		if err != nil {
			return 0, err
		}
		return int64(l.(*bboltLog).next - 1), nil
	},
}

var bboltBucket = []byte("logs")

type bboltLog struct {
	mu   sync.Mutex // the caller numbers the records, so it has to order them
	db   *bbolt.DB
	next uint64
}

func openBbolt(dir string, o OpenOptions) (Log, error) {
	db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600,
		&bbolt.Options{NoSync: !o.Durable, NoGrowSync: !o.Durable,
			NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	l := &bboltLog{db: db, next: 1}
	return l, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bboltBucket)
		if err != nil {
			return err
		}
		if k, _ := b.Cursor().Last(); k != nil {
			l.next = binary.BigEndian.Uint64(k) + 1
		}
		return nil
	})
}

func (l *bboltLog) Append(p []byte) error { return l.AppendBatch([][]byte{p}) }

func (l *bboltLog) AppendBatch(ps [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bboltBucket)
		for i, p := range ps {
			key := binary.BigEndian.AppendUint64(nil, l.next+uint64(i))
			if err := b.Put(key, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		l.next += uint64(len(ps))
	}
	return err
}

func (l *bboltLog) Sync() error { return l.db.Sync() }

func (l *bboltLog) Read(seq uint64, buf []byte) (p []byte, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		var key [8]byte
		binary.BigEndian.PutUint64(key[:], seq)
		p = append(buf[:0], tx.Bucket(bboltBucket).Get(key[:])...)
		return nil
	})
	return p, err
}

func (l *bboltLog) Scan(fn func(uint64, []byte) error) error {
	return l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bboltBucket).ForEach(func(k, v []byte) error {
			return fn(binary.BigEndian.Uint64(k), v)
		})
	})
}

func (l *bboltLog) Close() error { return l.db.Close() }
