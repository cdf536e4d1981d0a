//go:build linux

package powercut

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// recordErrors records a life on a disk that fails, and after it has been killed and the disk
// healed, the life of one that opens the journal from the same mounted file system; after a failed
// write, ext4 is mounted anew before. It does nothing else, unless second says so.
func (r *Rig) recordErrors(
	img *Image, f fault, seed uint64, second func(*Workload),
) ([]Entry, error) {
	s, err := r.start(img, false)
	if err != nil {
		return nil, err
	}
	if err = s.mount(); err == nil {
		err = s.failAndHeal(f, seed, second)
	} else {
		err = &mountError{err}
	}
	return s.finish(err)
}

func (s *session) failAndHeal(f fault, seed uint64, second func(*Workload)) error {
	if err := s.disk.conn.arm(f); err != nil {
		return err
	}
	w := s.life(2, seed, 3, 10)
	w.Errors = true
	if err := s.runAndKill(w); err != nil {
		return err
	}
	if _, err := s.disk.conn.heal(); err != nil {
		return err
	}
	// ext4 of Linux 6.18 keeps in memory that the blocks of a write that has failed hold data. A sync
	// of the same bytes later writes the data, returns nil, and does not note that in the file's
	// extents: after a power cut they read as zeros. No program can see that in the same mount.
	if s.rig.kind.Name == "ext4" && f.Kind == WriteEntry {
		if err := errors.Join(unmount(s.path("fs")), s.mount()); err != nil {
			return &mountError{err}
		}
	}
	w.Life, w.Rounds = 3, 0
	second(&w)
	return s.runAndKill(w)
}

// runAndKill runs a workload until it says that it is through, and kills it then.
func (s *session) runAndKill(w Workload) error {
	cmd, err := process(workloadEnv, w)
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer s.watch(cmd).Stop()
	line, rerr := bufio.NewReader(stdout).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if strings.TrimSpace(line) != answerOK {
		return fmt.Errorf("workload: %q %w: %s", line, rerr, &stderr)
	}
	return nil
}
