package journal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mmjournal/journal"
)

// syscallRecords is how many records of 128 bytes the traced process appends, in segments of 1 MiB.
const syscallRecords = 100_000

// appendForTrace is the traced process; see TestMain.
func appendForTrace(dir string) error {
	j, err := journal.Open(dir, &journal.Options{
		SegmentSize: 1 << 20, Durability: journal.Published,
	})
	if err != nil {
		return err
	}
	p := make([]byte, 128)
	for range syscallRecords {
		if _, err := j.Append(p); err != nil {
			return err
		}
	}
	fmt.Println("rolls", j.Stats().Rolls)
	return j.Close()
}

// Appends with Durability Published make no system call: what a process makes, rolls and the
// preparation of segments included, is far less than one for each record.
func TestAppendsMakeNoSyscalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace: ", err)
	}
	summary := filepath.Join(t.TempDir(), "summary")
	cmd := exec.Command(strace, "-f", "-c", "-o", summary, os.Args[0])
	cmd.Env = append(os.Environ(), traceEnv+"="+filepath.Join(t.TempDir(), "j"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("strace may not trace here: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[len(f)-1] == "total" {
			total, err = strconv.Atoi(f[3])
		}
	}
	if err != nil || total == 0 {
		t.Fatalf("no total in\n%s", text)
	}
	t.Logf("%d records, %s%d system calls", syscallRecords, out, total)
	if total > syscallRecords/5 {
		t.Errorf("%d system calls for %d records:\n%s", total, syscallRecords, text)
	}
}
