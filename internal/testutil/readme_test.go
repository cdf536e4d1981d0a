package testutil_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme makes a module with the README's lines and its example, and runs it.
func TestReadme(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command: ", err)
	}
	root := moduleRoot(t)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	edit := regexp.MustCompile("(?m)^go (mod edit .*) && go mod tidy$").FindSubmatch(readme)
	if example == nil || edit == nil {
		t.Fatal("README.md has no example, or does not say how to import the module")
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": string(example[1]), "go.sum": string(sums), "go.mod": "module example\n\ngo 1.26\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(tool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run(strings.Fields(strings.ReplaceAll(string(edit[1]), "DIR", root))...)
	// go mod tidy would also ask for what only tests of dependencies need: that may need a network.
	run("build", "-mod=mod", "-o", "program", ".")
	cmd := exec.Command(filepath.Join(dir, "program"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "1 hello\n" {
		t.Errorf("the example says %q: %v", out, err)
	}
}
