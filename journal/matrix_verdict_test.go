package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mmjournal/journal"
	"mmjournal/recovery"
	"mmjournal/segment"
)

// outcome is what a damage has come to.
type outcome int

const (
	// refused: Open, or reading at the latest, returns a *CorruptError; no byte has changed.
	refused outcome = iota
	// reported: everything that was acknowledged is there, and the report speaks of damage, of a
	// torn tail, or of a bad copy in JOURNAL.
	reported
	// harmless: everything that was acknowledged is there, and there is nothing to say.
	harmless
	// tornGroup: acknowledged records are missing that no claim is left for, reported as torn.
	tornGroup
	// unseen: acknowledged records are missing that no claim is left for, and nothing is left behind
	// the end: nobody could tell it from an earlier moment.
	unseen
	// silent: everything else. A violation.
	silent
	outcomes
)

var outcomeNames = [outcomes]string{
	"refused", "reported", "harmless", "last group, torn", "last group, unseen", "silent",
}

func (o outcome) String() string { return outcomeNames[o] }

// Bounds of what a trial may cost: operations for each file, and bytes beside 20 for each of the
// files.
const (
	mostOps   = 200
	mostBytes = 4 << 20
)

// trial is one damaged journal.
type trial struct {
	st    *matrixState
	files map[string][]byte
	lives bool // go on from what is left, and look again
	ops   int
	lost  int // acknowledged records that no claim is left for
}

// finding is what opening and reading has come to.
type finding struct {
	got    image
	report *recovery.Report
	err    error // of Open or of reading
	atOpen bool
}

// judge opens the damaged journal in every way. An error is a violation.
func (x *trial) judge() (outcome, error) {
	inspect, err := x.inspect()
	if err != nil {
		return silent, err
	}
	first, err := x.open(false)
	if err != nil {
		return silent, err
	}
	full, err := x.open(true)
	if err != nil {
		return silent, err
	}
	if errors.Is(first.err, journal.ErrNotJournal) && errors.Is(full.err, journal.ErrNotJournal) {
		return x.stray(inspect)
	}
	if err := agree(inspect, full); err != nil {
		return silent, err
	}
	if first.err != nil {
		return x.refusal(first, inspect)
	}
	o, err := x.opened(first)
	switch {
	case err != nil:
		return silent, err
	case full.err != nil:
		return silent, fmt.Errorf("everything can be read, but a verified open says: %w", full.err)
	case o == harmless && inspect.Verdict != recovery.Intact:
		return reported, nil
	}
	return o, nil
}

// inspect is recovery.Inspect on any file system. It changes nothing.
func (x *trial) inspect() (*recovery.Report, error) {
	fsys := newCopyFS(x.files)
	st, err := recovery.Scan(fsys, modelDir, recovery.Options{Full: true, Live: true})
	if err != nil {
		return nil, fmt.Errorf("I13: inspect: %w", err)
	}
	st.Close()
	x.ops += fsys.ops
	if diff := fsys.changed(x.files); diff != "" {
		return nil, fmt.Errorf("I13: looking changed %s", diff)
	}
	return st.Report, nil
}

// open opens for writing, reads everything, and closes. An error is a violation.
func (x *trial) open(verify bool) (f finding, err error) {
	fsys := newCopyFS(x.files)
	defer func() { x.ops += fsys.ops }()
	j, err := journal.OpenFS(fsys, modelDir, matrixOptions(verify))
	if err != nil {
		if diff := fsys.changed(x.files); diff != "" {
			return f, fmt.Errorf("refusing to open changed %s: %w", diff, err)
		}
		return finding{err: err, atOpen: true}, nil
	}
	f.report = j.Report()
	f.got, f.err = readAll(j)
	if err := j.Close(); err != nil {
		return f, fmt.Errorf("close: %w", err)
	}
	if f.err != nil || !x.lives || verify {
		return f, nil
	}
	return f, goOn(fsys, f.got)
}

// goOn appends to what an open has shown, and opens again: nothing else appears or is gone.
func goOn(fsys *copyFS, got image) error {
	want := got.with([]byte("later"), []byte("still later"))
	for i := range 2 {
		j, err := journal.OpenFS(fsys, modelDir, matrixOptions(false))
		if err != nil {
			return fmt.Errorf("I15: the next open: %w", err)
		}
		if i == 0 {
			_, err = j.AppendBatch([][]byte{[]byte("later"), []byte("still later")})
		} else if got, err = readAll(j); err == nil && !got.equal(want) {
			err = fmt.Errorf("I3: %v after an append, want %v", got, want)
		}
		if err := errors.Join(err, j.Close()); err != nil {
			return err
		}
	}
	return nil
}

