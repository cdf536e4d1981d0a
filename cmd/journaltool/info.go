package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mmjournal/journal"
	"mmjournal/recovery"
)

const inspectNote = "\n\nIt takes no lock, never writes, and can run while a writer is active."

func (a *app) infoCommand() *cobra.Command {
	return a.viewCommand(&cobra.Command{
		Use:   "info DIR",
		Short: "Print a summary and run a quick check",
		Long: "Print a summary of the journal in DIR and run a quick check. The check does not read\n" +
			"segments that are known to be durable, and says how many it left out; verify reads every\n" +
			"byte. If the journal is corrupt, the summary is of the records that can still be read.\n\n" +
			"-o json prints every field of the report; go doc mmjournal/recovery.Report explains them." +
			inspectNote,
		Example: "  journaltool info ./log\n  journaltool info -o json ./log | jq .last",
	}, view{print: a.printInfo, lists: true})
}

func (a *app) segmentsCommand() *cobra.Command {
	return a.viewCommand(&cobra.Command{
		Use:   "segments DIR",
		Short: "List segment files",
		Long: "List the segment files of the journal in DIR, and run the same quick check as info.\n\n" +
			"  active    the newest segment: the next record goes into it\n" +
			"  sealed    full\n" +
			"  cut       ended before it was full: its writer was killed, or it was truncated or copied\n" +
			"  prepared  not used yet\n" +
			"  dead      its records have been dropped\n" +
			"  torn      above the newest segment, and never known to be durable\n" +
			"  bad       the file's first 4096 bytes are damaged\n" +
			"  stray     not a segment of this journal, or one under a wrong name\n" +
			"  damaged   data in it is damaged that had been acknowledged as durable\n" +
			"  hidden    not readable without salvage, because another segment is damaged or missing\n\n" +
			"FIRST and LAST include records that truncate has dropped from a segment that remains.\n" +
			"-o json also says why each segment was begun." + inspectNote,
		Example: "  journaltool segments ./log",
	}, view{print: a.printSegments})
}

func (a *app) verifyCommand() *cobra.Command {
	return a.viewCommand(&cobra.Command{
		Use:   "verify DIR",
		Short: "Read and check every byte",
		Long: "Read and check every byte of the journal in DIR. The verdict is one of\n\n" +
			"  intact    no damage. A torn tail is a warning only: bytes after the last complete record\n" +
			"            that are not known to be durable\n" +
			"  damaged   there is damage, but no live record is lost; the exit code is 1\n" +
			"  corrupt   data that had been acknowledged as durable is damaged or missing; the exit code\n" +
			"            is 1. salvage copies every intact record\n\n" +
			"-o json prints every field of the report; go doc mmjournal/recovery.Report explains them." +
			inspectNote,
		Example: "  journaltool verify ./log || echo damaged",
	}, view{print: a.printVerify, lists: true, full: true})
}

// view is what a command prints of what recovery.Inspect says.
type view struct {
	print func(*recovery.Report) error
	full  bool // every byte is read
	lists bool // it lists the damage
}

// viewCommand completes a command that prints a view.
func (a *app) viewCommand(cmd *cobra.Command, v view) *cobra.Command {
	cmd.Args = oneDir
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := inspect(cmd.Context(), args[0], v.full)
		if err != nil {
			return err
		}
		if err := unlessClosed(v.print(r)); err != nil {
			return err
		}
		for _, w := range r.Warnings {
			a.warn("%s", w)
		}
		return verdict(r, v.lists)
	}
	return cmd
}

// inspect is recovery.Inspect, and ends with ctx.
func inspect(ctx context.Context, dir string, full bool) (*recovery.Report, error) {
	type outcome struct {
		r   *recovery.Report
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := recovery.Inspect(dir, full)
		done <- outcome{r, err}
	}()
	select {
	case o := <-done:
		return o.r, o.err
	case <-ctx.Done():
		return nil, errors.New("interrupted")
	}
}

// verdict returns nil if no damage was found, and otherwise an error that matches ErrCorrupt. It
// names the damage unless that has been listed.
func verdict(r *recovery.Report, listed bool) error {
	if r.Verdict.Sound() {
		return nil
	}
	e := &damageError{text: fmt.Sprintf("%s: %s", r.Path, r.State())}
	for i := range r.Damage {
		if d := &r.Damage[i]; !listed && d.Redundant == (r.Verdict == recovery.Damaged) {
			e.text += ": " + d.String()
			break
		}
	}
	return e
}

// damageError says that a journal is corrupt, or damaged without the loss of a live record.
type damageError struct{ text string }

func (e *damageError) Error() string { return e.text }

