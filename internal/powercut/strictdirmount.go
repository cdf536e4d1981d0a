//go:build linux

package powercut

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// strictEnv holds a strictConfig as JSON where the program is to be a strict file system.
const strictEnv = "MMJOURNAL_STRICTDIR"

// strictChild runs the strict file system if the environment says so, and reports whether it did.
func strictChild() (is bool, err error) {
	text := os.Getenv(strictEnv)
	if text == "" {
		return false, nil
	}
	var config strictConfig
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return true, err
	}
	return true, strictMain(config)
}

// strictMounted is a mounted strict file system.
type strictMounted struct {
	config  strictConfig
	cmd     *exec.Cmd
	stdin   io.Closer
	control *os.File
}

// mountStrict starts a process and returns when the file system is mounted. The directories and the
// log's file belong to the caller.
func mountStrict(config strictConfig) (*strictMounted, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	m := &strictMounted{config: config, cmd: exec.Command("/proc/self/exe")}
	m.cmd.Env = append(os.Environ(), strictEnv+"="+string(text))
	m.cmd.Stderr = os.Stderr
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && strings.TrimSpace(line) != strictReady {
		err = errors.New(line)
	}
	if err == nil {
		m.control, err = os.OpenFile(filepath.Join(config.Mount, strictControl), os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount a strict file system: %w", err), m.stop())
	}
	return m, nil
}

// tree returns the path of a name in the file system.
func (m *strictMounted) tree(elem ...string) string {
	return filepath.Join(append([]string{m.config.Mount, strictTree}, elem...)...)
}

// command has the file system obey.
func (m *strictMounted) command(c strictCommand) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = m.control.Write(text)
	return err
}

// stop unmounts and ends the process. Calls that still hang in the file system fail.
func (m *strictMounted) stop() error {
	if m.control != nil {
		m.control.Close()
	}
	err := unix.Unmount(m.config.Mount, 0)
	if err != nil {
		_ = unix.Unmount(m.config.Mount, unix.MNT_DETACH)
	}
	m.stdin.Close()
	kill := time.AfterFunc(patience, func() { _ = m.cmd.Process.Kill() })
	defer kill.Stop()
	return errors.Join(err, m.cmd.Wait())
}
