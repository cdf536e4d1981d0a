package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mmjournal/journal"
)

// corpus is the demo's input: files of lines, the same in every process that opens it.
type corpus struct {
	root  string // "" if it is generated
	files []string
	at    int // how many files lines has come to
	read  func(name string) ([]byte, error)
}

// openCorpus lists the .go files under root in the order of their paths. Without a root the lines
// are generated.
func openCorpus(root string) (*corpus, error) {
	if root == "" {
		return generatedCorpus(), nil
	}
	fsys := os.DirFS(root)
	c := &corpus{root: root}
	c.read = func(name string) ([]byte, error) { return fs.ReadFile(fsys, name) }
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && path.Ext(name) == ".go" {
			c.files = append(c.files, name)
		}
		return err
	})
	if err == nil && len(c.files) == 0 {
		err = fmt.Errorf("%s: no .go files", root)
	}
	slices.Sort(c.files)
	return c, err
}

// chooseCorpus opens the corpus in dir, or, without one, that of every machine.
func chooseCorpus(ctx context.Context, dir string) (*corpus, error) {
	if dir != "" {
		return openCorpus(dir)
	}
	return goCorpus(ctx), nil
}

// goCorpus opens the source code of the installed Go. Where there is none the lines are generated.
func goCorpus(ctx context.Context) *corpus {
	root := os.Getenv("GOROOT")
	if root == "" {
		out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err == nil {
			root = strings.TrimSpace(string(out))
		}
	}
	if root != "" {
		if c, err := openCorpus(filepath.Join(root, "src")); err == nil {
			return c
		}
	}
	return generatedCorpus()
}

// generatedCorpus is a million lines in 500 files. Each depends on its file's number alone.
func generatedCorpus() *corpus {
	words := strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu")
	c := &corpus{}
	for i := range 500 {
		c.files = append(c.files, fmt.Sprintf("%03d", i))
	}
	c.read = func(name string) ([]byte, error) {
		seed := uint64(slices.Index(c.files, name))
		r := rand.New(rand.NewPCG(seed, 1))
		var b bytes.Buffer
		for i := range 2000 {
			fmt.Fprintf(&b, "%s.%d", name, i)
			for range r.IntN(16) {
				b.WriteString(" " + words[r.IntN(len(words))])
			}
			b.WriteByte('\n')
		}
		return b.Bytes(), nil
	}
	return c
}

// lines yields every line of every file, without its newline. What follows a file's last newline
// is a line too.
func (c *corpus) lines(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i, name := range c.files {
			c.at = i
			data, err := c.read(name)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for line := range bytes.Lines(data) {
				if !yield(bytes.TrimSuffix(line, []byte("\n")), nil) {
					return
				}
			}
		}
	}
}

// lineSum counts and digests lines, each followed by a newline.
type lineSum struct {
	lines, bytes uint64
	frames       int64 // bytes that the lines take in segments
	longest      int
	hash         hash.Hash
}

func newLineSum() *lineSum { return &lineSum{hash: sha256.New()} }

func (s *lineSum) add(line []byte) {
	s.lines++
	s.bytes += uint64(len(line)) + 1
	s.frames += journal.FrameSize(len(line))
	s.longest = max(s.longest, len(line))
	s.hash.Write(line)
	s.hash.Write([]byte("\n"))
}

func (s *lineSum) sha256() string { return hex.EncodeToString(s.hash.Sum(nil)) }
