package main

import (
	"errors"
	"fmt"
	"os"
)

// Log is what every implementation is made to look like. Records are numbered 1, 2, 3, … in the
// order of appends. Append and AppendBatch may be called by any number of goroutines, the others by
// one at a time.
type Log interface {
	// Append returns when the record is durable, or, in a log opened without Durable, when the
	// implementation says that it has it.
	Append(p []byte) error
	AppendBatch(ps [][]byte) error
	Sync() error
	// Read returns the record seq, in buf's memory where the implementation can do that.
	Read(seq uint64, buf []byte) ([]byte, error)
	// Scan reads all records in order. p is valid during the call.
	Scan(fn func(seq uint64, p []byte) error) error
	Close() error
}

// OpenOptions say how a log is opened.
type OpenOptions struct {
	Durable bool
	Segment int64 // bytes
	Total   int64 // bytes that will be appended, for the limits, which have one file only; or 0
}

// caps are what an implementation can do.
type caps uint

const (
	canAppend  caps = 1 << iota // unsynced
	canDurable                  // durable, one by one
	canBatch                    // durable batches
	canScan
	canRead    // by seq
	canReopen  // after kill -9
	isChecked  // every read verifies a checksum
	isLimit    // not a log, but the least code that does the job
	wantsGroup // has no group commit of its own: gets ours of group.go
	oneByOne   // Scan does not see a batch's records as they were
	canResync  // makes durable at open what a killed process appended without a sync, and checks it
	isOurs     // the journal, in one of its ways of use
)

const peerCaps = canAppend | canDurable | canBatch | canScan | canReopen

// Impl is an implementation.
type Impl struct {
	Name string
	caps caps
	open func(dir string, o OpenOptions) (Log, error)
	// recover opens what a killed process left, as far as a program must before it can append. It
	// returns how many records there are, or -1 where the implementation does not say. nil: the
	// implementation has nothing but open.
	recover func(dir string, o OpenOptions) (records int64, err error)
	// module is the path of a peer's; the first of its rows has it.
	module string
}

func (i *Impl) can(c caps) bool { return i.caps&c == c }

// limit reports whether i is one of the limit rows.
func (i *Impl) limit() bool { return i.can(isLimit) }

// peer reports whether i is somebody else's log.
func (i *Impl) peer() bool { return !i.limit() && !i.ours() }

// ours reports whether i is the journal.
func (i *Impl) ours() bool { return i.can(isOurs) }

// start opens a log for a number of goroutines.
func (i *Impl) start(dir string, o OpenOptions, goroutines int) (Log, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l, err := i.open(dir, o)
	if err == nil && o.Durable && goroutines > 1 && i.can(wantsGroup) {
		l = newGroup(l)
	}
	return l, err
}

// closeLog closes a log at the end of a run. That it fails is an error of the run.
func closeLog(l Log, err *error) {
	if closeErr := l.Close(); closeErr != nil {
		*err = errors.Join(*err, fmt.Errorf("close: %w", closeErr))
	}
}

// ours is the name of the journal's row, and the beginning of the names of its other rows.
const ours = "mmjournal"

// impls are all implementations, in the order in which tables show them.
var impls = []*Impl{
	oursImpl,
	oursViewImpl,
	oursRecycledImpl,
	mappedLimitImpl,
	fetchAddLimitImpl,
	diskLimitImpl,
	diskGroupLimitImpl,
	syncLimitImpl,
	syncNewLimitImpl,
	pebbleImpl,
	pebbleRecycledImpl,
	prometheusImpl,
	tidwallImpl,
	raftWALImpl,
	etcdImpl,
	rosedbImpl,
	bboltImpl,
}

func implByName(name string) *Impl {
	for _, i := range impls {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// withCaps returns the implementations that can do c.
func withCaps(c caps) (found []*Impl) {
	for _, i := range impls {
		if i.can(c) {
			found = append(found, i)
		}
	}
	return found
}

var errCannot = errors.New("the implementation cannot do that")

// unreadable is for logs that cannot read a record by its seq.
type unreadable struct{}

func (unreadable) Read(uint64, []byte) ([]byte, error) { return nil, errCannot }
