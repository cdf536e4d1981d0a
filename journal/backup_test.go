package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mmjournal/internal/testutil/simdisk"
	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
	"mmjournal/segment"
)

// A backup that copies a file only if its size or its time of modification is not what it was at
// the last backup must have every record that was durable when it began, whatever has happened in
// between.

// backup is what one has copied: files by path.
type backup map[string]copied

type copied struct {
	time    uint64
	content []byte
}

// incremental returns the next backup after b: what seems unchanged is taken from b.
func incremental(b backup, d *simdisk.Disk) backup {
	next, times := backup{}, d.Times()
	for path, content := range d.Files() {
		c := copied{times[path], content}
		if old, ok := b[path]; ok && old.time == c.time && len(old.content) == len(content) {
			c = old
		}
		next[path] = c
	}
	return next
}

// restored returns a disk that holds a backup.
func (b backup) restored() (*simdisk.Disk, error) {
	d := simdisk.New(simdisk.Options{})
	if err := d.MkdirAll(modelDir); err != nil {
		return nil, err
	}
	for path, c := range b {
		f, err := d.Open(path, segment.Create)
		if err != nil {
			return nil, err
		}
		_, err = f.WriteAt(c.content, 0)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// holds returns an error if a restored backup of a journal does not show all of its records up to
// durable, or others than it has.
func (b backup) holds(want image, durable journal.Seq) error {
	d, err := b.restored()
	if err != nil {
		return err
	}
	j, err := journal.OpenReadOnlyFS(d, modelDir, &journal.Options{VerifyOnOpen: true})
	if err != nil {
		return fmt.Errorf("I19: open a restored backup: %w", err)
	}
	defer j.Close()
	got, err := readAll(j)
	if err != nil {
		return fmt.Errorf("I19: read a restored backup: %w", err)
	}
	if got.next() <= durable {
		return fmt.Errorf("I19: a restored backup has %v, of %v, durable to %d", got, want, durable)
	}
	for seq := want.first; seq < min(got.next(), want.next()); seq++ {
		g, ok := got.get(seq)
		w, _ := want.get(seq)
		if !ok || string(g) != string(w) {
			return fmt.Errorf("I19: a restored backup has %v, without the right seq %d of %v",
				got, seq, want)
		}
	}
	return nil
}

// backedUp is a journal that is backed up now and then.
type backedUp struct {
	r      *rand.Rand
	d      *simdisk.Disk
	j      *journal.Journal
	o      journal.Options
	last   backup
	serial int
	cut    *simdisk.Disk // what is left of a crash within an operation
	crash  func()        // what happens at each operation of the disk; nil: nothing
	full   bool          // the disk is
	note   *backupTally
}

type backupTally struct{ backups, stale, crashes int }

func TestIncrementalBackups(t *testing.T) {
	modelSetup(t)
	c := torture.Start(t, "incremental backups", torture.Count(60, 400, 3000))
	var note backupTally
	for c.Next() {
		b := backedUp{
			r: newRand(c.Seed()), d: simdisk.New(simdisk.Options{Seed: c.Seed()}), note: &note,
		}
		err := b.d.MkdirAll(modelDir)
		if err == nil {
			err = b.open()
		}
		for range 60 {
			if err == nil {
				err = b.step()
			}
		}
		if err != nil {
			c.Violation("%v", err)
		}
	}
	c.Note("%d backups, which have left out %d files; %d crashes", note.backups, note.stale,
		note.crashes)
	if note.stale == 0 || note.crashes == 0 {
		t.Errorf("the runs have shown nothing: %+v", note)
	}
}

func (b *backedUp) open() (err error) {
	b.o = journal.Options{
		SegmentSize: 8192, Durability: journal.Durability(b.r.IntN(3)), SyncInterval: time.Hour,
		Spares: b.r.IntN(2),
	}
	if b.j, err = journal.OpenFS(b.d, modelDir, &b.o); err != nil {
		return fmt.Errorf("I15: %w", err)
	}
	return b.check()
}

// step does something, perhaps a crash in the middle of it, and checks what a backup would have.
func (b *backedUp) step() error {
	if b.r.IntN(6) == 0 {
		b.crashSoon()
	}
	b.full = b.full != (b.r.IntN(10) == 0)
	b.d.OnOp = func(op simdisk.Op) error {
		if b.crash != nil {
			b.crash()
		}
		if b.full && (op.Kind == simdisk.OpCreate || op.Kind == simdisk.OpAllocate) {
			return syscall.ENOSPC
		}
		return nil
	}
	err := b.operate()
	b.d.OnOp, b.crash = nil, nil
	if b.full && errors.Is(err, journal.ErrNoSpace) && !errors.Is(err, journal.ErrFailed) {
		err = nil
	}
	if b.cut != nil {
		_ = b.j.Close() // of a process that is gone
		b.d, b.cut = b.cut, nil
		b.note.crashes++
		return b.open()
	}
	if err != nil {
		return err
	}
	return b.check()
}

func (b *backedUp) operate() error {
	first, n := b.j.First(), int(b.j.Last()+1-b.j.First())
	some := journal.Seq(b.r.IntN(n + 1))
	switch b.r.IntN(10) {
	case 0:
		return b.j.TruncateFront(first + some)
	case 1:
		return b.j.TruncateBack(b.j.Last() - some)
	case 2:
		return b.j.Reset(first + some)
	case 3:
		if err := b.j.Close(); err != nil {
			return err
		}
		if b.cut != nil {
			return nil
		}
		return b.open()
	case 4, 5:
		return b.j.Sync(context.Background())
	}
	for range 1 + b.r.IntN(4) {
		b.serial++
		p := fmt.Appendf(make([]byte, b.r.IntN(900)), "%d", b.serial)
		if _, err := b.j.Append(p); err != nil {
			return err
		}
	}
	return nil
}

// crashSoon ends the process, or cuts the power, within one of the next operations.
func (b *backedUp) crashSoon() {
	at, cut := b.r.IntN(30), b.r.IntN(2) == 0
	b.crash = func() {
		if at--; at != 0 {
			return
		}
		d := b.d
		if !cut {
			b.cut = d.Kill()
			return
		}
		p := d.Pending()
		for c := range p.Choices(3, b.r.Uint64()) {
			b.cut = p.Crash(c)
		}
	}
}

// check makes a backup and checks it; now and then the next one follows on this one.
func (b *backedUp) check() error {
	want, err := readAll(b.j)
	if err != nil {
		return err
	}
	next := incremental(b.last, b.d)
	b.note.backups++
	for path, c := range next {
		if old, ok := b.last[path]; ok && old.time == c.time && filepath.Ext(path) == ".seg" {
			b.note.stale++
		}
	}
	if err := next.holds(want, b.j.Durable()); err != nil {
		return err
	}
	if b.r.IntN(3) == 0 {
		b.last = next
	}
	return nil
}

// TestNoSpaceForTime: the time of a file cannot be moved before a sync. An append that waits for
// the sync must not return ErrNoSpace alone, which says that nothing was appended; nor must Close,
// where it says that everything is durable: the journal fails. Sync and WaitDurable can be
// repeated.
func TestNoSpaceForTime(t *testing.T) {
	t.Cleanup(journal.SetMinSegmentSize(8192))
	full := func(op simdisk.Op) error {
		if op.Kind == simdisk.OpTouch {
			return syscall.ENOSPC
		}
		return nil
	}
	for name, add := range map[string]func(j *journal.Journal) (journal.Seq, error){
		"Append": func(j *journal.Journal) (journal.Seq, error) { return j.Append([]byte("x")) },
		"AppendContext": func(j *journal.Journal) (journal.Seq, error) {
			return j.AppendContext(t.Context(), []byte("x"))
		},
		"AppendBatchContext": func(j *journal.Journal) (journal.Seq, error) {
			return j.AppendBatchContext(t.Context(), [][]byte{[]byte("x"), []byte("y")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk, j := onDisk(t, journal.Synced)
			journal.Unbuffer(j)
			disk.OnOp = full
			if _, err := add(j); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("%v", err)
			}
			disk.OnOp = nil
			if err := j.Close(); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("Close: %v", err)
			}
		})
	}
	t.Run("Sync", func(t *testing.T) {
		disk, j := onDisk(t, journal.Published)
		seq := mustAppend(t, j, []byte("x"))
		disk.OnOp = full
		for range 2 {
			for name, err := range map[string]error{
				"Sync": j.Sync(t.Context()), "WaitDurable": j.WaitDurable(t.Context(), seq),
			} {
				if !errors.Is(err, journal.ErrNoSpace) || errors.Is(err, journal.ErrFailed) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if d := j.Durable(); d != 0 {
			t.Errorf("durable to %d", d)
		}
		disk.OnOp = nil
		if err := j.Sync(t.Context()); err != nil || j.Durable() != seq {
			t.Errorf("Sync when there is space: %v, durable to %d", err, j.Durable())
		}
		mustClose(t, j)
	})
	t.Run("Close", func(t *testing.T) {
		disk, j := onDisk(t, journal.Published)
		mustAppend(t, j, []byte("x"))
		disk.OnOp = full
		if err := j.Close(); !errors.Is(err, journal.ErrFailed) {
			t.Errorf("%v", err)
		}
	})
}
