package journal_test

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"mmjournal/segment"
)

// blow is one damage to the files of a state.
type blow struct {
	class string
	ci    bool // it is among those that go test makes; the others are for make torture
	what  func() string
	edit  func(files map[string][]byte) // may replace files, must not change their bytes
}

// blows calls yield with every single damage to a state, until it returns false. A damage that
// changes nothing is among them.
func (st *matrixState) blows(yield func(b blow) bool) {
	for _, all := range []func(func(blow) bool) bool{
		st.bits, st.lengths, st.blocks(512), st.blocks(4096), st.swaps(512), st.swaps(4096),
		st.wholeFiles, st.journalFile,
	} {
		if !all(yield) {
			return
		}
	}
}

// with returns an edit of one file.
func with(path string, edit func(b []byte) []byte) func(map[string][]byte) {
	return func(files map[string][]byte) { files[path] = edit(files[path]) }
}

// patch returns an edit that overwrites bytes of a file.
func patch(path string, off int, p []byte) func(map[string][]byte) {
	return with(path, func(b []byte) []byte {
		b = bytes.Clone(b)
		copy(b[off:], p)
		return b
	})
}

func kind(path string) string {
	if path == matrixJournal {
		return "JOURNAL"
	}
	return "segment"
}

// bits flips every bit; one state is enough for go test, and some bits of the others. Of JOURNAL
// the bytes that are not reserved are enough.
func (st *matrixState) bits(yield func(blow) bool) bool {
	for _, path := range st.paths {
		for bit := range 8 * len(st.files[path]) {
			at := bit / 8 % 4096
			ci := bit%197 == 0 || st.name == "front truncated" &&
				(path != matrixJournal || at < 256 || at >= 4088)
			if !yield(blow{"bit flipped, " + kind(path), ci,
				func() string {
					return fmt.Sprintf("%s: bit %d of byte %d flipped", path, bit%8, bit/8)
				},
				with(path, func(b []byte) []byte {
					b = bytes.Clone(b)
					b[bit/8] ^= 1 << (bit % 8)
					return b
				}),
			}) {
				return false
			}
		}
	}
	return true
}

// lengths cuts every file to every length, and makes it longer by every length.
func (st *matrixState) lengths(yield func(blow) bool) bool {
	for _, path := range st.paths {
		size := len(st.files[path])
		for n := range size {
			ci := size < 4096 || n%127 == 0 || n%4096 < 2 || n%4096 == 4095
			if !yield(blow{"cut short, " + kind(path), ci,
				func() string { return fmt.Sprintf("%s: cut to %d bytes", path, n) },
				with(path, func(b []byte) []byte { return b[:n:n] }),
			}) {
				return false
			}
		}
		all := st.extensions(path, size)
		for n := 1; n <= size; n++ {
			for _, x := range all {
				ci := size < 4096 || n%(1<<10) == 0 || n < 16 || n%509 == 0
				if !yield(blow{"extended, " + kind(path), ci,
					func() string { return fmt.Sprintf("%s: %d bytes longer (%s)", path, n, x.name) },
					with(path, func(b []byte) []byte { return append(b[:size:size], x.b[:n]...) }),
				}) {
					return false
				}
			}
		}
	}
	return true
}

// extension is what may stand behind a file; any beginning of it.
type extension struct {
	name string
	b    []byte
}

// extensions returns what may be behind a file that was made longer, n bytes of each.
func (st *matrixState) extensions(path string, n int) []extension {
	zeros := make([]byte, n)
	return []extension{
		{"zeros", zeros}, {"0xff", bytes.Repeat([]byte{0xff}, n)}, {"noise", noise(0, n)},
		{"frames of another life", slices.Concat(st.deadOf(path), zeros)},
	}
}

// deadOf returns the frames of a segment of the dead life; for JOURNAL, its bytes.
func (st *matrixState) deadOf(path string) []byte {
	b := st.dead[path]
	if b == nil {
		b = st.dead[filepath.Join(modelDir, segment.FileName(2))]
	}
	if len(b) > 4096 {
		return b[4096:]
	}
	return b
}

// noise returns n random bytes, the same for the same key; they must not be changed.
func noise(key, n int) []byte {
	from := key * 64 % matrixSegment
	return noisy[from : from+n : from+n]
}

