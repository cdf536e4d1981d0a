//go:build linux

package powercut

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// A job runs numbered cases in a process of its own, so that a case which kills the process is a
// violation and not the end of the tests. The process has mounts of its own, which go with it.
//
// jobs maps names to what sets a job up. It is called once in each process; what it returns runs a
// case, and says in a word how it went.
var jobs = map[string]func(dir, arg string) (jobRun, error){}

type jobRun func(seed uint64) (note string, err error)

// jobAnswer is what the process says after a case.
type jobAnswer struct{ Note, Err, Skip string }

// jobEnv holds a job's name, directory and argument, as JSON, where the program is to run one.
const jobEnv = "MMJOURNAL_JOB"

const hasDied = "has died"

// jobPatience is how long a case may take: longer than what is waited for in it.
const jobPatience = 2 * patience

// jobWorker is the process of a job. It is started when it is needed.
type jobWorker struct {
	name, dir, arg string
	cmd            *exec.Cmd
	in             io.WriteCloser
	answers        chan string // closed when the process has ended
	stderr         *bytes.Buffer
	notes          map[string]int // how often each was given
	killed         bool           // the last case has ended with SIGKILL
}

// run has the process run a case. An error that matches errSkipJob says why no case can be run.
func (w *jobWorker) run(seed uint64) error {
	if w.cmd == nil {
		if err := w.start(); err != nil {
			return err
		}
	}
	fmt.Fprintln(w.in, seed)
	select {
	case answer, ok := <-w.answers:
		if !ok {
			return w.crashed(hasDied)
		}
		var a jobAnswer
		err := json.Unmarshal([]byte(answer), &a)
		switch {
		case err != nil:
			return fmt.Errorf("job %s says %q", w.name, answer)
		case a.Skip != "":
			return fmt.Errorf("%w%s", errSkipJob, a.Skip)
		case a.Err != "":
			return errors.New(a.Err)
		}
		if w.notes == nil {
			w.notes = map[string]int{}
		}
		w.notes[a.Note]++
		return nil
	case <-time.After(jobPatience):
		_ = w.cmd.Process.Signal(syscall.SIGQUIT)
		time.Sleep(time.Second)
		return w.crashed("has hung")
	}
}

// errSkipJob: something that the job needs is missing.
var errSkipJob = errors.New("")

func (w *jobWorker) start() error {
	text, err := json.Marshal([]string{w.name, w.dir, w.arg})
	if err != nil {
		return err
	}
	w.cmd, w.stderr = exec.Command("/proc/self/exe"), new(bytes.Buffer)
	w.cmd.Env = append(os.Environ(), jobEnv+"="+string(text))
	w.cmd.Stderr = w.stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	answers := make(chan string)
	w.answers = answers
	go func() {
		defer close(answers)
		for s := bufio.NewScanner(out); s.Scan(); {
			answers <- s.Text()
		}
	}()
	return nil
}

// crashed ends what is left of the process; the next case gets a new one.
func (w *jobWorker) crashed(how string) error {
	_ = w.cmd.Process.Kill()
	err := w.cmd.Wait()
	if status, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && how == hasDied {
		w.killed = status.Signal() == syscall.SIGKILL
	}
	w.cmd = nil
	text := w.stderr.String()
	return fmt.Errorf("the process %s: %v: %.3000s", how, err, text)
}

// stop ends the process.
func (w *jobWorker) stop() {
	if w.cmd == nil {
		return
	}
	w.in.Close()
	kill := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	for range w.answers {
	}
	_ = w.cmd.Wait()
	w.cmd = nil
}

// jobChild runs a job if the environment says so. It does not return then.
func jobChild() {
	text := os.Getenv(jobEnv)
	if text == "" {
		return
	}
	os.Unsetenv(jobEnv)
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil || len(args) != 3 {
		fmt.Fprintln(os.Stderr, "job:", text, err)
		os.Exit(1)
	}
	run, err := jobs[args[0]](args[1], args[2])
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		seed, _ := strconv.ParseUint(s.Text(), 10, 64)
		var a jobAnswer
		caseErr := err
		if err == nil {
			a.Note, caseErr = run(seed)
		}
		switch {
		case errors.Is(caseErr, errSkipJob):
			a.Skip = caseErr.Error()
		case caseErr != nil:
			a.Err = caseErr.Error()
		}
		answer, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(answer))
	}
	os.Exit(0)
}

// skipJob returns the error of a job whose cases cannot be run.
func skipJob(format string, args ...any) error {
	return fmt.Errorf("%w"+format, append([]any{errSkipJob}, args...)...)
}
