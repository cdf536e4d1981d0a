package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mmjournal/journal"
)

// catFlags are the flags of journaltool cat. from and to are 0 if not given.
type catFlags struct {
	from, to uint64
	count    uint64
	format   string
}

// recordWriter writes one record in a format.
type recordWriter func(journal.Record) error

var catFormats = map[string]func(*bufio.Writer) recordWriter{
	"lines": linesTo, "raw": rawTo, "hex": hexTo, "json": jsonTo, "framed": framedTo,
}

func (a *app) catCommand() *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat DIR",
		Short: "Print records",
		Long: `Print the records of the journal in DIR, as it is at that moment. It takes no lock, works
beside a live writer and writes nothing.

--format lines: each payload and a newline; raw: the payloads; hex: seq, tab, payload in hex;
json: a line {"seq":N,"payload":BASE64,"text":TEXT} each, with text if the payload is valid UTF-8;
framed: a length of 4 bytes, little-endian, and the payload, as append --framed reads them.

It is no error if --from is above the last record. Of a corrupt journal, what precedes the damage is
printed, and the exit code is 1: also if all that was asked for precedes it. But damage that a quick
check does not see (info, verify) is found only by reading it.`,
		Example: `  journaltool cat --from 1000 -n 10 ./log
  journaltool cat --format json ./log | jq .text`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"from", "to"} {
				if flag := cmd.Flag(name); flag.Changed && flag.Value.String() == "0" {
					return usagef("--%s 0: the first record has the seq 1", name)
				}
			}
			if a.json() {
				if cmd.Flag("format").Changed && f.format != "json" {
					return usagef("-o json and --format %s contradict each other", f.format)
				}
				f.format = "json"
			}
			return a.cat(cmd.Context(), args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.from, "from", 0, "the first seq to print (default the first there is)")
	flags.Uint64Var(&f.to, "to", 0, "the last seq to print (default the last there is)")
	flags.Uint64VarP(&f.count, "count", "n", math.MaxUint64, "print at most so many records")
	flags.Lookup("count").DefValue = "0" // which is not shown
	flags.StringVar(&f.format, "format", "lines", "lines, raw, hex, json or framed")
	return cmd
}

func (a *app) cat(ctx context.Context, dir string, f *catFlags) error {
	format := catFormats[f.format]
	switch {
	case format == nil:
		return usagef("--format %s: lines, raw, hex, json or framed", f.format)
	case f.from > 0 && f.to > 0 && f.to < f.from:
		return usagef("--to %d is below --from %d", f.to, f.from)
	}
	j, err := journal.OpenReadOnly(dir, &journal.Options{ReadDamaged: true})
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }() // nothing was written
	a.warnOf(j.Report())
	from, to, err := f.span(j)
	if err != nil {
		return errors.Join(err, j.Report().Err())
	}
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	err = copyRecords(ctx, j, from, to, format(w))
	if flushed := w.Flush(); err == nil {
		err = flushed // otherwise it is the same, or what is read cannot be trusted any further
	}
	if err == nil {
		err = j.Report().Err()
	}
	return unlessClosed(err)
}

// span returns the seqs to print, first and last; last is below first if there are none.
func (f *catFlags) span(j *journal.Journal) (from, to journal.Seq, err error) {
	from, to = j.First(), j.Last()
	for _, seq := range []uint64{f.from, f.to} {
		if seq == 0 || journal.Seq(seq) >= from {
			continue
		}
		if to < from {
			return 0, 0, fmt.Errorf("record %d is not there: there is none, the next one is %d",
				seq, from)
		}
		return 0, 0, fmt.Errorf("record %d is not there: the journal has %d to %d", seq, from, to)
	}
	if f.from > 0 {
		from = journal.Seq(f.from)
	}
	if f.to > 0 {
		to = min(to, journal.Seq(f.to))
	}
	if to >= from && f.count < uint64(to-from+1) {
		to = from + journal.Seq(f.count) - 1
	}
	return from, to, nil
}

func copyRecords(
	ctx context.Context, j *journal.Journal, from, to journal.Seq, write recordWriter,
) error {
	if to < from {
		return nil
	}
	for r, err := range j.Records(from) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err := write(r); err != nil {
			return err
		}
		if r.Seq == to {
			break
		}
	}
	return nil
}

func linesTo(w *bufio.Writer) recordWriter {
	return func(r journal.Record) error {
		if _, err := w.Write(r.Payload); err != nil {
			return err
		}
		return w.WriteByte('\n')
	}
}

func rawTo(w *bufio.Writer) recordWriter {
	return func(r journal.Record) error {
		_, err := w.Write(r.Payload)
		return err
	}
}

func hexTo(w *bufio.Writer) recordWriter {
	var b []byte
	return func(r journal.Record) error {
		b = append(strconv.AppendUint(b[:0], uint64(r.Seq), 10), '\t')
		b = append(hex.AppendEncode(b, r.Payload), '\n')
		_, err := w.Write(b)
		return err
	}
}

func framedTo(w *bufio.Writer) recordWriter {
	return func(r journal.Record) error {
		b := binary.LittleEndian.AppendUint32(w.AvailableBuffer(), uint32(len(r.Payload)))
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Write(r.Payload)
		return err
	}
}

func jsonTo(w *bufio.Writer) recordWriter {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	type line struct {
		Seq     journal.Seq `json:"seq"`
		Payload []byte      `json:"payload"`
		Text    *string     `json:"text,omitempty"`
	}
	return func(r journal.Record) error {
		l := line{Seq: r.Seq, Payload: r.Payload}
		if l.Payload == nil {
			l.Payload = []byte{} // "" and not null
		}
		if utf8.Valid(r.Payload) {
			text := string(r.Payload)
			l.Text = &text
		}
		return e.Encode(&l)
	}
}
