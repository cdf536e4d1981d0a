package main

import "sync"

// group gives a log without group commit the one that its users would write: appends that arrive
// while a batch is being made durable form the next batch.
type group struct {
	Log
	mu   sync.Mutex
	open *groupBatch // takes appends; nil if there is none
	last *groupBatch // the youngest one
}

type groupBatch struct {
	payloads [][]byte
	err      error
	done     chan struct{} // closed when the batch is durable, or err says why not
}

func newGroup(l Log) *group { return &group{Log: l} }

// Append adds p to the open batch. Who opens a batch is its leader: it waits for the one before,
// and then makes it durable.
func (g *group) Append(p []byte) error {
	g.mu.Lock()
	b, before := g.open, (*groupBatch)(nil)
	leader := b == nil
	if leader {
		b, before = &groupBatch{done: make(chan struct{})}, g.last
		g.open, g.last = b, b
	}
	b.payloads = append(b.payloads, p)
	g.mu.Unlock()
	if !leader {
		<-b.done
		return b.err
	}
	if before != nil {
		<-before.done
	}
	g.mu.Lock()
	g.open = nil
	g.mu.Unlock()
	b.err = g.AppendBatch(b.payloads)
	close(b.done)
	return b.err
}
