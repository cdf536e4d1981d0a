package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mmjournal/journal"
	"mmjournal/recovery"
)

// progressLines is how many lines go by from one look at the clock to the next.
const progressLines = 1 << 12

// demo is one telling of the story: write, kill, recover, resume, verify.
type demo struct {
	*app
	writer demoWriter
	out    printer
	account
}

func (a *app) demoCommand() *cobra.Command {
	var corpusDir string
	c := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Write, kill, recover, resume, verify: in seconds",
		Long: "Demo appends every line of the Go source code on this machine to a journal, kills the\n" +
			"writing process with SIGKILL half-way, lets a second process recover the journal and\n" +
			"resume after the last record, and checks every line, byte for byte.\n\n" +
			"Demo creates the journal in DIR, which must be new or empty, and keeps it. Without DIR\n" +
			"it creates a temporary directory and removes it at the end.\n\n" +
			"Exit codes: 0 no line was lost, 1 a line was lost, 2 usage, 3 anything else.",
		Example: "  journaltool demo\n" +
			"  journaltool demo /tmp/demo && journaltool info /tmp/demo\n" +
			"  journaltool demo -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("demo takes at most one directory; see journaltool demo --help")
			}
			if len(args) == 1 {
				return checkDir(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &demo{app: a}
			d.Kept = len(args) == 1
			if d.Kept {
				d.writer.dir = args[0]
			}
			return d.run(cmd.Context(), corpusDir)
		},
	}
	c.Flags().StringVar(&corpusDir, "corpus", "", "directory of .go files to use instead")
	_ = c.Flags().MarkHidden("corpus") // the flag exists
	c.AddCommand(a.demoWriterCommand())
	return c
}

// run tells the story. A temporary directory is gone when it returns.
func (d *demo) run(ctx context.Context, corpusDir string) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal may go away
	defer stop()
	ctx, d.out.quit = context.WithCancel(ctx)
	defer d.out.quit()
	if err := d.makeDirectory(); err != nil {
		return err
	}
	if !d.Kept {
		defer func() { err = errors.Join(err, os.RemoveAll(d.Directory)) }()
	}
	begun := time.Now()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return d.measure(ctx, corpusDir) },
		d.writeAndKill,
		d.recoverAndResume,
		d.verify,
	} {
		if err = step(ctx); err != nil {
			break
		}
	}
	if d.out.failed != nil {
		return unlessClosed(d.out.failed)
	}
	if ctx.Err() != nil {
		d.clear()
		return errors.New("interrupted")
	}
	d.Seconds = time.Since(begun).Seconds()
	var lost lostError
	if err != nil && !errors.As(err, &lost) {
		return err
	}
	d.OK, d.Lost = err == nil, string(lost)
	d.clear()
	return errors.Join(err, d.end(), unlessClosed(d.out.failed))
}

// makeDirectory makes the journal's directory, or a temporary one if none is named.
func (d *demo) makeDirectory() error {
	dir := d.writer.dir
	if !d.Kept {
		var err error
		dir, err = os.MkdirTemp("", "journaltool-demo-")
		d.writer.dir, d.Directory = dir, dir
		return err
	}
	d.Directory = dir
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // Open makes it
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: demo needs a new or an empty directory", dir)
	}
	return err
}

// measure reads the corpus: how much it is, and its digest.
func (d *demo) measure(ctx context.Context, dir string) error {
	d.sayHello()
	from, err := chooseCorpus(ctx, dir)
	if err != nil {
		return err
	}
	sum := newLineSum()
	for line, err := range from.lines(ctx) {
		if err != nil {
			return err
		}
		sum.add(line)
		if sum.lines%progressLines == 0 {
			d.progress(uint64(from.at), uint64(len(from.files)), "files read")
		}
	}
	if sum.lines < 4 {
		return fmt.Errorf("%s: %d lines are too few for a kill in the middle", from.root, sum.lines)
	}
	d.Corpus = demoCorpus{
		Path: from.root, Generated: from.root == "", Files: len(from.files),
		Lines: sum.lines, Bytes: sum.bytes, Longest: sum.longest, SHA256: sum.sha256(),
	}
	d.plan(from, sum)
	d.sayCorpus()
	return nil
}

// plan chooses how the writer works: some segments, many syncs, whatever the corpus' size.
func (d *demo) plan(c *corpus, sum *lineSum) {
	w := &d.writer
	w.corpus = c.root
	w.syncEvery = min(max(sum.lines/16, 1), 20_000)
	w.segmentSize = min(max(sum.frames/8, journal.MinSegmentSize), 16<<20)
	w.segmentSize = max(w.segmentSize, 4*journal.FrameSize(sum.longest))
	d.SyncEvery = w.syncEvery
}

