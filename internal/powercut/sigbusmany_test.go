//go:build linux

package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"mmjournal/journal"
)

// many appends in several goroutines when the fault comes. All must end with the same error.
func (c *sigbusCase) many() error {
	const writers, each, before = 6, 20, 30
	if c.fault.home == "full" { // it must not hit what is stored meanwhile
		if err := c.hit(); err != nil {
			return err
		}
	}
	var n, acknowledged atomic.Int64
	errs := make([]error, writers)
	first := c.ids + 1
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for range each {
				k := n.Add(1)
				if k == before {
					if errs[w] = c.hit(); errs[w] != nil {
						return
					}
				}
				seq, err := c.j.Append(strictPayload(first+uint64(k), 1500))
				if err != nil {
					errs[w] = err
					return
				}
				if c.j.Durable() >= seq {
					acknowledged.Add(1)
				}
			}
		})
	}
	group.Wait()
	c.loose, c.unknown = true, int(acknowledged.Load())
	c.ids += writers * each
	var failure error
	for _, err := range errs {
		switch {
		case err == nil || errors.Is(err, journal.ErrNoSpace) && !errors.Is(err, journal.ErrFailed):
		case failure == nil:
			failure = err
		case err.Error() != failure.Error():
			return fmt.Errorf("%w: one writer gets %v, another one %v", errSigbus, failure, err)
		}
	}
	return errors.Join(failure)
}

// besideReaders appends while others read what was there. They get the right bytes or an error.
func (c *sigbusCase) besideReaders() error {
	records := c.now.records
	var stop atomic.Bool
	var group sync.WaitGroup
	wrong := make([]error, 3)
	same := func(w int, seq journal.Seq, got []byte, err error) {
		if err == nil && !bytes.Equal(got, strictPayload(records[seq-1].id, 1500)) {
			err = fmt.Errorf("%w: record %d has other bytes", errSigbus, seq)
		}
		if err != nil && !sigbusTyped(err) && wrong[w] == nil {
			wrong[w] = err
		}
	}
	all := func(read func(seq journal.Seq)) {
		group.Go(func() {
			for !stop.Load() {
				for seq := range records {
					read(journal.Seq(seq + 1))
				}
				_ = c.j.Stats()
			}
		})
	}
	all(func(seq journal.Seq) {
		p, err := c.j.Read(seq, nil)
		same(0, seq, p, err)
	})
	all(func(seq journal.Seq) {
		var p []byte
		err := c.j.View(seq, func(b []byte) error { p = bytes.Clone(b); return nil })
		same(1, seq, p, err)
	})
	all(func(from journal.Seq) {
		for rec, err := range c.j.Records(from) {
			if err == nil && rec.Seq > journal.Seq(len(records)) {
				return
			}
			same(2, rec.Seq, rec.Payload, err)
		}
	})
	n := 0
	err := c.appends(func(p []byte) (journal.Seq, error) {
		if n++; n == 10 {
			if err := c.hit(); err != nil {
				return 0, err
			}
		}
		return c.j.Append(p)
	})
	stop.Store(true)
	group.Wait()
	if w := errors.Join(wrong...); w != nil {
		return fmt.Errorf("%w: a reader: %v", errSigbus, w)
	}
	return err
}
