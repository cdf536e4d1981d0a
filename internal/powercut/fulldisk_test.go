//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// fullKinds are the file systems that are filled: what makes one in an image of that many bytes.
var fullKinds = map[string]struct {
	size int64
	mkfs []string // empty: no image is needed
	cow  bool     // space cannot be reserved for a rewrite
}{
	"ext4": {32 << 20, []string{"mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096"}, false},
	"xfs":  {300 << 20, []string{"mkfs.xfs", "-q", "-f"}, false},
	// A mixed one fills up with metadata, too.
	"btrfs":       {128 << 20, []string{"mkfs.btrfs", "-q", "-f"}, true},
	"btrfs mixed": {32 << 20, []string{"mkfs.btrfs", "-q", "-f", "--mixed"}, true},
	"tmpfs":       {2 << 20, nil, false},
}

// TestFullDisks: with a few blocks left or none, at any stage of a journal, errors are those of a
// full disk, nothing that was acknowledged is lost, nothing leaks, and it all goes on when there is
// space.
func TestFullDisks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	for name := range fullKinds {
		t.Run(name, func(t *testing.T) {
			c := torture.Start(t, "full disk, "+name, 24)
			w := jobWorker{name: "full disk", dir: scratch(t), arg: name}
			defer w.stop()
			for c.Next() {
				if err := w.run(c.Seed()); errors.Is(err, errSkipJob) {
					t.Skip(err)
				} else if err != nil {
					c.Violation("%v", err)
				}
			}
			c.Note("outcomes: %v", w.notes)
			if c.Runs() >= 24 && w.notes[fullNoSpace]+w.notes[fullFailed] < 5 {
				t.Errorf("the disk was not full: %v", w.notes)
			}
		})
	}
}

// What a case has met.
const (
	fullEnough  = "enough space"
	fullNoSpace = "no space"
	fullFailed  = "failed"
)

// fullWorld is a small file system in a process of its own.
type fullWorld struct {
	kind   string
	cow    bool
	mount  string
	n      int
	filler *os.File
}

// fullDiskJob makes and mounts the file system. It goes with the process.
func fullDiskJob(dir, kind string) (jobRun, error) {
	k := fullKinds[kind]
	w := &fullWorld{kind: kind, cow: k.cow, mount: filepath.Join(dir, fmt.Sprint(os.Getpid()))}
	if err := os.Mkdir(w.mount, 0o700); err != nil {
		return nil, err
	}
	if k.mkfs == nil {
		err := unix.Mount(kind, w.mount, kind, 0, fmt.Sprintf("size=%d", k.size))
		if err != nil {
			return nil, skipJob("mount %s: %v", kind, err)
		}
		return w.run, nil
	}
	for _, name := range []string{k.mkfs[0], "mount"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, skipJob("%v", err)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return nil, skipJob("needs loop devices: %v", err)
	}
	image := w.mount + ".img"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, k.size); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		append(k.mkfs, image), {"mount", "-o", "loop", image, w.mount},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return w.run, nil
}

// fill leaves n free blocks of 4096 bytes, as nearly as the file system lets itself be filled.
func (w *fullWorld) fill(n int64) error {
	f, err := os.OpenFile(filepath.Join(w.mount, "filler"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	w.filler = f
	size := int64(0)
	for chunk := int64(64 << 20); chunk >= 4096; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, chunk); {
		case err == nil:
			size += chunk
		case errors.Is(err, syscall.ENOSPC):
			chunk /= 2
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("fallocate: %w", err)
		}
	}
	if err := f.Truncate(max(0, size-n*4096)); err != nil {
		return err
	}
	return w.settle()
}

// settle has the file system free what was given back.
func (w *fullWorld) settle() error {
	d, err := os.Open(w.mount)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// unfill makes space.
func (w *fullWorld) unfill() error {
	if w.filler == nil {
		return nil
	}
	name := w.filler.Name()
	err := w.filler.Truncate(0)
	if w.cow && errors.Is(err, syscall.ENOSPC) {
		err = nil // to remove it takes less
	}
	err = errors.Join(err, w.filler.Close(), os.Remove(name))
	w.filler = nil
	return errors.Join(err, w.settle())
}

// fullTyped returns what an error says, or the error if it is none that a full disk may cause.
func (w *fullWorld) fullTyped(err error, hole bool) (note string, wrong error) {
	noSpace := errors.Is(err, journal.ErrNoSpace) || errors.Is(err, syscall.ENOSPC)
	switch {
	case err == nil:
		return fullEnough, nil
	case !errors.Is(err, journal.ErrFailed) && noSpace:
		return fullNoSpace, nil
	case errors.Is(err, journal.ErrFailed) && (w.cow || hole) &&
		(noSpace || errors.Is(err, journal.ErrFault)):
		return fullFailed, nil
	}
	return "", err
}
