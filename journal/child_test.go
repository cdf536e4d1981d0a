package journal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

	"mmjournal/internal/testutil/wait"
	"mmjournal/journal"
)

// What the tests share that kill processes: a child is this test binary again; TestMain does in it
// what an environment variable says, and it reports through a pipe.

// reportKind says what a child reports. TestKill has acknowledged only.
type reportKind uint32

const (
	acknowledged reportKind = iota // an append has returned: a record of it
	beginning                      // Open begins
	opened                         // Open has returned: seq is the last record, n the first
	seen                           // a reader was shown a record
	truncating                     // TruncateFront(seq) begins
	truncated                      // it has returned
	closing                        // Close begins
	closed                         // it has returned
	followed                       // the follower was shown a record
	looked                         // it has read up to seq, at its n-th look
	moving                         // it got ErrMoving
	passed                         // the records after seq, up to n, were gone before it saw them
)

// author says who wrote a record: a goroutine of a life of the journal.
type author struct{ life, writer uint32 }

// report is of fixed size, and small enough for a pipe to pass it on whole.
type report struct {
	kind reportKind
	author
	n   uint64 // counts the author's records, from 0
	seq journal.Seq
	sum uint64 // of the payload
}

const reportSize = 36

func (r *report) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(make([]byte, 0, reportSize), uint32(r.kind))
	b = le.AppendUint32(b, r.writer)
	b = le.AppendUint32(b, r.life)
	b = le.AppendUint64(b, r.n)
	b = le.AppendUint64(b, uint64(r.seq))
	return le.AppendUint64(b, r.sum)
}

func decodeReport(b []byte) report {
	le := binary.LittleEndian
	return report{
		reportKind(le.Uint32(b)), author{writer: le.Uint32(b[4:]), life: le.Uint32(b[8:])},
		le.Uint64(b[12:]), journal.Seq(le.Uint64(b[20:])), le.Uint64(b[28:]),
	}
}

// smallestPayload is what signPayload needs.
const smallestPayload = 20

// signPayload returns a payload of at least that many bytes: who wrote it, as which of its records,
// random bytes, and a checksum of all that.
func signPayload(r *rand.Rand, size int, who author, n uint64) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, size+smallestPayload), who.writer)
	b = binary.LittleEndian.AppendUint32(b, who.life)
	b = binary.LittleEndian.AppendUint64(b, n)
	for x := r.Uint64(); len(b) < size; x = x*6364136223846793005 + 1442695040888963407 {
		b = append(b, byte(x>>56))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// parsePayload returns who wrote a record, as which of its records.
func parsePayload(b []byte) (who author, n uint64, err error) {
	end := len(b) - 4
	if end < smallestPayload-4 ||
		crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return who, 0, fmt.Errorf("damaged record of %d bytes", len(b))
	}
	le := binary.LittleEndian
	return author{writer: le.Uint32(b), life: le.Uint32(b[4:])}, le.Uint64(b[8:]), nil
}

func payloadSum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// child is a process that a test has started. One goroutine uses it.
type child struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	pipe   *os.File
	in     *bufio.Reader
	b      [reportSize]byte
	stderr bytes.Buffer // to be read after end
}

// startChild starts a child, which says where it hangs if it does, and ends then; its environment
// gets one more variable, which TestMain looks for.
func startChild(variable string) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	c := &child{pipe: r, in: bufio.NewReader(r)}
	var ctx context.Context
	ctx, c.cancel = context.WithTimeout(context.Background(), wait.Hung)
	c.cmd = exec.CommandContext(ctx, os.Args[0])
	c.cmd.Env = append(os.Environ(), variable)
	c.cmd.ExtraFiles = []*os.File{w}
	c.cmd.Stderr = &c.stderr
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGQUIT) } // prints all stacks
	c.cmd.WaitDelay = 10 * time.Second
	if err := c.cmd.Start(); err != nil {
		c.cancel()
		r.Close()
		return nil, err
	}
	return c, nil
}

// next returns the next report; io.EOF: the child has ended, and that was all.
func (c *child) next() (report, error) {
	if _, err := io.ReadFull(c.in, c.b[:]); err != nil {
		return report{}, err
	}
	return decodeReport(c.b[:]), nil
}

// kill sends SIGKILL. It may be called by another goroutine, and after the end.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// killedStatus is what end returns for a child that kill has ended.
const killedStatus = "signal: killed"

// end waits for the end of the child and returns how it came.
func (c *child) end() string {
	c.pipe.Close()
	_ = c.cmd.Wait()
	c.cancel()
	return c.cmd.ProcessState.String()
}