var noisy = func() []byte {
	r := newRand(1)
	b := make([]byte, 2*matrixSegment)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// blocks overwrites every block of a size: with zeros, noise, what it held at each earlier moment,
// and what the same place holds in the other journal and in the dead life.
func (st *matrixState) blocks(size int) func(func(blow) bool) bool {
	return func(yield func(blow) bool) bool {
		for _, path := range st.paths[1:] {
			for off := 0; off < len(st.files[path]); off += size {
				for how, b := range st.contents(path, off, size) {
					if !yield(blow{
						fmt.Sprintf("%d-byte block %s", size, how), true,
						func() string { return fmt.Sprintf("%s: %d bytes at %d %s", path, size, off, how) },
						patch(path, off, b),
					}) {
						return false
					}
				}
			}
		}
		return true
	}
}

// contents yields what a block may be overwritten with, and how to call that.
func (st *matrixState) contents(path string, off, size int) func(func(string, []byte) bool) {
	return func(yield func(string, []byte) bool) {
		if !yield("zeroed", make([]byte, size)) || !yield("overwritten", noise(off/512, size)) {
			return
		}
		last := st.files[path][off : off+size]
		for _, m := range slices.Backward(st.moments) {
			if b := m[path]; b != nil && !bytes.Equal(b[off:off+size], last) {
				last = b[off : off+size]
				if !yield("stale", last) {
					return
				}
			}
		}
		for _, from := range []struct {
			how   string
			files map[string][]byte
		}{{"of another journal", st.other}, {"of a dead life", st.dead}} {
			if b := from.files[path]; b != nil && !yield(from.how, b[off:off+size]) {
				return
			}
		}
	}
}

// swaps exchanges every two blocks of a size, of all segments.
func (st *matrixState) swaps(size int) func(func(blow) bool) bool {
	type place struct {
		path string
		off  int
	}
	return func(yield func(blow) bool) bool {
		var all []place
		for _, path := range st.paths[1:] {
			for off := 0; off < len(st.files[path]); off += size {
				all = append(all, place{path, off})
			}
		}
		for i, p := range all {
			for k, q := range all[:i] {
				ci := size == 4096 || k == i-1 || (i*131+k*17)%37 == 0
				if !yield(blow{
					fmt.Sprintf("%d-byte blocks swapped", size), ci,
					func() string { return fmt.Sprintf("%d bytes at %v and %v swapped", size, p, q) },
					func(files map[string][]byte) {
						a, b := files[p.path][p.off:p.off+size], files[q.path][q.off:q.off+size]
						patch(p.path, p.off, b)(files)
						patch(q.path, q.off, a)(files)
					},
				}) {
					return false
				}
			}
		}
		return true
	}
}

// wholeFiles loses, copies, renames, empties and replaces segments.
func (st *matrixState) wholeFiles(yield func(blow) bool) bool {
	paths := st.paths[1:]
	last := st.segments()[len(paths)-1].ordinal
	next := filepath.Join(modelDir, segment.FileName(last+1))
	ok := true
	do := func(class, what string, edit func(map[string][]byte)) {
		ok = ok && yield(blow{"segment " + class, true, func() string { return what }, edit})
	}
	for _, p := range paths {
		name := filepath.Base(p)
		do("missing", name, func(files map[string][]byte) { delete(files, p) })
		do("doubled", name+" under the next ordinal", func(files map[string][]byte) {
			files[next] = files[p]
		})
		do("renamed", name+" to the next ordinal", func(files map[string][]byte) {
			files[next] = files[p]
			delete(files, p)
		})
		do("empty", name, with(p, func([]byte) []byte { return nil }))
		do("zeroed", name, with(p, func(b []byte) []byte { return make([]byte, len(b)) }))
		for _, q := range paths {
			if p == q {
				continue
			}
			do("copied over another", name+" over "+filepath.Base(q), with(q, func([]byte) []byte {
				return st.files[p]
			}))
			do("names swapped", name+" and "+filepath.Base(q), func(files map[string][]byte) {
				files[p], files[q] = files[q], files[p]
			})
		}
		st.replacements(p, func(how string, b []byte) {
			do(how, name, with(p, func([]byte) []byte { return b }))
		})
	}
	return ok
}

// replacements calls f with other contents that the file has had, or has elsewhere.
func (st *matrixState) replacements(path string, f func(how string, b []byte)) {
	last := st.files[path]
	for _, m := range slices.Backward(st.moments) {
		if b := m[path]; b != nil && !bytes.Equal(b, last) {
			last = b
			f("as at an earlier moment", b)
		}
	}
	if b := st.other[path]; b != nil {
		f("of another journal", b)
	}
	if b := st.dead[path]; b != nil {
		f("of a dead life", b)
	}
}

// journalFile loses, empties and replaces the file JOURNAL.
func (st *matrixState) journalFile(yield func(blow) bool) bool {
	ok := true
	do := func(class string, edit func(map[string][]byte)) {
		what := func() string { return class }
		ok = ok && yield(blow{"JOURNAL " + class, true, what, edit})
	}
	p := matrixJournal
	do("missing", func(files map[string][]byte) { delete(files, p) })
	do("empty", with(p, func([]byte) []byte { return nil }))
	do("zeroed", with(p, func(b []byte) []byte { return make([]byte, len(b)) }))
	do("overwritten", with(p, func(b []byte) []byte { return noise(1, len(b)) }))
	st.replacements(p, func(how string, b []byte) {
		do(how, with(p, func([]byte) []byte { return b }))
	})
	for _, size := range []int{512, 4096} { // of one copy, and a whole one
		for off := 0; off < len(st.files[p]); off += size {
			for how, b := range st.contents(p, off, size) {
				class := fmt.Sprintf("JOURNAL, %d bytes %s", size, how)
				what := func() string { return fmt.Sprintf("%s: at %d", class, off) }
				ok = ok && yield(blow{class, true, what, patch(p, off, b)})
			}
		}
	}
	return ok
}

// damagedBy returns the state's files after a damage, or nil if that has changed nothing.
func (st *matrixState) damagedBy(b blow) map[string][]byte {
	files := maps.Clone(st.files)
	b.edit(files)
	if diffFiles(st.files, files) == "" {
		return nil
	}
	return files
}
