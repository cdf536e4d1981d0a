//go:build linux

package powercut

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// strictFS is the strict file system in its process. Every node takes the lock for every change, so
// that the log has one order.
type strictFS struct {
	config strictConfig
	mu     struct {
		sync.Mutex
		last uint64 // the highest inode number
		file *os.File
		log  *gob.Encoder
		tree *strictDir

		dirSyncs int
		full     bool // nothing new gets space
	}
}

func (s *strictFS) logLocked(op strictOp) syscall.Errno {
	if s.mu.log == nil {
		return 0
	}
	return fs.ToErrno(s.mu.log.Encode(op))
}

// strictDir is a directory. The library keeps its children.
type strictDir struct {
	fs.Inode
	fsys *strictFS
	ino  uint64
}

var (
	_ fs.NodeCreater   = (*strictDir)(nil)
	_ fs.NodeMkdirer   = (*strictDir)(nil)
	_ fs.NodeUnlinker  = (*strictDir)(nil)
	_ fs.NodeRmdirer   = (*strictDir)(nil)
	_ fs.NodeRenamer   = (*strictDir)(nil)
	_ fs.NodeFsyncer   = (*strictDir)(nil)
	_ fs.NodeGetattrer = (*strictDir)(nil)
)

func (d *strictDir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = 0o700, 1
	return 0
}

// Create makes an empty file.
func (d *strictDir) Create(
	ctx context.Context, name string, _ uint32, _ uint32, out *fuse.EntryOut,
) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.fsys.mu.full {
		return nil, nil, 0, syscall.ENOSPC
	}
	child, errno := d.createLocked(ctx, name)
	out.Mode, out.Nlink = fuse.S_IFREG|0o600, 1
	return child, nil, 0, errno
}

func (d *strictDir) createLocked(ctx context.Context, name string) (*fs.Inode, syscall.Errno) {
	d.fsys.mu.last++
	f := &strictFile{fsys: d.fsys, ino: d.fsys.mu.last}
	child := d.NewInode(ctx, f, fs.StableAttr{Mode: fuse.S_IFREG, Ino: f.ino + 1})
	return child, d.fsys.logLocked(strictOp{Kind: strictCreate, Dir: d.ino, Name: name, File: f.ino})
}

// Mkdir makes an empty directory.
func (d *strictDir) Mkdir(
	ctx context.Context, name string, _ uint32, out *fuse.EntryOut,
) (*fs.Inode, syscall.Errno) {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	out.Mode, out.Nlink = fuse.S_IFDIR|0o700, 1
	return d.mkdirLocked(ctx, name)
}

func (d *strictDir) mkdirLocked(ctx context.Context, name string) (*fs.Inode, syscall.Errno) {
	d.fsys.mu.last++
	sub := &strictDir{fsys: d.fsys, ino: d.fsys.mu.last}
	child := d.NewInode(ctx, sub, fs.StableAttr{Mode: fuse.S_IFDIR, Ino: sub.ino + 1})
	return child, d.fsys.logLocked(strictOp{Kind: strictMkdir, Dir: d.ino, Name: name, File: sub.ino})
}

// Unlink removes a name.
func (d *strictDir) Unlink(_ context.Context, name string) syscall.Errno {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	ino := strictInoOf(d.GetChild(name))
	return d.fsys.logLocked(strictOp{Kind: strictRemove, Dir: d.ino, Name: name, File: ino})
}

// Rmdir removes a directory's name.
func (d *strictDir) Rmdir(ctx context.Context, name string) syscall.Errno {
	if len(d.GetChild(name).Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return d.Unlink(ctx, name)
}

// Rename renames within a directory; more is not needed.
func (d *strictDir) Rename(
	_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32,
) syscall.Errno {
	to, ok := parent.(*strictDir)
	if !ok || to != d || flags != 0 {
		return syscall.EXDEV
	}
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	ino := strictInoOf(d.GetChild(name))
	return d.fsys.logLocked(strictOp{
		Kind: strictRename, Dir: d.ino, Name: name, NewName: newName, File: ino,
	})
}

// Fsync makes the directory's entries durable.
func (d *strictDir) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	d.fsys.mu.dirSyncs++
	if n := d.fsys.config.LiesFrom; n > 0 && d.fsys.mu.dirSyncs >= n {
		return 0
	}
	return d.fsys.logLocked(strictOp{Kind: strictSyncDir, File: d.ino})
}

func strictInoOf(n *fs.Inode) uint64 {
	switch node := n.Operations().(type) {
	case *strictDir:
		return node.ino
	case *strictFile:
		return node.ino
	}
	return 0
}

// strictTop is the mounted root: the tree and the control file.
type strictTop struct {
	fs.Inode
	fsys *strictFS
}

