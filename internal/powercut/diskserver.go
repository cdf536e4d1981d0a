//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// disk is the disk in its own process: a file system with one file, which takes every request down
// in one log.
type disk struct {
	fs.Inode
	config diskConfig
	medium *os.File
	size   int64

	mu struct {
		sync.Mutex
		log     *os.File
		buf     []byte
		fault   *fault
		refused int
	}
}

var (
	_ fs.NodeOpener    = (*disk)(nil)
	_ fs.NodeReader    = (*disk)(nil)
	_ fs.NodeWriter    = (*disk)(nil)
	_ fs.NodeFsyncer   = (*disk)(nil)
	_ fs.NodeGetattrer = (*disk)(nil)
)

func (d *disk) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (d *disk) Getattr(
	_ context.Context, _ fs.FileHandle, out *fuse.AttrOut,
) syscall.Errno {
	out.Mode, out.Size, out.Nlink = syscall.S_IFREG|0o600, uint64(d.size), 1
	return 0
}

func (d *disk) Read(
	_ context.Context, _ fs.FileHandle, dest []byte, off int64,
) (fuse.ReadResult, syscall.Errno) {
	n, err := d.medium.ReadAt(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (d *disk) Write(
	_ context.Context, _ fs.FileHandle, data []byte, off int64,
) (uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuseLocked(WriteEntry) {
		return 0, syscall.EIO
	}
	if _, err := d.medium.WriteAt(data, off); err != nil {
		return 0, fs.ToErrno(err)
	}
	return uint32(len(data)), fs.ToErrno(d.logLocked(WriteEntry, off, data))
}

func (d *disk) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuseLocked(FlushEntry) {
		return syscall.EIO
	}
	if d.config.IgnoreFlush {
		return 0
	}
	return fs.ToErrno(d.logLocked(FlushEntry, 0, nil))
}

// refuseLocked reports whether the armed fault hits this request.
func (d *disk) refuseLocked(kind EntryKind) bool {
	f := d.mu.fault
	if f == nil || f.Kind != kind {
		return false
	}
	if f.After > 0 {
		f.After--
		return false
	}
	if !f.Sticky {
		d.mu.fault = nil
	}
	d.mu.refused++
	return d.logLocked(FaultEntry, 0, nil) == nil
}

func (d *disk) logLocked(kind EntryKind, off int64, data []byte) error {
	d.mu.buf = appendEntry(d.mu.buf[:0], kind, off, data)
	_, err := d.mu.log.Write(d.mu.buf)
	return err
}

// command obeys one packet from the socket and returns the answer.
func (d *disk) command(b []byte) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch b[0] {
	case commandMark:
		return answerOK, d.logLocked(MarkEntry, 0, b[1:])
	case commandArm:
		f := new(fault)
		err := json.Unmarshal(b[1:], f)
		d.mu.fault = f
		return answerOK, err
	case commandHeal:
		d.mu.fault = nil
		return fmt.Sprint(d.mu.refused), nil
	}
	return "", fmt.Errorf("unknown command %q", b[0])
}

// listen takes connections until the listener is closed.
func (d *disk) listen(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			b := make([]byte, maxPacket)
			for {
				n, err := c.Read(b)
				if err != nil || n == 0 {
					return
				}
				answer, err := d.command(b[:n])
				if err != nil {
					answer = err.Error()
				}
				if _, err := c.Write([]byte(answer)); err != nil {
					return
				}
			}
		}()
	}
}

// diskMain is the disk's process. It ends when its standard input does: with the one who started
// it, or at its request.
func diskMain(arg string) error {
	if os.Getenv(flusherEnv) == "" {
		return becomeFlusher()
	}
	d := &disk{}
	if err := json.Unmarshal([]byte(arg), &d.config); err != nil {
		return err
	}
	if err := d.files(); err != nil {
		return err
	}
	l, err := net.Listen("unixpacket", d.config.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	server, err := fs.Mount(d.config.Mount, &root{disk: d}, mountOptions())
	if err != nil {
		return err
	}
	go d.listen(l)
	fmt.Println(answerOK)
	_, _ = io.Copy(io.Discard, os.Stdin)
	// Whoever started the disk has unmounted by now, unless it has died.
	done := make(chan struct{})
	go func() {
		_ = unix.Unmount(d.config.FS, unix.MNT_DETACH)
		_ = unix.Unmount(d.config.Mount, unix.MNT_DETACH)
		server.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
	return nil
}

func (d *disk) files() (err error) {
	if d.medium, err = os.OpenFile(d.config.Medium, os.O_RDWR, 0); err != nil {
		return err
	}
	st, err := d.medium.Stat()
	if err != nil {
		return err
	}
	d.size = st.Size()
	d.mu.log, err = os.OpenFile(d.config.Log, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// becomeFlusher tells the kernel that this process serves writes, so that none of its memory
// allocations waits for one. The mark belongs to a thread and its descendants, so the program is
// executed again with it. It takes CAP_SYS_RESOURCE, which root in a container may lack: then a
// machine that is short of memory could hang here.
func becomeFlusher() error {
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("PR_SET_IO_FLUSHER: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(exe, os.Args, append(os.Environ(), flusherEnv+"=1"))
}

// root is the directory with the one file.
type root struct {
	fs.Inode
	disk *disk
}

var _ fs.NodeOnAdder = (*root)(nil)

func (r *root) OnAdd(ctx context.Context) {
	child := r.NewPersistentInode(ctx, r.disk, fs.StableAttr{Mode: syscall.S_IFREG})
	r.AddChild(diskName, child, false)
}

func mountOptions() *fs.Options {
	hour := time.Hour
	return &fs.Options{
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "powercut", Name: "powercut", MaxWrite: 1 << 20,
			DisableXAttrs: true,
		},
		EntryTimeout: &hour, AttrTimeout: &hour,
	}
}
