//go:build linux

package powercut

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// recordErrors records a life on a disk that fails, and after it has been killed and the disk
// healed, the life of one that opens the journal from the same mounted file system, or, with anew,
// after it was mounted anew. It does nothing else, unless second says so.
func (r *Rig) recordErrors(
	img *Image, f fault, seed uint64, anew bool, second func(*Workload),
) ([]Entry, error) {
	s, err := r.start(img, false)
	if err != nil {
		return nil, err
	}
	if err = s.mount(); err == nil {
		err = s.failAndHeal(f, seed, anew, second)
	} else {
		err = &mountError{err}
	}
	return s.finish(err)
}

func (s *session) failAndHeal(
	f fault, seed uint64, anew bool, second func(*Workload),
) error {
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
	if anew {
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
