//go:build linux

package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"mmjournal/journal"
	"mmjournal/segment"
)

// endless is a context that can end, and does not.
var endless, _ = context.WithCancel(context.Background())

// sigbusCalls are the public calls. A key begins with the name of a method of *journal.Journal or
// of a function of the package. The call is made after the fault, unless it calls hit itself.
var sigbusCalls = map[string]func(*sigbusCase) error{
	"Append": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) { return c.j.Append(p) })
	},
	"AppendFunc": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) {
			return c.j.AppendFunc(len(p), func(dst []byte) error { copy(dst, p); return nil })
		})
	},
	"AppendFunc, hit within": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) {
			return c.j.AppendFunc(len(p), func(dst []byte) error {
				err := c.hit()
				copy(dst, p)
				return err
			})
		})
	},
	"Append, by many at once, hit within": (*sigbusCase).many,
	"Append, beside readers, hit within":  (*sigbusCase).besideReaders,
	"AppendBatch": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) {
			id := c.nextID() // a second record
			c.now = c.now.appended(id)
			seq, err := c.j.AppendBatch([][]byte{p, strictPayload(id, 1500)})
			return seq + 1, err
		})
	},
	"Sync": func(c *sigbusCase) error { return c.j.Sync(context.Background()) },
	"WaitDurable": func(c *sigbusCase) error {
		return c.j.WaitDurable(context.Background(), c.j.Last())
	},
	"Read": func(c *sigbusCase) error {
		return c.reads(func(seq journal.Seq, want []byte) error {
			got, err := c.j.Read(seq, nil)
			return c.same(seq, got, want, err)
		})
	},
	"View": func(c *sigbusCase) error {
		return c.reads(func(seq journal.Seq, want []byte) error {
			var got []byte
			err := c.j.View(seq, func(p []byte) error { got = bytes.Clone(p); return nil })
			return c.same(seq, got, want, err)
		})
	},
	"View, hit within": func(c *sigbusCase) error {
		return c.reads(func(seq journal.Seq, want []byte) error {
			return c.j.View(seq, func(p []byte) error {
				if err := c.hit(); err != nil {
					return err
				}
				bytes.Equal(p, want) // it may not be what it was
				return nil
			})
		})
	},
	"Records":             func(c *sigbusCase) error { return c.iterate(false) },
	"Records, hit within": func(c *sigbusCase) error { return c.iterate(true) },
	"TruncateFront": func(c *sigbusCase) error {
		to := c.last / 2
		after := c.now.durable()
		after.first = to
		return c.change(after, c.j.TruncateFront(journal.Seq(to)))
	},
	"TruncateBack": func(c *sigbusCase) error {
		return c.change(c.now.cut(c.last-1), c.j.TruncateBack(journal.Seq(c.last-1)))
	},
	"TruncateBack, into a full segment": func(c *sigbusCase) error {
		to := uint64(c.segments[1].Last) - 1
		return c.change(c.now.cut(to), c.j.TruncateBack(journal.Seq(to)))
	},
	"Reset": func(c *sigbusCase) error {
		after := strictOutcome{first: 500, base: 500}
		return c.change(after.durable(), c.j.Reset(500))
	},
	"Stats": func(c *sigbusCase) error {
		if c.j.Stats().Published == 0 {
			return errors.New("the counters have vanished")
		}
		return nil
	},
	"Report": func(c *sigbusCase) error {
		if c.j.Report().ID == "" {
			return errors.New("the report has vanished")
		}
		return nil
	},
	"SegmentSize": func(c *sigbusCase) error { return positive(c.j.SegmentSize()) },

	// The same with a context that can end, and so in another goroutine.
	"AppendContext": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) { return c.j.AppendContext(endless, p) })
	},
	"AppendFuncContext": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) {
			return c.j.AppendFuncContext(endless, len(p), func(dst []byte) error {
				copy(dst, p)
				return nil
			})
		})
	},
	"AppendBatchContext": func(c *sigbusCase) error {
		return c.appends(func(p []byte) (journal.Seq, error) {
			return c.j.AppendBatchContext(endless, [][]byte{p})
		})
	},
	"Sync, with a context": func(c *sigbusCase) error { return c.j.Sync(endless) },
	"TruncateFrontContext": func(c *sigbusCase) error {
		to := c.last / 2
		after := c.now.durable()
		after.first = to
		return c.change(after, c.j.TruncateFrontContext(endless, journal.Seq(to)))
	},
	"TruncateBackContext": func(c *sigbusCase) error {
		return c.change(c.now.cut(c.last-1), c.j.TruncateBackContext(endless, journal.Seq(c.last-1)))
	},
	"ResetContext": func(c *sigbusCase) error {
		after := strictOutcome{first: 500, base: 500}
		return c.change(after.durable(), c.j.ResetContext(endless, 500))
	},
	"CloseContext": func(c *sigbusCase) error { return c.j.CloseContext(endless) },

	"First":     func(c *sigbusCase) error { return c.mark("First", c.j.First(), 1) },
	"Last":      func(c *sigbusCase) error { return c.mark("Last", c.j.Last(), c.last) },
	"Published": func(c *sigbusCase) error { return c.mark("Published", c.j.Published(), c.last) },
	"Durable":   func(c *sigbusCase) error { return c.mark("Durable", c.j.Durable(), c.now.lo) },
	"Close":     func(c *sigbusCase) error { return c.j.Close() },

	"Open": func(c *sigbusCase) error { return c.reopen(false, nil) },
	"Open, all bytes": func(c *sigbusCase) error {
		return c.reopen(false, &journal.Options{VerifyOnOpen: true})
	},
	"OpenReadOnly": func(c *sigbusCase) error { return c.reopen(true, nil) },
	"OpenReadOnly, all bytes": func(c *sigbusCase) error {
		return c.reopen(true, &journal.Options{VerifyOnOpen: true})
	},
	"OpenReadOnly, damaged": func(c *sigbusCase) error {
		return c.reopen(true, &journal.Options{ReadDamaged: true})
	},
	"OpenMemory": func(*sigbusCase) error {
		j, err := journal.OpenMemory(nil)
		if err == nil {
			err = j.Close()
		}
		return err
	},
	"Salvage": func(c *sigbusCase) error {
		_, err := journal.Salvage(c.dir, journal.SalvageOptions{})
		return err
	},
	// Sizes are computed without a file.
	"MaxRecord": func(*sigbusCase) error { return positive(journal.MaxRecord(1 << 20)) },
	"MaxBatch":  func(*sigbusCase) error { return positive(journal.MaxBatch(1 << 20)) },
	"FrameSize": func(*sigbusCase) error { return positive(journal.FrameSize(100)) },

	// Background goroutines.
	"Sync, in the background after 16 rolls": func(c *sigbusCase) error { return c.manyRolls() },
	"Interval":                               func(c *sigbusCase) error { return c.awaitTicker() },
}