// writeAndKill starts a writer and kills it when half of the lines are durable. The writer would
// not go beyond three quarters.
func (d *demo) writeAndKill(ctx context.Context) error {
	w := d.writer
	w.holdAt = d.Corpus.Lines*3/4 + 1
	p, err := w.start(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	d.Killed.PID = p.cmd.Process.Pid
	d.sayWriting()
	var begun time.Time
	see := func(e demoEvent) {
		if e.Opened != nil {
			begun = time.Now()
		}
		d.Killed.Acknowledged = max(d.Killed.Acknowledged, e.Durable)
	}
	for d.Killed.Acknowledged < (d.Corpus.Lines+1)/2 {
		e, err := p.next()
		if err != nil {
			return errors.Join(errors.New("the writer ended too early"), p.wait())
		}
		see(e)
		d.progress(d.Killed.Acknowledged, d.Corpus.Lines, "records durable")
	}
	d.Killed.Seconds = time.Since(begun).Seconds()
	if err := p.kill(see); err != nil {
		return err
	}
	d.sayKilled()
	return nil
}

// recoverAndResume starts a second writer, which recovers the journal when it opens it and writes
// the rest.
func (d *demo) recoverAndResume(ctx context.Context) error {
	p, err := d.writer.start(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	d.Recovered.PID = p.cmd.Process.Pid
	for {
		e, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return p.wait()
		case err != nil:
			return err
		case e.Opened != nil:
			if err := d.recovered(e.Opened); err != nil {
				return err
			}
		case e.Durable != 0:
			d.progress(e.Durable, d.Corpus.Lines, "records durable")
		case e.Done != nil:
			d.Resumed.demoDone = *e.Done
			d.sayResumed()
		}
	}
}

// recovered compares what recovery found with what had been acknowledged.
func (d *demo) recovered(o *demoOpened) error {
	r := &d.Recovered
	r.demoOpened = *o
	last, acked := uint64(o.Report.Last), d.Killed.Acknowledged
	if last < acked {
		r.Lost = acked - last
		return lostError(fmt.Sprintf("LOST %s: records %s to %s had been acknowledged as durable",
			countRecords(r.Lost), commas(last+1), commas(acked)))
	}
	r.Beyond = last - acked
	d.Resumed.From = last + 1
	d.sayRecovered()
	return nil
}

// verify checks every byte of the journal, and reads it back.
func (d *demo) verify(ctx context.Context) error {
	report, err := recovery.Inspect(d.Directory, true)
	if err != nil {
		return err
	}
	d.Verified.Report = report
	sum, err := d.readBack(ctx)
	if errors.Is(err, journal.ErrCorrupt) {
		return lostError("LOST records: " + err.Error())
	} else if err != nil {
		return err
	}
	v := &d.Verified
	v.Records, v.Bytes, v.SHA256 = sum.lines, sum.bytes, sum.sha256()
	d.sayVerified()
	switch want := &d.Corpus; {
	case report.Verdict != recovery.Intact:
		return lostError(fmt.Sprintf("LOST records: the journal is %s", report.Verdict))
	case sum.lines != want.Lines:
		return lostError(fmt.Sprintf("LOST records: %s lines became %s",
			commas(want.Lines), countRecords(sum.lines)))
	case v.SHA256 != want.SHA256:
		return lostError("LOST data: the records are not the lines of the source")
	}
	return nil
}

// readBack digests all records.
func (d *demo) readBack(ctx context.Context) (*lineSum, error) {
	begun := time.Now()
	j, err := journal.OpenReadOnly(d.Directory, nil)
	if err != nil {
		return nil, err
	}
	sum := newLineSum()
	for rec, err := range j.Records(0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, errors.Join(err, j.Close())
		}
		sum.add(rec.Payload)
		if sum.lines%progressLines == 0 {
			d.progress(sum.lines, d.Corpus.Lines, "records read back")
		}
	}
	d.Verified.Seconds = time.Since(begun).Seconds()
	return sum, j.Close()
}

// lostError says that data is not what it should be: it counts as corruption.
type lostError string

func (e lostError) Error() string { return string(e) }

// Is makes a loss match journal.ErrCorrupt, for the exit code.
func (e lostError) Is(target error) bool { return target == journal.ErrCorrupt }
