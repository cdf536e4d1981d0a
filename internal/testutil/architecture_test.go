package testutil_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The rules of structure. The check reads every .go file of the module, whatever its build
// constraints, so that a rule also holds on the systems that this machine is not.
const (
	modulePath = "mmjournal"
	maxLines   = 600
	testHelper = "internal/testutil"
)

// mayImport says which packages of the project each package's non-test files may import. A new
// package gets its line here; the arrows only point downward. Packages in and below testHelper may
// import any of these and each other, and only tests may import them.
var mayImport = map[string][]string{
	"segment":         {},
	"recovery":        {"segment"},
	"journal":         {"recovery", "segment"},
	"cmd/journaltool": {"journal", "recovery", "segment"},
}

// coreModules is everything that may reach a program through package journal, beside the standard
// library. multierr comes with zap.
var coreModules = []string{
	modulePath,
	"github.com/klauspost/crc32",
	"go.uber.org/multierr",
	"go.uber.org/zap",
	"golang.org/x/sys",
}

// guard confines something dangerous to the files that match home.
type guard struct {
	rule   string
	home   string         // a path.Match pattern
	imp    string         // this import path, or …
	symbol *regexp.Regexp // … these names of the packages in systemPackages
}

var guards = []guard{
	{rule: "unsafe", home: "segment/mapping*.go", imp: "unsafe"},
	{rule: "mmap", home: "segment/mapping*.go", symbol: regexp.MustCompile(
		`^(Mmap|MmapPtr|Munmap|MunmapPtr|Mremap|MremapPtr|Madvise|Mprotect|` +
			`SYS_(MMAP2?|MUNMAP|MREMAP|MADVISE|MPROTECT))$`)},
	{rule: "flock", home: "*/lock_*.go", symbol: regexp.MustCompile(
		`^(Flock|FcntlFlock|SYS_FLOCK)$`)},
}

// assembly is where there may be some.
var assembly = regexp.MustCompile(`^segment/(crc|copy)_[a-z0-9]+\.s$`)

// systemPackages are those through which system calls are made.
var systemPackages = []string{"golang.org/x/sys/unix", "golang.org/x/sys/windows", "syscall"}

// moduleRoot finds the directory with the project's go.mod, upward from the test's own.
func moduleRoot(t *testing.T) string {
	t.Helper()
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && regexp.MustCompile(`(?m)^module `+modulePath+`$`).Match(mod):
			return dir
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			t.Fatal(err)
		case dir == filepath.Dir(dir):
			t.Fatalf("no go.mod of module %s in %s or above", modulePath, start)
		}
	}
}

// TestArchitecture holds the project's source against the rules of structure.
func TestArchitecture(t *testing.T) {
	c, err := checkTree(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.found {
		t.Error(v)
	}
	// A check that looks in the wrong place finds nothing wrong.
	for _, g := range guards {
		if c.guarded[g.rule] == 0 {
			t.Errorf("%s: no use found in %s: is the rule out of date?", g.rule, g.home)
		}
	}
	for dir, allowed := range mayImport {
		if c.packages[dir] == nil {
			t.Errorf("mayImport names %s: no such package", dir)
		}
		for _, to := range allowed {
			if mayImport[to] == nil {
				t.Errorf("mayImport[%q] names %s, which has no line of its own", dir, to)
			}
		}
	}
}

// TestDependencies asks the go command which modules package journal brings to a program, on every
// kind of system: what the imports in our own files do not show.
func TestDependencies(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command:", err)
	}
	for _, goos := range []string{"linux", "darwin", "freebsd", "openbsd", "windows"} {
		t.Run(goos, func(t *testing.T) {
			cmd := exec.Command(tool, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}",
				modulePath+"/journal")
			cmd.Dir = moduleRoot(t)
			cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
			}
			modules := strings.Fields(string(out))
			slices.Sort(modules)
			modules = slices.Compact(modules)
			if !slices.Contains(modules, modulePath) {
				t.Errorf("%v does not name the project itself: %v", cmd, modules)
			}
			for _, m := range modules {
				if !slices.Contains(coreModules, m) {
					t.Errorf("module %s reaches every user of journal: only %v may", m, coreModules)
				}
			}
		})
	}
}