// agree holds the tool's verdict against a verified open.
func agree(r *recovery.Report, full finding) error {
	if (r.Verdict == recovery.Corrupt) != (full.err != nil && full.atOpen) {
		return fmt.Errorf("I13: inspect says %s, a verified open %v", r.Verdict, full.err)
	}
	if full.err != nil && r.Err().Error() != full.err.Error() {
		return fmt.Errorf("I13: inspect says %v, a verified open %w", r.Err(), full.err)
	}
	if full.err == nil && (r.Last != full.report.Last || r.First != full.report.First ||
		r.End != full.report.End || (r.Tail == nil) != (full.report.Tail == nil)) {
		return fmt.Errorf("I13: inspect says\n%v, a verified open\n%v", r, full.report)
	}
	return nil
}

// refusal checks an error of Open, or of reading.
func (x *trial) refusal(f finding, r *recovery.Report) (outcome, error) {
	var c *journal.CorruptError
	if !errors.As(f.err, &c) || c.Path == "" || c.Err == nil {
		return silent, fmt.Errorf("I7: not an error that says where: %w (%T)", f.err, f.err)
	}
	if r.Verdict != recovery.Corrupt {
		return silent, fmt.Errorf("I13: inspect says %s, but: %w", r.Verdict, f.err)
	}
	if err := x.begins(f.got); err != nil {
		return silent, err
	}
	return refused, x.readDamaged()
}

// stray judges a file that is no part of the journal: nothing is written beside it, but every
// record can be read.
func (x *trial) stray(r *recovery.Report) (outcome, error) {
	if !r.Verdict.Sound() || len(r.Warnings) == 0 {
		return silent, fmt.Errorf("I13: a writer refuses, but inspect says %v", r)
	}
	fsys := newCopyFS(x.files)
	j, err := journal.OpenReadOnlyFS(fsys, modelDir, matrixOptions(true))
	if err != nil {
		return silent, fmt.Errorf("read-only: %w", err)
	}
	defer j.Close()
	got, err := readAll(j)
	x.ops += fsys.ops
	if err != nil || !got.equal(x.st.want) {
		return silent, fmt.Errorf("read-only: %v, want %v: %w", got, x.st.want, err)
	}
	return refused, nil
}

// readDamaged reads what precedes the damage.
func (x *trial) readDamaged() error {
	fsys := newCopyFS(x.files)
	o := matrixOptions(true)
	o.ReadDamaged = true
	j, err := journal.OpenReadOnlyFS(fsys, modelDir, o)
	if err != nil {
		return fmt.Errorf("ReadDamaged: %w", err)
	}
	defer j.Close()
	got, err := readAll(j)
	if err == nil {
		return errors.New("ReadDamaged: reading ends without an error")
	}
	x.ops += fsys.ops
	if err := x.begins(got); err != nil {
		return fmt.Errorf("ReadDamaged: %w\n%v", err, j.Report())
	}
	return nil
}

// begins: what was read is a beginning of what the journal held.
func (x *trial) begins(got image) error {
	if len(got.recs) > 0 && !got.begins(x.st.held) {
		return fmt.Errorf("I2: %v is no beginning of %v", got, x.st.held)
	}
	return nil
}

// warnsOfJournal reports whether a report says that a copy in JOURNAL is bad.
func warnsOfJournal(r *recovery.Report) bool {
	return slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.HasPrefix(w, segment.JournalName+": ")
	})
}

// opened judges what a journal shows that has opened and can be read.
func (x *trial) opened(f finding) (outcome, error) {
	got, st := f.got, x.st
	if !got.begins(st.held) {
		return silent, fmt.Errorf("I2: %v is no beginning of %v\n%v", got, st.held, f.report)
	}
	if got.next() <= st.acked {
		claim := st.survivingClaim(x.files)
		if lost := got.next(); !claim.less(st.at[lost]) {
			return silent, fmt.Errorf("I7: seq %d at %v is missing; a claim of %v is left\n%v",
				lost, st.at[lost], claim, f.report)
		}
		x.lost = int(st.acked + 1 - got.next())
		if f.report.Tail == nil {
			return unseen, nil
		}
		return tornGroup, nil
	}
	if f.report.Tail != nil || !f.report.Verdict.Sound() || warnsOfJournal(f.report) {
		return reported, nil
	}
	return harmless, nil
}