func positive(n int64) error {
	if n <= 0 {
		return fmt.Errorf("%w: a size of %d", errSigbus, n)
	}
	return nil
}

// appends appends until it fails, through at least one roll.
func (c *sigbusCase) appends(call func(p []byte) (journal.Seq, error)) error {
	for range 50 {
		id := c.nextID()
		p := strictPayload(id, 1500)
		c.now = c.now.appended(id) // it may be there, whatever happens
		seq, err := call(p)
		if err != nil {
			return err
		}
		if uint64(seq) != c.now.last() {
			return fmt.Errorf("seq %d, want %d", seq, c.now.last())
		}
		c.acknowledge()
		p = strictPayload(c.now.records[len(c.now.records)-1].id, 1500)
		got, err := c.j.Read(seq, nil)
		if err := c.same(seq, got, p, err); err != nil && !sigbusTyped(err) {
			return err
		}
	}
	return nil
}

// reads calls f for every record, and returns the first typed error, or what is wrong.
func (c *sigbusCase) reads(f func(seq journal.Seq, want []byte) error) error {
	var first error
	for i, r := range c.now.records {
		err := f(journal.Seq(i+1), strictPayload(r.id, 1500))
		if err != nil && !sigbusTyped(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (c *sigbusCase) same(seq journal.Seq, got, want []byte, err error) error {
	if err == nil && !bytes.Equal(got, want) {
		return fmt.Errorf("%w: record %d has other bytes, and there is no error", errSigbus, seq)
	}
	return err
}

// iterate reads from each segment on: a fault ends an iteration.
func (c *sigbusCase) iterate(within bool) error {
	var first error
	for _, s := range c.segments {
		next := s.First
		for rec, err := range c.j.Records(s.First) {
			if err == nil {
				err = c.same(rec.Seq, rec.Payload, strictPayload(c.now.records[next-1].id, 1500), nil)
				next++
			}
			if err == nil && within {
				err = c.hit()
			}
			if err != nil && !sigbusTyped(err) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// change notes what a structural change may have made of the journal.
func (c *sigbusCase) change(after strictOutcome, err error) error {
	if err == nil {
		c.now = after
	} else {
		c.other = &after
	}
	return err
}

func (c *sigbusCase) mark(name string, got journal.Seq, want uint64) error {
	if uint64(got) != want {
		return fmt.Errorf("%s is %d, want %d", name, got, want)
	}
	return nil
}

// reopen closes the journal and opens it with the fault in place: an error, or what was there.
func (c *sigbusCase) reopen(readOnly bool, o *journal.Options) error {
	closeErr := c.j.Close()
	c.closed = true
	if closeErr != nil && !sigbusTyped(closeErr) {
		return closeErr
	}
	open := journal.Open
	if readOnly {
		open = journal.OpenReadOnly
	}
	j, err := open(c.dir, o)
	if err != nil {
		return err
	}
	defer j.Close()
	found, err := findAll(j)
	if err != nil {
		return err
	}
	return c.now.matches(found)
}

// manyRolls rolls so often that a background sync is made, without calling Sync. What it meets, the
// next append returns.
func (c *sigbusCase) manyRolls() error {
	for range 40 {
		id := c.nextID()
		c.now = c.now.appended(id)
		if _, err := c.j.Append(strictPayload(id, 55_000)); err != nil {
			return err
		}
		c.acknowledge()
	}
	return nil
}

// awaitTicker gives the background sync of Durability Interval something to do, and waits for it.
func (c *sigbusCase) awaitTicker() error {
	id := c.nextID()
	c.now = c.now.appended(id)
	if _, err := c.j.Append(strictPayload(id, 1500)); err != nil {
		return err
	}
	if c.options.Durability != journal.Interval {
		c.acknowledge()
		return nil
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		id := c.nextID()
		c.now = c.now.appended(id)
		if _, err := c.j.Append(strictPayload(id, 10)); err != nil {
			return err
		}
		if c.j.Durable() >= journal.Seq(c.last) {
			c.acknowledge()
			return nil
		}
	}
	return fmt.Errorf("%w: the background sync does nothing", errSigbus)
}

func (c *sigbusCase) path(ordinal uint64) string {
	return filepath.Join(c.dir, segment.FileName(ordinal))
}
