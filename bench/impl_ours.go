package main

import (
	"context"
	"errors"
	"io"
	"time"

	"mmjournal/journal"
)

var oursImpl = &Impl{
	Name: ours,
	caps: peerCaps | canRead | isChecked | canResync | isOurs,
	open: func(dir string, o OpenOptions) (Log, error) { return openOurs(dir, o) },
	recover: func(dir string, o OpenOptions) (int64, error) {
		l, err := openOurs(dir, o)
		if err != nil {
			return 0, err
		}
		return int64(l.j.Last()), nil
	},
}

// oursViewImpl reads through View, without a copy.
var oursViewImpl = &Impl{
	Name: ours + " View",
	caps: canRead | isChecked | isOurs,
	open: func(dir string, o OpenOptions) (Log, error) {
		l, err := openOurs(dir, o)
		return viewLog{l}, err
	},
}

type oursLog struct{ j *journal.Journal }

func openOurs(dir string, o OpenOptions) (oursLog, error) {
	level := journal.Published
	if o.Durable {
		level = journal.Synced
	}
	j, err := journal.Open(dir, &journal.Options{SegmentSize: o.Segment, Durability: level})
	return oursLog{j}, err
}

func (l oursLog) Append(p []byte) error {
	_, err := l.j.Append(p)
	return err
}

func (l oursLog) AppendBatch(ps [][]byte) error {
	_, err := l.j.AppendBatch(ps)
	return err
}

func (l oursLog) Sync() error { return l.j.Sync(context.Background()) }

func (l oursLog) Read(seq uint64, buf []byte) ([]byte, error) {
	return l.j.Read(journal.Seq(seq), buf)
}

func (l oursLog) Scan(fn func(seq uint64, p []byte) error) error {
	for rec, err := range l.j.Records(0) {
		if err == nil {
			err = fn(uint64(rec.Seq), rec.Payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l oursLog) Close() error { return l.j.Close() }

// awaitPrepared waits until the segment behind the active one is there.
func (l oursLog) awaitPrepared() error {
	for end := time.Now().Add(30 * time.Second); l.j.Stats().Prepared < 2; {
		if time.Now().After(end) {
			return errors.New("no second segment is prepared")
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

type viewLog struct{ oursLog }

func (l viewLog) Read(seq uint64, buf []byte) ([]byte, error) {
	err := l.j.View(journal.Seq(seq), func(p []byte) error {
		if len(p) > 1<<40 {
			return io.ErrUnexpectedEOF // what is looked at must not be optimised away
		}
		return nil
	})
	return buf, err
}

// stalled implements staller.
func (l oursLog) stalled() time.Duration { return l.j.Stats().StallTime }
