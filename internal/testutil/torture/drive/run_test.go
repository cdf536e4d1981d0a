package main

import (
	"errors"
	"testing"
)

// TestFuzzOutput: a fuzz target that is at work when its time is over has found nothing, whatever
// the go command says; any other failure is one.
func TestFuzzOutput(t *testing.T) {
	const at = "fuzz: elapsed: 3s, execs: 75041 (25011/sec), new interesting: 1 (total: 46)\n"
	failed := errors.New("exit status 1")
	for _, c := range []struct {
		name, run, output string
		err               error
		bad               bool
	}{
		{"passes", "FuzzIndex", at + "PASS\n", nil, false},
		{"late", "FuzzIndex",
			at + "--- FAIL: FuzzIndex (53.84s)\n    context deadline exceeded\nFAIL\n", failed, false},
		{"finds", "FuzzIndex",
			at + "--- FAIL: FuzzIndex (3.84s)\n    --- FAIL: FuzzIndex (0.00s)\n" +
				"        x_test.go:1: context deadline exceeded\nFAIL\n", failed, true},
		{"dies", "FuzzIndex", at + "--- FAIL: FuzzIndex (3.84s)\n    fuzzing process hung\nFAIL\n",
			failed, true},
		{"no fuzz target", "^TestKill$", "--- FAIL: TestKill (3s)\n    context deadline exceeded\n",
			failed, true},
		{"never ran", "FuzzIndex", "PASS\n", nil, true},
	} {
		r := result{fault: fault{run: c.run}, err: c.err}
		r.read(c.output)
		if r.bad() != c.bad {
			t.Errorf("%s: bad is %v: %+v", c.name, r.bad(), r)
		}
	}
}
