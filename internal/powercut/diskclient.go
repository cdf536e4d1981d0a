//go:build linux

package powercut

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary becomes one of the rig's processes when one of these is set.
const (
	diskEnv     = "MMJOURNAL_POWERCUT_DISK"     // a diskConfig
	workloadEnv = "MMJOURNAL_POWERCUT_WORKLOAD" // a Workload
	flusherEnv  = "MMJOURNAL_POWERCUT_FLUSHER"
)

// maxPacket bounds a command to the disk. It has to fit into the socket's buffer.
const maxPacket = 200 << 10

// patience is how long anything in the rig may take before it counts as hung: far beyond what a
// busy machine needs.
const patience = 10 * time.Minute

// process returns a command that executes this program as one of the rig's processes.
func process(env string, config any) (*exec.Cmd, error) {
	arg, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env+"="+string(arg))
	return cmd, nil
}

// diskProcess is a running disk, seen from outside.
type diskProcess struct {
	config diskConfig
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	conn   *diskConn
}

// startDisk starts a disk and returns when it is there.
func startDisk(config diskConfig) (*diskProcess, error) {
	d := &diskProcess{config: config}
	var err error
	if d.cmd, err = process(diskEnv, config); err != nil {
		return nil, err
	}
	d.cmd.Stderr = &d.stderr
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != answerOK {
		d.kill()
		return nil, fmt.Errorf("disk does not start: %q %w: %s", line, err, &d.stderr)
	}
	if d.conn, err = dialDisk(config.Socket); err != nil {
		d.kill()
		return nil, err
	}
	return d, nil
}

// image is the path of the disk's file.
func (d *diskProcess) image() string { return d.config.Mount + "/" + diskName }

// stop ends the disk; file systems on it must be unmounted.
func (d *diskProcess) stop() error {
	_ = d.conn.Close()
	_ = unix.Unmount(d.config.Mount, 0)
	d.stdin.Close()
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("disk: %w: %s", err, &d.stderr)
		}
		return nil
	case <-time.After(patience):
		d.kill()
		return errors.New("disk hangs")
	}
}

// kill ends the disk at once. The kernel then fails all requests to it, so that nothing hangs.
func (d *diskProcess) kill() {
	_ = d.cmd.Process.Kill()
	_ = unix.Unmount(d.config.FS, unix.MNT_DETACH)
	_ = unix.Unmount(d.config.Mount, unix.MNT_DETACH)
}

// diskConn is a connection to a disk. It is for one goroutine.
type diskConn struct{ net.Conn }

func dialDisk(socket string) (*diskConn, error) {
	c, err := net.Dial("unixpacket", socket)
	if err != nil {
		return nil, err
	}
	return &diskConn{c}, nil
}

// command sends a command and returns the answer.
func (c *diskConn) command(op byte, data any) (string, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	if len(b) >= maxPacket {
		return "", fmt.Errorf("a packet of %d bytes to the disk", len(b))
	}
	if _, err := c.Write(append([]byte{op}, b...)); err != nil {
		return "", err
	}
	answer := make([]byte, 1024)
	n, err := c.Read(answer)
	return string(answer[:n]), err
}

// mark puts a mark into the log and returns when it is there.
func (c *diskConn) mark(m *Mark) error { return c.expect(commandMark, m) }

// arm makes the disk fail.
func (c *diskConn) arm(f fault) error { return c.expect(commandArm, f) }

func (c *diskConn) expect(op byte, data any) error {
	answer, err := c.command(op, data)
	if err == nil && answer != answerOK {
		err = fmt.Errorf("disk: %s", answer)
	}
	return err
}

// heal ends a fault and returns how many requests were refused.
func (c *diskConn) heal() (int, error) {
	answer, err := c.command(commandHeal, nil)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(answer)
}
