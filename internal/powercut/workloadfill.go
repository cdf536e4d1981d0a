//go:build linux

package powercut

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"mmjournal/journal"
)

// A workload with Fill appends until the disk is full, drops records while it is full, and appends
// again. All but a few blocks of the disk belong to a filler: a file next to the journal.

// fillerName is the filler's name in the file system's root.
const fillerName = "filler"

// errFull ends the filling: an append has returned ErrNoSpace.
var errFull = errors.New("the disk is full")

// fillLimit is how many appends a writer makes at most where the disk does not become full.
const fillLimit = 400

// fill is the life on a disk that becomes full in each round.
func (w *worker) fill() error {
	if err := w.shrinkFiller(); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	for range w.w.Rounds {
		if err := w.fillUp(); err != nil {
			return err
		}
		for range 1 + w.r.IntN(3) {
			if err := w.structural(); err != nil {
				return err
			}
		}
		if err := w.empty(); err != nil {
			return err
		}
	}
	if w.r.IntN(2) == 0 {
		return w.close()
	}
	return nil
}

// shrinkFiller frees 1 to 32 blocks, in every life that finds a large filler, so that the disk is
// full at another place each time.
func (w *worker) shrinkFiller() error {
	f, err := os.OpenFile(filepath.Join(w.w.Dir, "../..", fillerName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	size := fi.Size() - (1+w.r.Int64N(32))*blockSize
	if size < 0 {
		return nil
	}
	return errors.Join(f.Truncate(size), f.Sync())
}

// fillUp lets all writers append large records until the disk is full, and then small ones.
func (w *worker) fillUp() error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i, a := range w.actors {
		wg.Go(func() {
			for _, large := range []bool{true, false} {
				a.large = large
				for n := 0; n < fillLimit && errs[i] == nil; n++ {
					errs[i] = a.step()
				}
				if errors.Is(errs[i], errFull) {
					errs[i] = nil
				}
			}
		})
	}
	wg.Wait()
	return firstOf(errs)
}

// empty drops all records. If that frees a segment's file, the next append must have space.
func (w *worker) empty() error {
	w.back.Lock() // a file that is open there keeps its space
	defer w.back.Unlock()
	segments, next := w.j.Stats().Segments, uint64(w.j.Last())+1
	begin, done, drop := Front, Fronted, w.j.TruncateFront
	if w.r.IntN(2) == 0 {
		begin, done, drop = Reset, WasReset, w.j.Reset
	}
	err := w.change(begin, done, next, func() error { return drop(journal.Seq(next)) })
	if err != nil || segments < 2 {
		return err
	}
	a := w.actors[w.r.IntN(writers)]
	a.large = false
	if err = a.append(); errors.Is(err, errFull) {
		return w.wrong("no space for a record after %s has dropped %d segments", begin, segments)
	}
	return err
}

// excused reports whether the disk is the reason of an error, so that the journal keeps its word.
func (w *worker) excused(op uint64, err error) bool {
	return w.w.Errors || w.w.Fill && op != 0 && op != noOp &&
		errors.Is(err, journal.ErrNoSpace) && !errors.Is(err, journal.ErrFailed)
}

// addFiller makes a rig for workloads with Fill: its empty file system becomes one with few free
// blocks.
func (r *Rig) addFiller(free int64) error {
	r.full = true
	path, mnt := filepath.Join(r.dir, "filled"), filepath.Join(r.dir, "filling")
	if err := errors.Join(r.empty.save(path), os.Mkdir(mnt, 0o700)); err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }()
	if err := mountImage(path, mnt, r.kind); err != nil {
		return err
	}
	err := writeFiller(filepath.Join(mnt, fillerName), free)
	if err = errors.Join(err, unmount(mnt)); err != nil {
		return err
	}
	r.empty, err = loadImage(path)
	return err
}

// writeFiller makes a file that leaves that many blocks free.
func writeFiller(path string, free int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for chunk := int64(64 << 20); chunk >= blockSize; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, chunk); {
		case err == nil:
			size += chunk
		case errors.Is(err, unix.ENOSPC):
			chunk /= 2
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return errors.Join(f.Truncate(max(0, size-free*blockSize)), f.Sync())
}

// fillLives returns workloads that fill the disk: one, or two of which the first is killed.
func (s *session) fillLives(number int, seed uint64, rounds, die int) []Workload {
	second := s.life(2*number, seed, rounds, 0)
	second.Fill = true
	if die == 0 {
		return []Workload{second}
	}
	first := second
	first.Life, first.Die = 2*number-1, die
	return []Workload{first, second}
}
