package main

import (
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

var prometheusImpl = &Impl{
	Name:   "Prometheus wlog",
	module: "github.com/prometheus/prometheus",
	caps:   peerCaps | isChecked | wantsGroup,
	open:   openPrometheus,
	recover: func(dir string, o OpenOptions) (int64, error) {
		n := int64(0)
		err := scanPrometheus(dir, func(uint64, []byte) error { n++; return nil })
		if err == nil {
			_, err = openPrometheus(dir, o)
		}
		return n, err
	},
}

type prometheusLog struct {
	unreadable
	w    *wlog.WL
	dir  string
	sync bool
}

func openPrometheus(dir string, o OpenOptions) (Log, error) {
	w, err := wlog.NewSize(nil, nil, dir, int(o.Segment), compression.Snappy)
	return &prometheusLog{w: w, dir: dir, sync: o.Durable}, err
}

func (l *prometheusLog) Append(p []byte) error {
	if err := l.w.Log(p); err != nil || !l.sync {
		return err
	}
	return l.w.Sync()
}

func (l *prometheusLog) AppendBatch(ps [][]byte) error {
	if err := l.w.Log(ps...); err != nil || !l.sync {
		return err
	}
	return l.w.Sync()
}

func (l *prometheusLog) Sync() error { return l.w.Sync() }

func (l *prometheusLog) Scan(fn func(uint64, []byte) error) error {
	return scanPrometheus(l.dir, fn)
}

func scanPrometheus(dir string, fn func(uint64, []byte) error) error {
	files, err := wlog.NewSegmentsReader(dir)
	if err != nil {
		return err
	}
	defer files.Close()
	r := wlog.NewReader(files)
	for seq := uint64(1); r.Next(); seq++ {
		if err := fn(seq, r.Record()); err != nil {
			return err
		}
	}
	return r.Err()
}

func (l *prometheusLog) Close() error { return l.w.Close() }
