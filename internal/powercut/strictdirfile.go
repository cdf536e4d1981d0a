//go:build linux

package powercut

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// strictFile is a regular file. The kernel caches its pages; what a mapping stores arrives here as
// a write when the kernel writes the page back. The file system's lock guards it.
type strictFile struct {
	fs.Inode
	fsys           *strictFS
	ino            uint64
	data           []byte
	badFrom, badTo int64 // reads of these bytes fail
}

var (
	_ fs.NodeOpener    = (*strictFile)(nil)
	_ fs.NodeGetattrer = (*strictFile)(nil)
	_ fs.NodeSetattrer = (*strictFile)(nil)
	_ fs.NodeReader    = (*strictFile)(nil)
	_ fs.NodeWriter    = (*strictFile)(nil)
	_ fs.NodeFsyncer   = (*strictFile)(nil)
	_ fs.NodeAllocater = (*strictFile)(nil)
)

// Open keeps the page cache: it is the same file.
func (f *strictFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Getattr returns the size that the file system knows.
func (f *strictFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	f.attrLocked(out)
	return 0
}

func (f *strictFile) attrLocked(out *fuse.AttrOut) {
	out.Mode, out.Nlink, out.Size = fuse.S_IFREG|0o600, 1, uint64(len(f.data))
}

// Setattr changes the size; other attributes are not kept.
func (f *strictFile) Setattr(
	_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut,
) syscall.Errno {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	errno := syscall.Errno(0)
	if size, ok := in.GetSize(); ok {
		errno = f.resizeLocked(int64(size))
	}
	f.attrLocked(out)
	return errno
}

func (f *strictFile) resizeLocked(size int64) syscall.Errno {
	switch {
	case size <= int64(len(f.data)):
		f.data = f.data[:size:size]
	case f.fsys.mu.full:
		return syscall.ENOSPC
	default:
		f.data = append(f.data, make([]byte, size-int64(len(f.data)))...)
	}
	return f.fsys.logLocked(strictOp{Kind: strictResize, File: f.ino, Size: size})
}

// Allocate reserves what is reserved already. It cannot punch holes.
func (f *strictFile) Allocate(
	_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32,
) syscall.Errno {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	switch {
	case mode == unix.FALLOC_FL_KEEP_SIZE || mode == 0 && off+size <= uint64(len(f.data)):
		return 0
	case mode == 0:
		return f.resizeLocked(int64(off + size))
	}
	return syscall.EOPNOTSUPP
}

func (f *strictFile) Read(
	_ context.Context, _ fs.FileHandle, dest []byte, off int64,
) (fuse.ReadResult, syscall.Errno) {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	end := min(off+int64(len(dest)), int64(len(f.data)))
	if off < f.badTo && end > f.badFrom {
		return nil, syscall.EIO
	}
	n := 0
	if off < end {
		n = copy(dest, f.data[off:end])
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (f *strictFile) Write(
	_ context.Context, _ fs.FileHandle, data []byte, off int64,
) (uint32, syscall.Errno) {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	if grow := off + int64(len(data)) - int64(len(f.data)); grow > 0 {
		if f.fsys.mu.full {
			return 0, syscall.ENOSPC
		}
		f.data = append(f.data, make([]byte, grow)...)
	}
	copy(f.data[off:], data)
	return uint32(len(data)),
		f.fsys.logLocked(strictOp{Kind: strictWrite, File: f.ino, Off: off, Data: data})
}

// Fsync makes the content and the size durable; the kernel has sent the dirty pages before.
func (f *strictFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	return f.fsys.logLocked(strictOp{Kind: strictSync, File: f.ino})
}

// strictMain is the file system's process. It ends when its standard input does: with the one who
// started it, or at its request.
func strictMain(config strictConfig) error {
	// A signal to the group must not end it before it has unmounted.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	s := &strictFS{config: config}
	if config.Log != "" {
		f, err := os.OpenFile(config.Log, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		s.mu.file, s.mu.log = f, gob.NewEncoder(f)
	}
	hour := time.Hour
	server, err := fs.Mount(config.Mount, &strictTop{fsys: s}, &fs.Options{
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "strict", Name: "strict", DisableXAttrs: true,
			ExplicitDataCacheControl: true, MaxWrite: 1 << 20,
			Logger: log.New(io.Discard, "", 0), // it speaks of every unmount that it meets half-way
		},
		EntryTimeout: &hour, AttrTimeout: &hour,
	})
	if err != nil {
		return err
	}
	fmt.Println(strictReady)
	_, _ = io.Copy(io.Discard, os.Stdin)
	// Whoever started it has unmounted by now, unless it has died.
	_ = unix.Unmount(config.Mount, unix.MNT_DETACH)
	done := make(chan struct{})
	go func() { server.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
	return nil
}

const strictReady = "ready"
