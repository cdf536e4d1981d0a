package journal_test

import (
	"context"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
)

// useCore is a core that uses a journal for each message.
type useCore struct {
	zapcore.LevelEnabler
	use func(message string)
}

func (c *useCore) With([]zapcore.Field) zapcore.Core { return c }
func (c *useCore) Sync() error                       { return nil }

func (c *useCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, c)
}

func (c *useCore) Write(e zapcore.Entry, _ []zapcore.Field) error {
	c.use(e.Message)
	return nil
}

// TestLoggerUsesJournal: a logger may use the journal that logs, in every way.
func TestLoggerUsesJournal(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published, journal.Interval} {
		t.Run(d.String(), func(t *testing.T) {
			var open atomic.Pointer[journal.Journal]
			var used, failed atomic.Int64
			core := &useCore{zap.DebugLevel, func(string) {
				j := open.Load()
				if j == nil || used.Load() >= 100 {
					return
				}
				seq, err := j.Append(make([]byte, 1000))
				if err == nil {
					err = j.Sync(context.Background())
				}
				if err == nil {
					_, err = j.Read(seq, nil)
				}
				if err == nil && used.Load() == 50 {
					err = j.TruncateFront(j.Last())
				}
				j.Stats()
				if used.Add(1); err != nil {
					failed.Add(1)
				}
			}}
			j := mustOpen(t, t.TempDir(), &journal.Options{
				SegmentSize: journal.MinSegmentSize, Durability: d, Logger: zap.New(core),
			})
			open.Store(j)
			wait.Until(t, "the logger has used the journal", func() bool {
				if _, err := j.Append(make([]byte, 10_000)); err != nil { // it rolls, and logs
					t.Fatal(err)
				}
				return used.Load() >= 100
			})
			open.Store(nil)
			mustClose(t, j)
			if n := failed.Load(); n > 0 {
				t.Errorf("%d of 100 uses failed", n)
			}
		})
	}
}

// TestLoggerThatHangs: a logger that does not return holds up nothing, Close included.
func TestLoggerThatHangs(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	core := &useCore{zap.DebugLevel, func(string) { <-hang }}
	j := mustOpen(t, t.TempDir(), &journal.Options{
		SegmentSize: journal.MinSegmentSize, Durability: journal.Published, Logger: zap.New(core),
	})
	for range 1000 {
		mustAppend(t, j, make([]byte, 1000))
	}
	mustClose(t, j)
}

// TestAppendFuncUsesJournal: the function of an AppendFunc may use the journal.
func TestAppendFuncUsesJournal(t *testing.T) {
	for _, d := range []journal.Durability{journal.Synced, journal.Published} {
		j := mustOpen(t, t.TempDir(), &journal.Options{Durability: d})
		seq, err := j.AppendFunc(3, func(dst []byte) error {
			copy(dst, "two")
			if _, err := j.Append([]byte("one")); err != nil {
				return err
			}
			return j.Sync(context.Background())
		})
		if err != nil || seq != 2 {
			t.Errorf("%v: seq %d, %v", d, seq, err)
		}
		expect(t, j, 1, "one", "two")
		mustClose(t, j)
	}
}
