package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// manifestSchema is the version of the manifest. It grows when a field changes its meaning or goes.
const manifestSchema = 1

// manifest is what salvage writes beside the journals, and prints with -o json.
type manifest struct {
	Schema    int                     `json:"schema"`
	Source    string                  `json:"source"`
	Journal   string                  `json:"journal"` // its id
	FirstLive journal.Seq             `json:"first_live"`
	Records   uint64                  `json:"records"`
	Runs      []manifestRun           `json:"runs"`
	Missing   []journal.MissingRange  `json:"missing"`
	Files     []recovery.SalvagedFile `json:"files"`
	Warnings  []string                `json:"warnings"`
}

// manifestRun is a run and the directory of its journal.
type manifestRun struct {
	Directory string `json:"directory"`
	*journal.SalvagedRun
}

const manifestName = "manifest.json"

func (a *app) salvageCommand() *cobra.Command {
	var to, id string
	cmd := &cobra.Command{
		Use:   "salvage DIR --to OUT",
		Short: "Copy every intact record of a damaged journal",
		Long: `Copy every record of the journal in DIR that verifies and that the journal had not dropped,
whatever else is damaged or missing. OUT gets a journal for each run of records without a gap,
OUT/FIRST-LAST, and OUT/manifest.json: the runs, the missing records and why they are missing, and
what each file in DIR is. OUT must not exist, or be empty, and not lie in DIR.

A run "may have been dropped" if the segment that would say whether a truncation, a reset or a
recovery dropped it is missing or damaged. Check its records before you use them. The output also
names files of other journals and copies of segments under a wrong name; they cost no record.

If the damage is between records, verify says "corrupt" and salvage still copies every record: then
nothing is missing, and the exit code is 0.

It takes no lock and never writes to DIR. Stop the writer first: its changes look like damage. The
exit code is 1 if missing records had been acknowledged as durable, or may have been; otherwise it
is 0. The manifest is written last: without one, OUT is not complete.`,
		Example: `  journaltool salvage ./log --to ./salvaged
  journaltool salvage ./log --to ./salvaged -o json | jq .missing`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("--to is needed: the new directory for the records")
			}
			var o journal.SalvageOptions
			if id != "" {
				var err error
				if o.ID, err = segment.ParseID(id); err != nil {
					return usagef("--id: %w", err)
				}
			}
			return a.salvage(cmd.Context(), args[0], to, o)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the directory to write to")
	cmd.Flags().StringVar(&id, "id", "",
		"the journal's id (default the one in JOURNAL, or that of most segments)")
	return cmd
}

func (a *app) salvage(ctx context.Context, dir, to string, o journal.SalvageOptions) error {
	if err := checkTarget(dir, to); err != nil {
		return err
	}
	s, err := salvaged(ctx, dir, o)
	if err != nil {
		return err
	}
	defer s.Close()
	m := newManifest(dir, s)
	if err := m.write(ctx, to); err != nil {
		return err
	}
	if err := unlessClosed(a.printSalvage(to, m)); err != nil {
		return err
	}
	for _, w := range s.Warnings {
		a.warn("%s", w)
	}
	if s.Lost() {
		return &missingError{dir}
	}
	return nil
}

// salvaged is journal.Salvage, and ends with ctx.
func salvaged(
	ctx context.Context, dir string, o journal.SalvageOptions,
) (*journal.Salvaged, error) {
	type outcome struct {
		s   *journal.Salvaged
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		s, err := journal.Salvage(dir, o)
		done <- outcome{s, err}
	}()
	select {
	case o := <-done:
		return o.s, o.err
	case <-ctx.Done():
		return nil, errors.New("interrupted")
	}
}

// missingError says that records are missing. It ends with the exit code of corruption.
type missingError struct{ dir string }

func (e *missingError) Error() string {
	return e.dir + ": records are missing that had been acknowledged, or may have been"
}

func (e *missingError) Is(target error) bool { return target == journal.ErrCorrupt }

// checkTarget refuses a target that holds anything, or lies in the journal's directory.
func checkTarget(dir, to string) error {
	entries, err := os.ReadDir(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: give a new directory", to)
	}
	source, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // which Salvage says
	}
	if err != nil {
		return err
	}
	inside, err := os.Stat(source)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	// The target's parents that exist, with all links followed.
	for path := abs; ; path = filepath.Dir(path) {
		target, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for ; ; target = filepath.Dir(target) {
			if fi, err := os.Stat(target); err == nil && os.SameFile(fi, inside) {
				return fmt.Errorf("%s lies in %s: nothing is written there", to, dir)
			}
			if target == filepath.Dir(target) {
				return nil
			}
		}
	}
}

