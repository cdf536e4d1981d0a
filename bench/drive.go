package main

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// load is what a run of appends does.
type load struct {
	goroutines int
	size       int
	batch      int           // records in an append; 0: Append, not AppendBatch
	most       int64         // appends
	budget     time.Duration // no append begins later; 0: no limit
	chunk      int64         // appends between two looks at the clock
}

// drive runs the load and returns how long an append took, seen from outside: the time divided by
// the number of appends, of all goroutines together.
func drive(l Log, w load) (m metrics, err error) {
	var (
		next, done atomic.Int64
		start      = make(chan struct{})
		begun      time.Time
		wg         sync.WaitGroup
		failed     atomic.Pointer[error]
	)
	fail := func(err error) { failed.Store(&err) } // its own function: err escapes
	worker := func(id int) {
		defer wg.Done()
		op := w.appender(l, uint64(id))
		<-start
		for next.Add(w.chunk) <= w.most+w.chunk-1 {
			for range w.chunk {
				if err := op(); err != nil {
					fail(err)
					return
				}
			}
			done.Add(w.chunk)
			if w.budget > 0 && time.Since(begun) > w.budget {
				return
			}
		}
	}
	wg.Add(w.goroutines)
	for id := range w.goroutines {
		go worker(id)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := processorTime()
	begun = time.Now()
	close(start)
	wg.Wait()
	took := time.Since(begun)
	cpu = processorTime() - cpu
	runtime.ReadMemStats(&after)
	if p := failed.Load(); p != nil {
		return nil, *p
	}
	n := float64(done.Load())
	return metrics{
		"ns":     float64(took) / n,
		"cpu":    float64(cpu) / n,
		"allocs": float64(after.Mallocs-before.Mallocs) / n,
		"ops":    n,
	}, nil
}

// appender returns what a goroutine does again and again.
func (w *load) appender(l Log, id uint64) func() error {
	if w.batch == 0 {
		p := payload(id, w.size)
		return func() error { return l.Append(p) }
	}
	ps := make([][]byte, w.batch)
	for i := range ps {
		ps[i] = payload(id+uint64(i)<<32, w.size)
	}
	return func() error { return l.AppendBatch(ps) }
}

// payload returns n bytes that depend on seed, cannot be compressed, and end with one that is not
// zero.
func payload(seed uint64, n int) []byte {
	p := make([]byte, n)
	fillPayload(p, seed)
	return p
}

func fillPayload(p []byte, seed uint64) {
	rnd := rand.NewPCG(seed, 1)
	for i := 0; i < len(p); i += 8 {
		v := rnd.Uint64()
		for k := i; k < min(i+8, len(p)); k++ {
			p[k] = byte(v)
			v >>= 8
		}
	}
	if n := len(p); n > 0 {
		p[n-1] |= 1
	}
}