// TestArchitectureFindsViolations breaks each rule in a small tree.
func TestArchitectureFindsViolations(t *testing.T) {
	const doc = "// Package p is an example.\npackage p\n"
	tests := []struct {
		name, file, src string
		want            []string // "file:line: rule" of each violation
	}{
		{"nothing wrong", "segment/a.go", doc + `import _ "golang.org/x/sys/unix"`, nil},
		{"unsafe at home", "segment/mapping_linux.go", doc + `import "unsafe"`, nil},
		{"unsafe elsewhere", "segment/a.go", doc + `import "unsafe"`, []string{"segment/a.go:3: unsafe"}},
		{"unsafe in a test", "segment/a_test.go", doc + `import "unsafe"`,
			[]string{"segment/a_test.go:3: unsafe"}},
		{"unsafe on another system", "journal/a_windows.go",
			"//go:build windows\n\n" + doc + `import "unsafe"`,
			[]string{"journal/a_windows.go:5: unsafe"}},
		{"mmap at home", "segment/mapping_unix.go",
			doc + "import \"golang.org/x/sys/unix\"\nvar _ = unix.MmapPtr", nil},
		{"mmap elsewhere", "recovery/a.go",
			doc + "import \"golang.org/x/sys/unix\"\nvar _, _ = unix.Mmap, unix.Msync",
			[]string{"recovery/a.go:4: mmap"}},
		{"mmap by another name", "segment/a.go",
			doc + "import u \"syscall\"\nfunc f() { _ = u.Munmap(nil) }", []string{"segment/a.go:4: mmap"}},
		{"mmap by number", "segment/a.go",
			doc + "import \"syscall\"\nconst n = syscall.SYS_MADVISE", []string{"segment/a.go:4: mmap"}},
		{"mmap of no system package", "segment/a.go",
			doc + "import \"mmjournal/segment/unix\"\nvar _ = unix.Mmap",
			[]string{"segment/a.go:3: direction"}},
		{"dot import", "segment/a.go", doc + `import . "syscall"`,
			[]string{"segment/a.go:3: dot import"}},
		{"flock at home", "journal/lock_unix.go",
			doc + "import \"golang.org/x/sys/unix\"\nvar _ = unix.Flock", nil},
		{"flock elsewhere", "journal/open.go",
			doc + "import \"golang.org/x/sys/unix\"\nvar _ = unix.Flock",
			[]string{"journal/open.go:4: flock"}},
		{"cgo", "journal/a.go", doc + `import "C"`, []string{"journal/a.go:3: cgo"}},
		{"downward", "journal/a.go", doc + `import "mmjournal/recovery"`, nil},
		{"upward", "segment/a.go", doc + `import "mmjournal/recovery"`,
			[]string{"segment/a.go:3: direction"}},
		{"upward in a test", "segment/a_test.go", doc + `import "mmjournal/recovery"`, nil},
		{"the command", "journal/a.go", doc + `import "mmjournal/cmd/journaltool"`,
			[]string{"journal/a.go:3: direction"}},
		{"test helpers in a program", "cmd/journaltool/a.go",
			doc + `import "mmjournal/internal/testutil"`, []string{"cmd/journaltool/a.go:3: direction"}},
		{"test helpers of helpers", "internal/testutil/disk/a.go",
			doc + "import \"mmjournal/segment\"\nimport \"mmjournal/internal/testutil\"", nil},
		{"test helpers below in a program", "journal/a.go",
			doc + `import "mmjournal/internal/testutil/disk"`, []string{"journal/a.go:3: direction"}},
		{"test helpers in a test", "journal/a_test.go",
			doc + `import "mmjournal/internal/testutil/disk"`, nil},
		{"package without a line", "extra/a.go", doc + `import "mmjournal/segment"`,
			[]string{"extra/a.go:3: direction"}},
		{"core module", "journal/a.go", doc + `import "go.uber.org/zap/zapcore"`, nil},
		{"new module", "recovery/a.go", doc + `import "github.com/google/uuid"`,
			[]string{"recovery/a.go:3: dependency"}},
		{"name that only starts like a module's", "segment/a.go",
			doc + `import "go.uber.org/zapper"`, []string{"segment/a.go:3: dependency"}},
		{"new module in the command", "cmd/journaltool/a.go",
			doc + `import "github.com/spf13/cobra"`, nil},
		{"new module in a test", "journal/a_test.go", doc + `import "pgregory.net/rapid"`, nil},
		{"no comment", "journal/a.go", "package p\n", []string{"journal: package comment"}},
		{"other comment", "journal/a.go", "// Writes.\npackage p\n",
			[]string{"journal: package comment", "journal/a.go:1: package comment"}},
		{"comment of a command", "cmd/journaltool/a.go", "// Journaltool looks.\npackage main\n", nil},
		{"longest file", "journal/a.go", doc + strings.Repeat("\n", maxLines-2), nil},
		{"too long", "journal/a.go", doc + strings.Repeat("\n", maxLines-1),
			[]string{"journal/a.go: length"}},
		{"too long a test", "journal/a_test.go", doc + strings.Repeat("\n", maxLines),
			[]string{"journal/a_test.go: length"}},
		{"assembly at home", "segment/copy_arm64.s", "", nil},
		{"assembly elsewhere", "journal/copy_arm64.s", "",
			[]string{"journal/copy_arm64.s: assembly"}},
		{"testdata", "journal/testdata/a.go", `package p; import "unsafe"`, nil},
		{"hidden", ".cache/a.go", `package p; import "unsafe"`, nil},
		{"another module", "bench/peer/a.go", `package p; import "unsafe"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := checkTree(fstest.MapFS{
				"go.mod":       {Data: []byte("module mmjournal\n")},
				"bench/go.mod": {Data: []byte("module mmjournal/bench\n")},
				tt.file:        {Data: []byte(tt.src)},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range c.found {
				got = append(got, v.where+": "+v.rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got violations %q, want %q\n%v", got, tt.want, c.found)
			}
		})
	}
}
