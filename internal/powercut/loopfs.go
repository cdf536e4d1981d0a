//go:build linux

package powercut

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Kind is a kind of file system.
type Kind struct {
	Name    string
	size    int64
	mkfs    []string
	options string // of mount
	// whole lists blocks that the file system expects the disk to write as a whole: copies of the
	// superblock that are larger than a sector and are written in place.
	whole []int64
}

// Kinds are the file systems that the rig knows.
var Kinds = []*Kind{
	{
		Name: "ext4", size: 64 << 20, whole: []int64{0},
		mkfs: []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-E",
			"nodiscard,lazy_itable_init=0,lazy_journal_init=0"},
	},
	{
		Name: "xfs", size: 320 << 20, options: "nouuid",
		mkfs: []string{"mkfs.xfs", "-q", "-f", "-K"},
	},
	{
		Name: "btrfs", size: 128 << 20, options: "nodiscard", whole: []int64{64 << 10, 64 << 20},
		mkfs: []string{"mkfs.btrfs", "-q", "-f", "-K", "--mixed", "-m", "single", "-d", "single"},
	},
}

// missing returns why the rig cannot run here, or "".
func (k *Kind) missing() string {
	if os.Geteuid() != 0 {
		return "needs root"
	}
	for _, dev := range []string{"/dev/fuse", "/dev/loop-control"} {
		f, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			return "needs " + dev + ": " + err.Error()
		}
		f.Close()
	}
	if _, err := exec.LookPath(k.mkfs[0]); err != nil {
		return "needs " + k.mkfs[0] + ": " + err.Error()
	}
	return ""
}

// makeFS returns the image of an empty file system.
func (k *Kind) makeFS(dir string) (*Image, error) {
	path := filepath.Join(dir, k.Name+".base")
	defer func() { _ = os.Remove(path) }()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, k.size); err != nil {
		return nil, err
	}
	out, err := exec.Command(k.mkfs[0], append(k.mkfs[1:], path)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", k.mkfs[0], err, out)
	}
	return loadImage(path)
}
