package journal

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logApart returns a logger whose messages reach log in another goroutine, in their order. The
// journal logs while it holds its locks: a logger that used the journal, or waited for one that
// does, would wait for ever.
func logApart(log *zap.Logger) *zap.Logger {
	if !log.Core().Enabled(zapcore.FatalLevel) { // nothing is logged
		return log
	}
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return &apartCore{c, new(logQueue)}
	}))
}

// apartCore is a core that puts messages for another one into a queue.
type apartCore struct {
	zapcore.Core
	queue *logQueue
}

// With implements [zapcore.Core].
func (c *apartCore) With(fields []zapcore.Field) zapcore.Core {
	return &apartCore{c.Core.With(fields), c.queue}
}

// Check implements [zapcore.Core].
func (c *apartCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements [zapcore.Core].
func (c *apartCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.queue.add(message{c.Core, e, fields})
	return nil
}

// message is an entry that waits.
type message struct {
	core   zapcore.Core
	entry  zapcore.Entry
	fields []zapcore.Field
}

func (m *message) write() {
	if ce := m.core.Check(m.entry, nil); ce != nil { // it may sample
		ce.Write(m.fields...)
	}
}

// mostMessages bounds the queue: a logger that hangs must not use up the memory.
const mostMessages = 1000

// logQueue holds messages for one goroutine, which exists while there are any.
type logQueue struct {
	mu      sync.Mutex
	waiting []message
	dropped int
	running bool
}

func (q *logQueue) add(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == mostMessages {
		q.dropped++
		return
	}
	if q.dropped > 0 {
		m.entry.Message += fmt.Sprintf(" (%d messages before it were dropped)", q.dropped)
		q.dropped = 0
	}
	q.waiting = append(q.waiting, m)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *logQueue) run() {
	for m, ok := q.next(); ok; m, ok = q.next() {
		m.write()
	}
}

// next takes a message. Without one the goroutine ends.
func (q *logQueue) next() (m message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running = len(q.waiting) > 0; !q.running {
		q.waiting = nil
		return m, false
	}
	m = q.waiting[0]
	q.waiting = q.waiting[1:]
	return m, true
}
