package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// demoWriter is what the demo's writer process does: it appends the lines of a corpus to a
// journal, beginning behind the last one that is there.
type demoWriter struct {
	dir         string
	corpus      string
	syncEvery   uint64
	segmentSize int64
	holdAt      uint64 // do not append this line: wait for the kill, or the parent's end; 0: go on
}

// demoEvent is a line that the writer process prints. One of the fields is set.
type demoEvent struct {
	Opened  *demoOpened `json:"opened,omitempty"`
	Durable uint64      `json:"durable,omitempty"` // a Sync has returned: it covers this record
	Done    *demoDone   `json:"done,omitempty"`
}

// demoOpened says what the writer process found when it opened the journal.
type demoOpened struct {
	Report  *recovery.Report `json:"report"`
	Seconds float64          `json:"seconds"`
}

// demoDone says that the writer process has appended the last line and closed the journal.
type demoDone struct {
	Appended uint64  `json:"appended"`
	Seconds  float64 `json:"seconds"` // from the first line to the end of Close
}

const demoWriterName = "demo-writer"

// demoWriterCommand is the hidden verb that the demo starts its writer processes with.
func (a *app) demoWriterCommand() *cobra.Command {
	w := &demoWriter{}
	c := &cobra.Command{
		Use:    demoWriterName + " DIR",
		Hidden: true,
		Args:   oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			w.dir = args[0]
			if w.syncEvery == 0 {
				return usagef("--sync-every: at least 1")
			}
			return w.run(cmd.Context(), a.stdin, json.NewEncoder(a.stdout))
		},
	}
	f := c.Flags()
	f.StringVar(&w.corpus, "corpus", "", "directory of .go files; without it lines are generated")
	f.Uint64Var(&w.syncEvery, "sync-every", 1, "records from one sync to the next")
	f.Int64Var(&w.segmentSize, "segment-size", 0, "bytes")
	f.Uint64Var(&w.holdAt, "hold-at", 0, "the line at which to wait for the kill")
	return c
}

// args is the command line that makes another process this writer.
func (w *demoWriter) args() []string {
	return []string{
		"demo", demoWriterName, "--corpus=" + w.corpus,
		"--sync-every=" + strconv.FormatUint(w.syncEvery, 10),
		"--segment-size=" + strconv.FormatInt(w.segmentSize, 10),
		"--hold-at=" + strconv.FormatUint(w.holdAt, 10),
		"--", w.dir,
	}
}

