package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"mmjournal/journal"
)

const (
	progressRecords  = 1 << 16
	progressInterval = 100 * time.Millisecond
)

// progress prints the durable watermark when it moves. If the output fails, it is silent from then
// on.
type progress struct {
	app    *app
	j      *journal.Journal
	level  journal.Durability
	end    context.CancelFunc
	done   chan struct{}
	since  int   // records since the loop's last sync
	failed error // of the output; read it after stop

	mu struct {
		sync.Mutex
		shown journal.Seq
	}
}

// newProgress starts to show progress of j, until stop.
func (a *app) newProgress(j *journal.Journal, level journal.Durability) *progress {
	ctx, cancel := context.WithCancel(context.Background())
	p := &progress{app: a, j: j, level: level, end: cancel, done: make(chan struct{})}
	p.mu.shown = j.Durable()
	go p.run(ctx)
	return p
}

// run shows what became durable while the input has nothing to read.
func (p *progress) run(ctx context.Context) {
	defer close(p.done)
	if p.level == journal.Synced {
		return
	}
	t := time.NewTicker(progressInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = p.sync() // a failure is sticky: the next append returns it
		case <-ctx.Done():
			return
		}
	}
}

// appended is told of every record.
func (p *progress) appended(seq journal.Seq) error {
	if p.level == journal.Synced {
		p.show(seq)
		return nil
	}
	p.since++
	if p.since < progressRecords {
		return nil
	}
	p.since = 0
	return p.sync()
}

// sync syncs, unless the journal does so by itself, and shows what is durable.
func (p *progress) sync() error {
	var err error
	if p.level == journal.Published {
		err = p.j.Sync(context.Background())
	}
	p.show(p.j.Durable())
	return err
}

// show prints seq if it is above what was printed.
func (p *progress) show(seq journal.Seq) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq <= p.mu.shown || p.failed != nil {
		return
	}
	p.mu.shown = seq
	if p.app.json() {
		p.failed = json.NewEncoder(p.app.stdout).Encode(struct {
			Durable journal.Seq `json:"durable"`
		}{seq})
		return
	}
	_, p.failed = fmt.Fprintf(p.app.stdout, "durable %d\n", seq)
}

// stop shows what is durable by now, and ends.
func (p *progress) stop() {
	p.end()
	<-p.done
	p.show(p.j.Durable())
}

// unlessClosed passes on an error of writing the output, unless its reader has gone: that is none.
func unlessClosed(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}