// Is makes it end with the exit code of corruption.
func (e *damageError) Is(target error) bool { return target == journal.ErrCorrupt }

// warnOf says what opening a journal found.
func (a *app) warnOf(r *recovery.Report) {
	for i := range r.Damage {
		if r.Damage[i].Redundant {
			a.warn("%s", &r.Damage[i])
		}
	}
	for _, w := range r.Warnings {
		a.warn("%s", w)
	}
}

func (a *app) printInfo(r *recovery.Report) error {
	if a.json() {
		return a.printJSON(r)
	}
	w := a.table()
	fmt.Fprintf(w, "journal\t%s\n", r.Path)
	fmt.Fprintf(w, "state\t%s\n", state(r))
	fmt.Fprintf(w, "format\tversion %d\n", r.Version)
	fmt.Fprintf(w, "id\t%s\n", r.ID)
	fmt.Fprintf(w, "created\t%s\n", clock(r.Created))
	fmt.Fprintf(w, "records\t%s\n", records(r))
	fmt.Fprintf(w, "durable\tto %d\n", r.Durable)
	fmt.Fprintf(w, "segments\t%d\n", len(r.Segments))
	fmt.Fprintf(w, "size\t%s, used %s\n", size(r.SizeBytes), size(r.UsedBytes))
	a.damage(w, r)
	return w.Flush()
}

func (a *app) printSegments(r *recovery.Report) error {
	if a.json() {
		return a.printJSON(struct {
			Path     string             `json:"path"`
			Verdict  recovery.Verdict   `json:"verdict"`
			Unread   int                `json:"segments_not_read"`
			Segments []recovery.Segment `json:"segments"`
		}{r.Path, r.Verdict, r.Unread, r.Segments})
	}
	w := a.table()
	fmt.Fprintln(w, "FILE\tSTATE\tFIRST\tLAST\tRECORDS\tUSED\tSIZE\tCREATED")
	for i := range r.Segments {
		s := &r.Segments[i]
		first, last, used := "-", "-", "-"
		if s.Records > 0 {
			first, last = fmt.Sprint(s.First), fmt.Sprint(s.Last)
		}
		if s.Used > 0 {
			used = size(s.Used)
		}
		row := fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s", s.File, s.State, first, last,
			s.Records, used, size(s.Size), clock(s.Created))
		if s.Note != "" {
			row += "\t" + s.Note
		}
		fmt.Fprintln(w, row)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(plainWriter{a.stdout}, "%s\n", r.State())
	return err
}

func (a *app) printVerify(r *recovery.Report) error {
	if a.json() {
		return a.printJSON(r)
	}
	w := a.table()
	fmt.Fprintf(w, "journal\t%s\n", r.Path)
	fmt.Fprintf(w, "verdict\t%s\n", state(r))
	fmt.Fprintf(w, "records\t%s, durable to %d\n", records(r), r.Durable)
	fmt.Fprintf(w, "segments\t%d, %s, used %s\n",
		len(r.Segments), size(r.SizeBytes), size(r.UsedBytes))
	a.damage(w, r)
	return w.Flush()
}

func (a *app) table() *tabwriter.Writer {
	return tabwriter.NewWriter(plainWriter{a.stdout}, 0, 8, 2, ' ', 0)
}

// damage adds a row for each damaged place.
func (a *app) damage(w *tabwriter.Writer, r *recovery.Report) {
	for i := range r.Damage {
		fmt.Fprintf(w, "damage\t%s\n", &r.Damage[i])
	}
}

// state says how a journal is, how that is known, and how it ends.
func state(r *recovery.Report) string {
	s := r.State()
	switch {
	case r.Verdict == recovery.Corrupt:
		return s + "; the readable part:"
	case r.End == recovery.EndEmpty:
		return s + "; empty"
	case r.End == recovery.EndClean:
		return s + "; closed cleanly"
	case r.End == recovery.EndOpen:
		return s + "; a writer is active or was killed"
	}
	return s + "; torn tail"
}

func records(r *recovery.Report) string {
	switch {
	case r.Records == 0 && r.Verdict == recovery.Corrupt:
		return "none can be read"
	case r.Records == 0:
		return fmt.Sprintf("none; the next one is %d", r.Last+1)
	}
	return fmt.Sprintf("%d: %d to %d", r.Records, r.First, r.Last)
}

// clock returns a time in UTC to the second.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// size returns a number of bytes for people.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if x < 1<<10 {
			break
		}
		x, unit = x/(1<<10), next
	}
	if x == float64(int64(x)) {
		return fmt.Sprintf("%d %s", int64(x), unit)
	}
	return fmt.Sprintf("%.1f %s", x, unit)
}