func (w *demoWriter) run(ctx context.Context, stdin io.Reader, events *json.Encoder) error {
	c, err := openCorpus(w.corpus)
	if err != nil {
		return err
	}
	begun := time.Now()
	o := &journal.Options{Durability: journal.Published, SegmentSize: w.segmentSize}
	j, err := journal.Open(w.dir, o)
	if err != nil {
		return err
	}
	opened := &demoOpened{Report: j.Report(), Seconds: time.Since(begun).Seconds()}
	err = events.Encode(demoEvent{Opened: opened})
	done := &demoDone{}
	if err == nil {
		begun, done.Appended, err = w.append(ctx, j, c, stdin, events)
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	done.Seconds = time.Since(begun).Seconds()
	return events.Encode(demoEvent{Done: done})
}

// append appends the lines that are not in the journal yet, while the syncs go on beside it. It
// returns when it came to the first of them, and how many there were.
func (w *demoWriter) append(ctx context.Context, j *journal.Journal, c *corpus,
	stdin io.Reader, events *json.Encoder,
) (begun time.Time, appended uint64, err error) {
	s := startDemoSyncer(ctx, j, events)
	defer func() { err = errors.Join(err, s.end()) }()
	there, n := uint64(j.Last()), uint64(0)
	begun = time.Now()
	for line, err := range c.lines(ctx) {
		if err != nil {
			return begun, appended, err
		}
		if n++; n <= there {
			begun = time.Now()
			continue
		}
		if n == w.holdAt {
			_, err := io.Copy(io.Discard, stdin)
			return begun, appended, errors.Join(errors.New("was not killed"), err)
		}
		if err := w.appendLine(j, n, line, s); err != nil {
			return begun, appended, err
		}
		appended++
	}
	if n < there {
		return begun, 0, fmt.Errorf("the journal has %d records, the corpus %d lines", there, n)
	}
	return begun, appended, nil
}

// appendLine appends line number n, and wants a sync when it is time to.
func (w *demoWriter) appendLine(j *journal.Journal, n uint64, line []byte, s *demoSyncer) error {
	seq, err := j.Append(line)
	switch {
	case err != nil:
		return err
	case uint64(seq) != n:
		return fmt.Errorf("line %d became record %d", n, seq)
	case n%w.syncEvery == 0:
		return s.sync()
	}
	return nil
}

// demoSyncer syncs a journal beside the appends, and prints what is durable.
type demoSyncer struct {
	wanted chan struct{} // holds one: a sync that begins later covers all that want it
	ended  chan struct{}
	err    error // why it ended; valid when ended is closed
}

func startDemoSyncer(ctx context.Context, j *journal.Journal, events *json.Encoder) *demoSyncer {
	s := &demoSyncer{wanted: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for range s.wanted {
			seq := j.Published()
			if s.err = j.Sync(ctx); s.err == nil {
				s.err = events.Encode(demoEvent{Durable: uint64(seq)})
			}
			if s.err != nil {
				return
			}
		}
	}()
	return s
}

// sync asks for a sync that covers what is published, and does not wait for it.
func (s *demoSyncer) sync() error {
	select {
	case <-s.ended:
		return s.err
	case s.wanted <- struct{}{}:
	default:
	}
	return nil
}

// end waits for the syncs that are wanted.
func (s *demoSyncer) end() error {
	close(s.wanted)
	<-s.ended
	return s.err
}

// demoProcess is a writer process, as its parent sees it.
type demoProcess struct {
	cmd    *exec.Cmd
	events *json.Decoder
	stdin  io.Closer // its end would end the writer's wait for the kill
	stderr bytes.Buffer
}

// start starts a process that does what w says. It is killed when ctx ends. The caller must stop
// it.
func (w *demoWriter) start(ctx context.Context) (*demoProcess, error) {
	tool, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &demoProcess{cmd: exec.CommandContext(ctx, tool, w.args()...)}
	p.cmd.Env = os.Environ()
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.events = json.NewDecoder(out)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// next returns the next event; an error means that the process has ended, or will.
func (p *demoProcess) next() (demoEvent, error) {
	var e demoEvent
	err := p.events.Decode(&e)
	return e, err
}

// kill kills the process and passes the events that it had still sent to last.
func (p *demoProcess) kill(last func(demoEvent)) error {
	err := p.cmd.Process.Kill()
	for err == nil {
		var e demoEvent
		if e, err = p.next(); err == nil {
			last(e)
		}
	}
	if err := p.cmd.Wait(); err == nil || p.stderr.Len() > 0 {
		return fmt.Errorf("the writer ended before it was killed: %s", p.stderr.String())
	}
	return nil
}

// wait waits for the process to end by itself, and returns why it failed if it did.
func (p *demoProcess) wait() error {
	err := p.cmd.Wait()
	text := string(bytes.TrimSpace(p.stderr.Bytes()))
	switch {
	case err == nil:
		return nil
	case p.cmd.ProcessState != nil && p.cmd.ProcessState.ExitCode() == exitCorrupt:
		return lostError("LOST what was written: the second process says: " + text)
	}
	return fmt.Errorf("the writer process failed: %w: %s", err, text)
}

// stop makes sure that the process is gone.
func (p *demoProcess) stop() {
	if p.cmd.Process != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		_ = p.cmd.Wait()         // the error is that it was killed
	}
	_ = p.stdin.Close() // closed already if Wait was called
}
