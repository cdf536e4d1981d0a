package testutil_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

type violation struct {
	where string // file or file:line
	rule  string
	what  string
}

func (v violation) String() string { return fmt.Sprintf("%s: %s: %s", v.where, v.rule, v.what) }

// checker collects what it finds in one tree of source files.
type checker struct {
	fset     *token.FileSet
	found    []violation
	guarded  map[string]int  // rule → uses in its home
	packages map[string]*pkg // directory → package, of those with non-test files
}

type pkg struct {
	name      string
	commented bool
}

// checkTree reads every .go file below the root of the module and returns what breaks a rule.
func checkTree(tree fs.FS) (*checker, error) {
	c := &checker{
		fset:     token.NewFileSet(),
		guarded:  map[string]int{},
		packages: map[string]*pkg{},
	}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && skipDir(tree, name):
			return fs.SkipDir
		case path.Ext(name) == ".s" && !assembly.MatchString(name):
			c.report(name, "assembly", "belongs into %v", assembly)
			return nil
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return c.file(name, src)
	})
	if err != nil {
		return nil, err
	}
	c.finish()
	return c, nil
}

// skipDir reports what the go tool does not take for part of the module either.
func skipDir(tree fs.FS, dir string) bool {
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
		base == "testdata" || base == "vendor" {
		return true
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	return err == nil // a module of its own
}

func (c *checker) report(where, rule, format string, args ...any) {
	c.found = append(c.found, violation{where, rule, fmt.Sprintf(format, args...)})
}

func (c *checker) at(pos token.Pos) string {
	p := c.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func (c *checker) file(name string, src []byte) error {
	if n := bytes.Count(src, []byte("\n")); n > maxLines {
		c.report(name, "length", "%d lines, %d are allowed: split it by what its parts are about",
			n, maxLines)
	}
	f, err := parser.ParseFile(c.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(name, "_test.go")
	if !test {
		c.comment(name, f)
	}
	c.guard(name, f)
	for _, spec := range f.Imports {
		c.imported(name, spec, test)
	}
	return nil
}

// comment checks the package comment of one file, if it has any.
func (c *checker) comment(name string, f *ast.File) {
	dir := path.Dir(name)
	p := c.packages[dir]
	if p == nil {
		p = &pkg{name: f.Name.Name}
		c.packages[dir] = p
	}
	text := f.Doc.Text()
	if text == "" {
		return
	}
	if f.Name.Name != "main" && !strings.HasPrefix(text, "Package "+f.Name.Name+" ") {
		c.report(c.at(f.Doc.Pos()), "package comment", "go doc shows this as the package's comment, "+
			"which starts with %q: put an empty line before the package clause", "Package "+f.Name.Name)
		return
	}
	p.commented = true
}

// guard checks one file's imports and system calls against the guards.
func (c *checker) guard(name string, f *ast.File) {
	system := map[string]bool{} // names that system packages have in this file
	for _, spec := range f.Imports {
		imp := importPath(spec)
		for _, g := range guards {
			if g.imp == imp {
				c.use(g, name, spec.Pos(), "import of "+imp)
			}
		}
		if imp == "C" {
			c.report(c.at(spec.Pos()), "cgo", "the project builds without cgo")
		}
		if !slices.Contains(systemPackages, imp) {
			continue
		}
		local := path.Base(imp)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." {
			c.report(c.at(spec.Pos()), "dot import", "hides calls of %s from this check", imp)
		}
		system[local] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && system[x.Name] {
			for _, g := range guards {
				if g.symbol != nil && g.symbol.MatchString(sel.Sel.Name) {
					c.use(g, name, sel.Pos(), x.Name+"."+sel.Sel.Name)
				}
			}
		}
		return true
	})
}

// use records one use of something guarded.
func (c *checker) use(g guard, file string, pos token.Pos, what string) {
	if ok, err := path.Match(g.home, file); err != nil || !ok {
		c.report(c.at(pos), g.rule, "%s is allowed in %s only: call an accessor there", what, g.home)
		return
	}
	c.guarded[g.rule]++
}

// imported checks the direction of one import and the modules that reach users.
func (c *checker) imported(name string, spec *ast.ImportSpec, test bool) {
	imp, from := importPath(spec), path.Dir(name)
	to, ours := strings.CutPrefix(imp, modulePath+"/")
	switch {
	case test:
	case ours && isHelper(to) && !isHelper(from):
		c.report(c.at(spec.Pos()), "direction", "only tests import %s", imp)
	case ours && !isHelper(from):
		allowed, known := mayImport[from]
		if !known {
			c.report(c.at(spec.Pos()), "direction", "package %s has no line in mayImport", from)
		} else if !slices.Contains(allowed, to) {
			c.report(c.at(spec.Pos()), "direction", "%s must not import %s: it may import %v",
				from, to, allowed)
		}
	case isCore(from) && !standard(imp) && !isModule(imp, coreModules):
		c.report(c.at(spec.Pos()), "dependency", "%s would reach every user of journal: only %v may",
			imp, coreModules)
	}
}

// finish checks what only the whole tree shows.
func (c *checker) finish() {
	for dir, p := range c.packages {
		if !p.commented {
			c.report(dir, "package comment", "package %s has none: go doc shows nothing", p.name)
		}
	}
	slices.SortFunc(c.found, func(a, b violation) int { return strings.Compare(a.where, b.where) })
}

// isHelper reports whether a directory's package is for tests only.
func isHelper(dir string) bool {
	return dir == testHelper || strings.HasPrefix(dir, testHelper+"/")
}

// isCore reports whether a directory's package reaches users of package journal.
func isCore(dir string) bool {
	return dir == "journal" || slices.Contains(mayImport["journal"], dir)
}

// standard reports whether an import path is the standard library's: its first element has no dot.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return first != modulePath && !strings.Contains(first, ".")
}

func isModule(imp string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool {
		return imp == m || strings.HasPrefix(imp, m+"/")
	})
}

func importPath(spec *ast.ImportSpec) string {
	imp, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic(err) // the parser accepted it
	}
	return imp
}
