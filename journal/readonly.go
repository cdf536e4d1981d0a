package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// OpenReadOnly opens the journal in dir for reading, in its state at that moment. It can run while
// a writer is active, and never changes anything. (On Linux it holds a shared lock on each file
// that it reads, so that the writer does not write over that file.) Durable covers the records that
// the files themselves prove to be durable. o may be nil; only VerifyOnOpen, ReadDamaged, Unlocked
// and Logger apply.
//
// To see newer records, open the journal again. Records that the writer truncates later stay
// readable until Close.
//
// Errors: ErrNotExist, ErrNotJournal, ErrCorrupt (unless ReadDamaged), ErrVersion, ErrMoving,
// ErrFileLocked, and those of the file system.
func OpenReadOnly(dir string, o *Options) (*Journal, error) {
	opts, err := o.forOpen(dir, forReading)
	if err != nil {
		return nil, fmt.Errorf("open journal for reading: %w", err)
	}
	d, err := segment.OpenDir(dir, segment.DirOptions{Unlocked: opts.Unlocked})
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w: %w", dir, ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal for reading: %w", err)
	}
	j, err := openReadOnly(d, d.Path(), opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal for reading: %w", err), d.Close())
	}
	j.held = d
	return j, nil
}

func openReadOnly(fsys segment.FS, dir string, o Options) (*Journal, error) {
	st, err := recovery.Scan(fsys, dir, recovery.Options{Full: o.VerifyOnOpen, Live: true})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	if st.Err != nil && !(o.ReadDamaged && st.Report.Verdict == recovery.Corrupt) {
		return nil, st.Err
	}
	j := &Journal{
		fsys: fsys, dir: dir, opts: o, log: o.Logger, readOnly: true, damage: st.Err,
		report:  st.Report,
		factory: newFactory(fsys, dir, o.SegmentSize, noFolio, false),
	}
	j.begin(st.TakeChain(), st.FirstLive, st.Next, segment.Link{})
	j.durable.Store(uint64(st.Report.Durable))
	return j, nil
}
