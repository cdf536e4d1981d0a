package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs tests that pass, fail, skip, panic and do not compile.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"pass/a_test.go": `package a
import "testing"
func TestA(t *testing.T) { t.Log("quiet") }
func TestB(t *testing.T) {
	t.Run("x", func(t *testing.T) { t.Skip("needs root:", "a\nlong reason") })
	t.Run("y", func(t *testing.T) { t.Skip("needs root:", "a\nlong reason") })
}
func TestC(t *testing.T) { t.Log("before"); t.Skipf("needs %s", "FUSE") }
func TestD(t *testing.T) { t.SkipNow() }`,
		"none/a.go": "package none",
	} {
		write(t, filepath.Join(dir, file), text)
	}
	code, out := gotest(t, dir)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := []string{
		"ok  \texample/pass", "skipped: needs FUSE (pass.TestC)\n",
		"skipped: needs root: a long reason (pass.TestB/x, pass.TestB/y)\n",
		"skipped: no reason given (pass.TestD)\n",
		"tests: 2 passed, 0 failed, 4 skipped",
	}
	check(t, out, want, []string{"quiet", "before", "none", "==="})

	for file, text := range map[string]string{
		"fail/a_test.go": `package a
import ("fmt"; "testing")
func TestA(t *testing.T) { fmt.Println("printed"); t.Run("part", testPart) }
func testPart(t *testing.T) { t.Error("wrong") }
func TestB(t *testing.T) { t.Log("quiet") }`,
		"panic/a_test.go": `package a
import "testing"
func TestA(t *testing.T) { t.Log("started"); panic("no way") }`,
		"build/a_test.go": "package a\nvar x int = \"text\"",
	} {
		write(t, filepath.Join(dir, file), text)
	}
	code, out = gotest(t, dir)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	want = []string{
		"ok  \texample/pass", "printed\n", "a_test.go:4: wrong\n", "--- FAIL: TestA",
		"FAIL\texample/fail", "panic: no way", "started", "FAIL\texample/panic",
		"cannot use", "FAIL\texample/build",
		" failed, 4 skipped",
	}
	check(t, out, want, []string{"quiet"})
	if code, out = gotest(t, dir, "-v", "-run", "B"); code != 1 || !strings.Contains(out, "quiet") {
		t.Errorf("-v: exit code %d\n%s", code, out)
	}
}

func gotest(t *testing.T, dir string, flags ...string) (int, string) {
	t.Helper()
	t.Setenv("GOFLAGS", "-mod=mod")
	var out strings.Builder
	code, err := run(append(append([]string{"-C", dir}, flags...), "./..."), &out)
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String()
}

func check(t *testing.T, out string, want, not []string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing", text)
		}
	}
	for _, text := range not {
		if strings.Contains(out, text) {
			t.Errorf("%q is there", text)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
