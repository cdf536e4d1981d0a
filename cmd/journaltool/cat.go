package main

import (
	"bufio"
	"bytes"
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
	escape   string // "auto", "always" or "never"
}

// recordWriter writes one record in a format.
type recordWriter func(journal.Record) error

// catFormats makes a writer for each format. Those of text escape control characters if they are
// told to; hex and json have none.
var catFormats = map[string]func(w *bufio.Writer, escape bool) recordWriter{
	"lines": linesTo, "raw": rawTo, "hex": hexTo, "json": jsonTo, "framed": framedTo,
}

func (a *app) catCommand() *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat DIR",
		Short: "Print records",
		Long: `Print the records of the journal in DIR that exist when cat starts. It takes no lock, never
writes to the journal, and can run while a writer is active.

--format lines: each payload and a newline; raw: the payloads; hex: seq, tab, payload in hex;
json: a line {"seq":N,"payload":BASE64,"text":TEXT} each, with text if the payload is valid UTF-8;
framed: a length of 4 bytes, little-endian, and the payload, as append --framed reads them.

--escape auto: if the output is a terminal, control characters and invalid UTF-8 in payloads are
shown as \n, \x1b or \u009b, so that a payload cannot control the terminal, and --format framed is
refused; otherwise payloads are printed as they are. --escape always escapes for every output,
--escape never for none. raw keeps newlines and tabs, lines only tabs. hex and json never contain
control characters.

A --from above the last record prints nothing and is no error; below the first record it is one.

If the journal is corrupt, the records before the damage are printed and the exit code is 1, even if
every requested record precedes the damage. If a segment is missing or its first 4208 bytes are
damaged, that can be none: salvage finds more. Damage that a quick check does not find (see info,
verify) is only found by reading it.

After SIGINT or SIGTERM, cat ends after a whole record and the exit code is 3. It is not an error if
the reader of the output closes it (cat DIR | head).`,
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
	flags.Uint64Var(&f.from, "from", 0, "the first seq to print (default the first record)")
	flags.Uint64Var(&f.to, "to", 0, "the last seq to print (default the last record)")
	flags.Uint64VarP(&f.count, "count", "n", math.MaxUint64, "print at most this many records")
	flags.Lookup("count").DefValue = "0" // which is not shown
	flags.StringVar(&f.format, "format", "lines", "lines, raw, hex, json or framed")
	flags.StringVar(&f.escape, "escape", "auto", "escape control characters: auto, always or never")
	return cmd
}

// escapes reports whether control characters of payloads are escaped. Errors are those of usage.
func (f *catFlags) escapes(terminal bool) (bool, error) {
	switch f.escape {
	case "never":
		return false, nil
	case "always", "auto":
	default:
		return false, usagef("--escape %s: auto, always or never", f.escape)
	}
	on := terminal || f.escape == "always"
	if on && f.format == "framed" {
		if f.escape == "always" {
			return false, usagef("--escape always and --format framed contradict each other")
		}
		return false, usagef("--format framed is binary and not written to a terminal: " +
			"redirect the output, or use --escape never")
	}
	return on, nil
}

func (a *app) cat(ctx context.Context, dir string, f *catFlags) error {
	format := catFormats[f.format]
	escape, err := f.escapes(a.terminal(a.stdout))
	switch {
	case format == nil:
		return usagef("--format %s: lines, raw, hex, json or framed", f.format)
	case f.from > 0 && f.to > 0 && f.to < f.from:
		return usagef("--to %d is below --from %d", f.to, f.from)
	case err != nil:
		return err
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
	err = copyRecords(ctx, j, from, to, format(w, escape))
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
			return 0, 0, fmt.Errorf("record %d does not exist: the journal is empty, and its "+
				"next seq is %d", seq, from)
		}
		return 0, 0, fmt.Errorf("record %d does not exist: the journal has %d to %d", seq, from, to)
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

func linesTo(w *bufio.Writer, escape bool) recordWriter {
	write := payloadTo(w, escape, false)
	return func(r journal.Record) error {
		if err := write(r); err != nil {
			return err
		}
		return w.WriteByte('\n')
	}
}

func rawTo(w *bufio.Writer, escape bool) recordWriter {
	return payloadTo(w, escape, true)
}

// payloadTo writes payloads, escaped if escape is true, but for newlines if newlines is.
func payloadTo(w *bufio.Writer, escape, newlines bool) recordWriter {
	var b []byte
	return func(r journal.Record) error {
		text := r.Payload
		if escape {
			b = appendEscaped(b[:0], text, newlines)
			text = b
		}
		_, err := w.Write(text)
		return err
	}
}

func hexTo(w *bufio.Writer, _ bool) recordWriter {
	var b []byte
	return func(r journal.Record) error {
		b = append(strconv.AppendUint(b[:0], uint64(r.Seq), 10), '\t')
		b = append(hex.AppendEncode(b, r.Payload), '\n')
		_, err := w.Write(b)
		return err
	}
}

func framedTo(w *bufio.Writer, _ bool) recordWriter {
	return func(r journal.Record) error {
		b := binary.LittleEndian.AppendUint32(w.AvailableBuffer(), uint32(len(r.Payload)))
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Write(r.Payload)
		return err
	}
}

func jsonTo(w *bufio.Writer, _ bool) recordWriter {
	var text bytes.Buffer
	var b []byte
	e := json.NewEncoder(&text)
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
		text.Reset()
		if err := e.Encode(&l); err != nil {
			return err
		}
		b = appendEscapedJSON(b[:0], text.Bytes())
		_, err := w.Write(b)
		return err
	}
}
