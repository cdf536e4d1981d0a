package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mmjournal/journal"
)

// appendFlags are the flags of journaltool append.
type appendFlags struct {
	lines, whole, framed bool
	durability           string
	segmentSize          string
	progress             bool
}

func (a *app) appendCommand() *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append DIR",
		Short: "Append records from standard input",
		Long: `Append records from standard input to the journal in DIR, which is created if it does not
exist.

--lines, the default: each line is a record, stored without its newline; the last line needs none.
--whole: the whole input is one record, which may be empty.
--framed: a length of 4 bytes, little-endian, and that many bytes; repeated.

The last line of the output says "appended COUNT first F last L": these records are durable. After
an error in the input, it counts the records before the error. After SIGINT or SIGTERM, append also
prints it, and does not append an item that it has not read completely. If nothing was appended, F
is the next seq and L is F-1.

--durability says when a record is acknowledged. "published", the default here: when readers can see
it, with one sync at the end. "synced", the default of the library: when it is durable, one sync for
each record. "interval=100ms", or "interval": as published, with a sync that often.

--progress prints "durable N" when N is the last durable record: with synced for each record,
otherwise about every 65,536 records and every 100 ms. If the reader of the output goes away, the
input is still appended.

-o json prints {"count":COUNT,"first":F,"last":L}; with --progress, {"durable":N} lines before it.`,
		Example: `  journaltool append --progress ./log < /var/log/syslog
  journaltool cat --format framed ./old | journaltool append --framed --segment-size 1GiB ./new`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.append(cmd.Context(), args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.lines, "lines", false, "a record per line (default)")
	flags.BoolVar(&f.whole, "whole", false, "one record: all of the input")
	flags.BoolVar(&f.framed, "framed", false, "a length of 4 bytes and the bytes; repeated")
	flags.StringVar(&f.durability, "durability", "published",
		"synced, published or interval[=DURATION]")
	flags.StringVar(&f.segmentSize, "segment-size", "",
		"largest size of new segments, 64KiB to 16GiB: bytes, or with K, M, G, KiB, MiB, GiB "+
			"(powers of 1024; default that of the journal, 64MiB for a new one)")
	flags.BoolVar(&f.progress, "progress", false, "print the last durable record whenever it changes")
	return cmd
}

// options returns what the flags say; errors are those of usage.
func (f *appendFlags) options() (*journal.Options, error) {
	modes := 0
	for _, on := range []bool{f.lines, f.whole, f.framed} {
		if on {
			modes++
		}
	}
	if modes > 1 {
		return nil, usagef("only one of --lines, --whole and --framed")
	}
	o := &journal.Options{}
	var err error
	if o.Durability, o.SyncInterval, err = parseDurability(f.durability); err != nil {
		return nil, usageError{err}
	}
	if f.segmentSize != "" {
		if o.SegmentSize, err = parseSize(f.segmentSize); err != nil {
			return nil, usagef("--segment-size %s: %w", f.segmentSize, err)
		}
	}
	return o, nil
}

func parseDurability(s string) (journal.Durability, time.Duration, error) {
	name, interval, has := strings.Cut(s, "=")
	switch {
	case name == "synced" && !has:
		return journal.Synced, 0, nil
	case name == "published" && !has:
		return journal.Published, 0, nil
	case name == "interval" && !has:
		return journal.Interval, journal.DefaultSyncInterval, nil
	case name == "interval":
		d, err := time.ParseDuration(interval)
		if err == nil && d > 0 {
			return journal.Interval, d, nil
		}
	}
	return 0, 0, fmt.Errorf("--durability %s: want synced, published or interval=100ms", s)
}

var sizeUnits = []struct {
	suffix string
	shift  int
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"K", 10}, {"M", 20}, {"G", 30}}

// parseSize reads a size of 1 byte or more, such as 65536, 64K or 1MiB.
func parseSize(s string) (int64, error) {
	digits, shift := s, 0
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, shift = d, u.shift
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 || n<<shift>>shift != n || int64(n<<shift) <= 0 {
		return 0, errors.New("want a number of bytes, or a number followed by K, M, G, KiB, MiB or GiB")
	}
	return int64(n << shift), nil
}

// open opens a journal for writing, and warns of what it found.
func (a *app) open(dir string, o *journal.Options) (*journal.Journal, error) {
	j, err := journal.Open(dir, o)
	if errors.Is(err, journal.ErrOptions) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, advise(err, dir)
	}
	a.warnOf(j.Report())
	return j, nil
}

// advise adds to the error of a write what to do about it, where there is something.
func advise(err error, dir string) error {
	switch {
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w; wait until that process ends, or stop it (reading needs no lock)", err)
	case errors.Is(err, journal.ErrNoSpace):
		return fmt.Errorf("%w; free space on the disk, or drop records that are not needed any more: "+
			"journaltool truncate --front SEQ %s makes SEQ the first one", err, dir)
	case errors.Is(err, journal.ErrCorrupt):
		return fmt.Errorf("%w; nothing was changed: journaltool verify %[2]s says more, "+
			"journaltool salvage %[2]s --to OUT copies every intact record", err, dir)
	}
	return err
}

// appender is one run of journaltool append.
type appender struct {
	app   *app
	j     *journal.Journal
	dir   string
	limit int64     // of a record's size
	size  int64     // of new segments
	shown *progress // nil without --progress
}

func (a *app) append(ctx context.Context, dir string, f *appendFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	j, err := a.open(dir, o)
	if err != nil {
		return err
	}
	p := &appender{app: a, j: j, dir: dir, size: j.SegmentSize()}
	p.limit = journal.MaxRecord(p.size)
	if f.progress {
		p.shown = a.newProgress(j, o.Durability)
	}
	first := j.Last() + 1
	err = p.read(ctx, f)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		a.warn("interrupted: the input was not read to its end")
		err = nil
	}
	if errors.Is(err, journal.ErrFailed) {
		err = nil // finish says the same
	}
	return errors.Join(err, p.finish(first))
}

func (p *appender) read(ctx context.Context, f *appendFlags) error {
	r := bufio.NewReaderSize(newInput(ctx, p.app.stdin), inputSize)
	switch {
	case f.whole:
		return p.whole(r)
	case f.framed:
		return p.framed(ctx, r)
	}
	return p.lines(ctx, r)
}

// add appends a record.
func (p *appender) add(payload []byte) error {
	seq, err := p.j.Append(payload)
	if err != nil {
		return advise(err, p.dir)
	}
	if p.shown == nil {
		return nil
	}
	return p.shown.appended(seq)
}

// finish makes everything durable, closes the journal, and says what was appended.
func (p *appender) finish(first journal.Seq) error {
	err := p.j.Sync(context.Background())
	if p.shown != nil {
		p.shown.stop()
	}
	last := p.j.Last()
	if closed := p.j.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("%w (records up to %d are durable)", err, p.j.Durable())
	}
	var out error
	if p.shown != nil {
		out = p.shown.failed
	}
	if out == nil {
		out = p.app.printAppended(uint64(last+1-first), first, last)
	}
	return unlessClosed(out)
}

func (a *app) printAppended(count uint64, first, last journal.Seq) error {
	if a.json() {
		return json.NewEncoder(a.stdout).Encode(struct {
			Count uint64      `json:"count"`
			First journal.Seq `json:"first"`
			Last  journal.Seq `json:"last"`
		}{count, first, last})
	}
	_, err := fmt.Fprintf(a.stdout, "appended %d first %d last %d\n", count, first, last)
	return err
}
