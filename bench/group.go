package main

import (
	"runtime"
	"sync"
)

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
	bytes    int
	early    int // payloads that were there when the batch before was done
	err      error
	done     chan struct{} // closed when the batch is durable, or err says why not
}

func newGroup(l Log) *group { return &group{Log: l} }

// Append adds p to the open batch. Who opens a batch is its leader: it waits for the one before,
// gathers, and then makes it durable.
func (g *group) Append(p []byte) error {
	g.mu.Lock()
	b, before := g.open, (*groupBatch)(nil)
	leader := b == nil
	if leader {
		b, before = &groupBatch{done: make(chan struct{})}, g.last
		g.open, g.last = b, b
	}
	b.payloads = append(b.payloads, p)
	b.bytes += len(p)
	g.mu.Unlock()
	if !leader {
		<-b.done
		return b.err
	}
	if before != nil {
		<-before.done
		g.gather(b, len(before.payloads))
	}
	g.mu.Lock()
	g.open = nil
	g.mu.Unlock()
	b.err = g.AppendBatch(b.payloads)
	g.mu.Lock()
	if g.open != nil {
		g.open.early = len(g.open.payloads)
	}
	g.mu.Unlock()
	close(b.done)
	return b.err
}

// gather does what the journal's own does (journal/sync.go): it lets others run as long as fewer
// have come to b than the batch before has released, unless b is large.
func (g *group) gather(b *groupBatch, released int) {
	for range groupYields {
		g.mu.Lock()
		all := len(b.payloads)-b.early >= released || b.bytes >= groupLarge
		g.mu.Unlock()
		if all {
			return
		}
		runtime.Gosched()
	}
}

// The journal's bounds of gathering.
const (
	groupYields = 3
	groupLarge  = 256 << 10
)
