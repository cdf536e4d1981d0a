//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mmjournal/segment"
)

// snapshotName begins the names of the directories with snapshots, next to the journal's.
const snapshotName = "snapshot"

// snapshot links all files of the journal into a new directory: of a closed one, which is opened
// again then, or of an open one, which is synced then. From then on the journal leaves these files
// alone, so that a power cut at any time changes none.
func (w *worker) snapshot() error {
	dir := filepath.Join(w.w.Dir, "..", fmt.Sprintf("%s%d.%d", snapshotName, w.w.Life, w.snapshots))
	w.snapshots++
	closed := w.r.IntN(2) == 0
	if closed {
		if err := w.close(); err != nil {
			return err
		}
	}
	if err := linkAll(w.w.Dir, dir); err != nil {
		return err
	}
	if !closed {
		if err := w.actors[0].append(); err != nil {
			return err
		}
		if err := w.sync(w.conn); err != nil {
			return err
		}
	}
	sums, err := files(dir)
	if err == nil {
		err = syncAll(dir)
	}
	if err == nil {
		err = w.conn.mark(&Mark{Kind: Snapshot, Text: filepath.Base(dir), Sums: sums})
	}
	if err == nil && closed {
		err = w.open()
	}
	return err
}

// linkAll makes a directory with links of the files of another one. A file that is not ready yet,
// or gone, is left out.
func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, e := range entries {
		if err != nil || strings.HasSuffix(e.Name(), segment.TempSuffix) {
			continue
		}
		err = os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// syncAll makes a directory, its name and its files durable.
func syncAll(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, segment.SyncPath(filepath.Join(dir, e.Name())))
	}
	return errors.Join(err, segment.SyncPath(dir), segment.SyncPath(filepath.Dir(dir)))
}

// checkSnapshots checks that each snapshot has the bytes that it had when it was made.
func (c *imageCheck) checkSnapshots() error {
	for _, name := range slices.Sorted(maps.Keys(c.model.snapshots)) {
		want := c.model.snapshots[name]
		got, err := files(filepath.Join(c.dir, "..", name))
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("the snapshot's files have changed: %v, then %v", want, got)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