func newManifest(dir string, s *journal.Salvaged) *manifest {
	m := &manifest{
		Schema: manifestSchema, Source: dir, Journal: s.ID, FirstLive: s.FirstLive,
		Records: s.Records, Runs: []manifestRun{}, Missing: s.Missing, Files: s.Files,
		Warnings: s.Warnings,
	}
	if abs, err := filepath.Abs(dir); err == nil {
		m.Source = abs
	}
	for _, run := range s.Runs {
		m.Runs = append(m.Runs, manifestRun{fmt.Sprintf("%d-%d", run.First, run.Last), run})
	}
	return m
}

// write writes a journal for each run, and then the manifest.
func (m *manifest) write(ctx context.Context, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, run := range m.Runs {
		if err := writeRun(ctx, filepath.Join(to, run.Directory), run.SalvagedRun); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(to, manifestName, append(text, '\n'))
}

// writeDurably writes a file that is there as a whole or not at all, and makes the directory
// durable.
func writeDurably(dir, name string, content []byte) error {
	f, err := os.CreateTemp(dir, name+".*.tmp") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir))))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeRun writes a run as a journal.
func writeRun(ctx context.Context, dir string, run *journal.SalvagedRun) error {
	j, err := journal.Open(dir, &journal.Options{
		SegmentSize: runSegment(run), Durability: journal.Published,
	})
	if err != nil {
		return err
	}
	err = fillRun(ctx, j, run)
	return errors.Join(err, j.Close()) // which makes it durable
}

// runSegment returns the size of a segment that any record and batch of a run fits into, and no
// more than all of them need.
func runSegment(run *journal.SalvagedRun) int64 {
	all := run.Bytes + run.Bytes/128 + 2*journal.MinSegmentSize
	return max(journal.MinSegmentSize, min(run.SegmentSize, all))
}

// fillRun appends the records of a run, batches as batches.
func fillRun(ctx context.Context, j *journal.Journal, run *journal.SalvagedRun) error {
	if run.First != 1 {
		if err := j.Reset(run.First); err != nil {
			return err
		}
	}
	var batch [][]byte
	for rec, err := range run.Records() {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case rec.More || len(batch) > 0:
			if batch = append(batch, bytes.Clone(rec.Payload)); rec.More {
				continue
			}
			_, err = j.AppendBatch(batch)
			batch = nil
		default:
			_, err = j.Append(rec.Payload)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", rec.Seq, err)
		}
	}
	if j.Last() != run.Last || j.First() != run.First {
		return fmt.Errorf("records %d to %d were written instead of %d to %d",
			j.First(), j.Last(), run.First, run.Last)
	}
	return nil
}

func (a *app) printSalvage(to string, m *manifest) error {
	if a.json() {
		return a.printJSON(m)
	}
	w := a.table()
	fmt.Fprintf(w, "journal\t%s\n", m.Source)
	fmt.Fprintf(w, "id\t%s\n", m.Journal)
	runs := "runs"
	if len(m.Runs) == 1 {
		runs = "run"
	}
	fmt.Fprintf(w, "records\t%d in %d %s\n", m.Records, len(m.Runs), runs)
	for _, run := range m.Runs {
		fmt.Fprintf(w, "run\t%d to %d in %s\n", run.First, run.Last, filepath.Join(to, run.Directory))
		if run.MayBeDropped {
			fmt.Fprintf(w, "\tmay have been dropped: %s\n", run.Why)
		}
		for _, p := range run.BatchParts {
			fmt.Fprintf(w, "\t%d to %d are a part of a batch\n", p.First, p.Last)
		}
	}
	for i := range m.Missing {
		r := &m.Missing[i]
		var causes []string
		for k := range r.Causes {
			causes = append(causes, r.Causes[k].String())
		}
		fmt.Fprintf(w, "missing\t%s, acknowledged: %s\n\t%s\n", seqs(r), r.Acknowledged,
			strings.Join(causes, "\n\t"))
	}
	for i := range m.Files {
		if f := &m.Files[i]; f.Note != "" {
			fmt.Fprintf(w, "file\t%s (%s): %s\n", f.File, f.State, f.Note)
		}
	}
	fmt.Fprintf(w, "manifest\t%s\n", filepath.Join(to, manifestName))
	return w.Flush()
}

// seqs says which records are missing.
func seqs(r *journal.MissingRange) string {
	switch r.Last {
	case 0:
		return fmt.Sprintf("from %d on, if there were any", r.First)
	case r.First:
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d to %d", r.First, r.Last)
}