var (
	_ fs.NodeOnAdder = (*strictTop)(nil)
	_ fs.NodeFsyncer = (*strictTop)(nil)
)

// Fsync has nothing to do: the names never change.
func (t *strictTop) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return 0 }

// OnAdd makes the children. The first content becomes part of the log, so that a log says it all.
func (t *strictTop) OnAdd(ctx context.Context) {
	s := t.fsys
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.last = strictRoot
	s.mu.tree = &strictDir{fsys: s, ino: strictRoot}
	tree := t.NewPersistentInode(ctx, s.mu.tree, fs.StableAttr{Mode: fuse.S_IFDIR, Ino: 2})
	t.AddChild(strictTree, tree, false)
	control := t.NewPersistentInode(ctx, &strictController{fsys: s},
		fs.StableAttr{Mode: fuse.S_IFREG, Ino: 1 << 40})
	t.AddChild(strictControl, control, false)
	if s.config.Tree != "" {
		if err := s.mu.tree.loadLocked(ctx, s.config.Tree); err != nil {
			panic(err)
		}
	}
}

// loadLocked copies a directory of the real file system into an empty one.
func (d *strictDir) loadLocked(ctx context.Context, path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		load := d.loadFileLocked
		if e.IsDir() {
			load = d.loadDirLocked
		}
		if err := load(ctx, e.Name(), filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return d.fsys.logAllLocked(strictOp{Kind: strictSyncDir, File: d.ino})
}

func (d *strictDir) loadDirLocked(ctx context.Context, name, path string) error {
	child, errno := d.mkdirLocked(ctx, name)
	sub, ok := child.Operations().(*strictDir)
	if errno != 0 || !ok {
		return errno
	}
	d.AddChild(name, child, false)
	return sub.loadLocked(ctx, path)
}

func (d *strictDir) loadFileLocked(ctx context.Context, name, path string) (err error) {
	child, errno := d.createLocked(ctx, name)
	f, ok := child.Operations().(*strictFile)
	if errno != 0 || !ok {
		return errno
	}
	d.AddChild(name, child, false)
	if f.data, err = os.ReadFile(path); err != nil {
		return err
	}
	return d.fsys.logAllLocked(strictOp{Kind: strictWrite, File: f.ino, Data: f.data},
		strictOp{Kind: strictSync, File: f.ino})
}

func (s *strictFS) logAllLocked(ops ...strictOp) error {
	for _, op := range ops {
		if errno := s.logLocked(op); errno != 0 {
			return errno
		}
	}
	return nil
}

// strictController is the control file.
type strictController struct {
	fs.Inode
	fsys *strictFS
}

var (
	_ fs.NodeOpener    = (*strictController)(nil)
	_ fs.NodeWriter    = (*strictController)(nil)
	_ fs.NodeGetattrer = (*strictController)(nil)
)

// Getattr lets root write.
func (c *strictController) Getattr(
	_ context.Context, _ fs.FileHandle, out *fuse.AttrOut,
) syscall.Errno {
	out.Mode, out.Nlink = 0o600, 1
	return 0
}

// Open sees to it that a write arrives when it is made.
func (c *strictController) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Write obeys a strictCommand.
func (c *strictController) Write(
	_ context.Context, _ fs.FileHandle, data []byte, _ int64,
) (uint32, syscall.Errno) {
	var cmd strictCommand
	if json.Unmarshal(data, &cmd) != nil {
		return 0, syscall.EINVAL
	}
	if cmd.Path != "" {
		return uint32(len(data)), c.fsys.failReads(cmd)
	}
	c.fsys.mu.Lock()
	defer c.fsys.mu.Unlock()
	if cmd.Full != "" {
		c.fsys.mu.full = cmd.Full == "yes"
		return uint32(len(data)), 0
	}
	return uint32(len(data)), c.fsys.logLocked(strictOp{Kind: strictMark, Size: cmd.Mark})
}

// failReads makes reads of a range fail, and drops what the kernel has read of the file.
func (s *strictFS) failReads(cmd strictCommand) syscall.Errno {
	node := &s.mu.tree.Inode
	for name := range strings.SplitSeq(cmd.Path, "/") {
		if node = node.GetChild(name); node == nil {
			return unix.ENOENT
		}
	}
	f, ok := node.Operations().(*strictFile)
	if !ok {
		return unix.EISDIR
	}
	// Dirty pages are written before they are dropped: the lock must be free.
	if errno := f.NotifyContent(0, 0); errno != 0 {
		return errno
	}
	s.mu.Lock()
	f.badFrom, f.badTo = cmd.From, cmd.To
	s.mu.Unlock()
	return f.NotifyContent(0, 0)
}
