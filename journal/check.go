package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"mmjournal/segment"
)

// Syncs and writes succeed in a directory that was removed, or that nobody finds under its path any
// more, and in a file that has lost its name. So the journal looks after each sync, before it
// acknowledges anything, and before each structural change.

// checkDirectory makes the journal fail if its directory was removed or replaced.
func (j *Journal) checkDirectory() error {
	if err := j.fsys.Check(); err != nil {
		return j.fail(err)
	}
	return nil
}

// checkSegment makes the journal fail if a segment that is written to has lost its name. If it has
// a second name, a snapshot shares its file: the journal leaves it at the next append or mark.
func (j *Journal) checkSegment(seg *segment.Segment) error {
	n, err := seg.Links()
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: %w: its file has no name any more", seg.Path(), ErrReplaced)
	}
	if err != nil {
		return j.fail(err)
	}
	for old := j.shared.Load(); n > 1 && seg.Ordinal > old; old = j.shared.Load() {
		j.shared.CompareAndSwap(old, seg.Ordinal)
	}
	return nil
}

// isSharedLocked reports whether the active segment must not be written to any more.
func (j *Journal) isSharedLocked() bool {
	shared := j.shared.Load()
	return shared != 0 && j.mu.writer != nil && shared == j.mu.writer.Segment().Ordinal
}

// checkFiles is checkDirectory, and checkSegment for the active segment.
func (j *Journal) checkFiles() error {
	if err := j.checkDirectory(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.writer == nil {
		return nil
	}
	return j.checkSegment(j.mu.writer.Segment())
}

// probeMapping returns an error where files cannot be mapped to be written to: otherwise the first
// append would meet it. It maps the file JOURNAL for a moment, and changes nothing.
func probeMapping(fsys segment.FS, dir string) (err error) {
	path := filepath.Join(dir, segment.JournalName)
	f, err := fsys.Open(path, segment.ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // lost, and reported; the segments that are there were mapped
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size == 0 {
		return err
	}
	m, err := f.Map(size, segment.ReadWrite)
	if err != nil {
		return fmt.Errorf("map %s: %w (a journal writes through shared mappings of its files; "+
			"on a file system without them use another one)", path, err)
	}
	return m.Close()
}
