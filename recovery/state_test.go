package recovery

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mmjournal/internal/testutil"
	"mmjournal/segment"
)

// TestNoJournal: what is no journal is told from one that is empty, and from files of others.
func TestNoJournal(t *testing.T) {
	empty := &dir{TB: t, fsys: segment.NewHeapFS()}
	if _, err := Scan(empty.fsys, testDir, Options{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := OpenDir(missing); !errors.Is(err, ErrNotExist) ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	empty.write("LOCK", []byte("42"))
	if _, err := Scan(empty.fsys, testDir, Options{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("a lock only: %v", err)
	}
	empty.write("thesis.txt", []byte("hello"))
	_, err := Scan(empty.fsys, testDir, Options{})
	if !errors.Is(err, ErrNotJournal) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("somebody's directory: %v", err)
	}
}

// TestListings: what the state says may be removed.
func TestListings(t *testing.T) {
	d := newDir(t)
	d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close()
	d.prepare(4)
	d.prepare(5)
	d.done().write(name(6)+".tmp", nil).write("JOURNAL.tmp", nil)
	st := d.scan(Options{})
	if got := st.Prepared(); !slices.Equal(got, []uint64{5, 4}) {
		t.Errorf("prepared: %d", got)
	}
	if got := st.Dead(); !slices.Equal(got, []uint64{2}) {
		t.Errorf("dead: %d", got)
	}
	if got := st.Temps(); !slices.Equal(got, []string{name(6) + ".tmp", "JOURNAL.tmp"}) {
		t.Errorf("under preparation: %q", got)
	}
	if st.Highest != 5 || st.End.Ordinal != 3 || st.Claim != st.Journal.Claim {
		t.Errorf("highest %d, end %v, claim %v", st.Highest, st.End, st.Claim)
	}
	d.flip(2, 100)
	if got := d.scan(Options{}).Dead(); len(got) != 0 {
		t.Errorf("damaged, and dead: %d", got)
	}
	d.flip(5, 100)
	if got := d.scan(Options{}).Prepared(); slices.Contains(got, 5) {
		t.Errorf("damaged, and prepared: %d", got)
	}
	d.flip(5, 100)
	if err := Remove(d.fsys, testDir, append(st.Temps(), "not there")...); err != nil {
		t.Error(err)
	}
	if got := d.scan(Options{}).Temps(); len(got) != 0 {
		t.Errorf("under preparation, after removal: %q", got)
	}
	broken := &watchFS{FS: d.fsys, hook: func(op, name string) error {
		if op == "remove" {
			return syscall.EIO
		}
		return nil
	}}
	if err := Remove(broken, testDir, name(5)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Remove: %v", err)
	}
}

// TestTakeChain: segments that were taken outlive the state.
func TestTakeChain(t *testing.T) {
	d := newDir(t)
	d.start().append(5).roll().append(5).close().prepare(3)
	d.done()
	watch := &watchFS{FS: d.fsys}
	st, err := Scan(watch, testDir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	chain := st.TakeChain()
	st.Close()
	if len(chain) != 2 || watch.maps != 2 || st.Chain != nil {
		t.Fatalf("%d segments taken, %d mappings left", len(chain), watch.maps)
	}
	if p, err := chain[1].Read(10, nil); string(p) != d.records[9] || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	for _, s := range chain {
		if err := s.Drop(); err != nil {
			t.Error(err)
		}
	}
	if watch.maps != 0 || watch.handles != 0 {
		t.Errorf("%d mappings, %d handles left", watch.maps, watch.handles)
	}
}

// TestNewer: files of newer software are refused as such, not as damage, wherever they are.
func TestNewer(t *testing.T) {
	newVersion := func(b []byte) {
		binary.LittleEndian.PutUint32(b[8:], 2)
		binary.LittleEndian.PutUint32(b[12:], segment.Checksum(b[:12]))
	}
	for _, c := range []struct {
		name  string
		build func(d *dir)
	}{
		{"version of JOURNAL", func(d *dir) { d.start().append(3).close().edit("JOURNAL", newVersion) }},
		{"version of the second copy in JOURNAL", func(d *dir) {
			d.start().append(3).close().edit("JOURNAL", func(b []byte) { newVersion(b[4096:]) })
		}},
		{"version of a copy in JOURNAL, and the other one is damaged", func(d *dir) {
			d.start().append(3).close().edit("JOURNAL", func(b []byte) { newVersion(b[4096:]); b[20] ^= 1 })
		}},
		{"feature of JOURNAL", func(d *dir) {
			d.start().append(3).close().edit("JOURNAL", func(b []byte) { setByte(b[:4096], 48, 1) })
		}},
		{"version of the newest segment", func(d *dir) {
			d.start().append(3).close().done().edit(name(1), newVersion)
		}},
		{"version of a prepared segment", func(d *dir) {
			d.start().append(3).close().prepare(2)
			d.done().edit(name(2), newVersion)
		}},
		{"version, and everything else is damaged", func(d *dir) {
			d.start().append(3).close().done().edit(name(1), newVersion).edit(name(1), func(b []byte) {
				clear(b[16:])
			})
			d.remove("JOURNAL")
		}},
		{"feature", func(d *dir) {
			d.start().append(3).close().done().edit(name(1), func(b []byte) { setByte(b, 64, 2) })
		}},
		{"a frame of an unknown kind", func(d *dir) {
			d.start().append(3).done().edit(name(1), func(b []byte) { putNewFrame(b, at(3), 4, 8) })
		}},
		{"a compressed record", func(d *dir) {
			d.start().append(3).done().edit(name(1), func(b []byte) { putNewFrame(b, at(3), 4, 0x21) })
		}},
		{"a frame of an unknown kind in a predecessor", func(d *dir) {
			d.start().append(3).roll().append(1).done().edit(name(1), func(b []byte) {
				putNewFrame(b, at(1), 2, 9)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			st := look(t, d, Options{})
			if st.Label != Newer || !errors.Is(st.Err, segment.ErrVersion) ||
				errors.Is(st.Err, segment.ErrCorrupt) {
				t.Errorf("%s, %v", st.Label, st.Err)
			}
			if len(st.Chain) != 0 && st.Label == Newer {
				t.Errorf("%d segments are shown", len(st.Chain))
			}
		})
	}
}

// putNewFrame writes a frame of a kind that version 1 does not have, with the right checksum.
func putNewFrame(b []byte, off segment.Offset, seq uint64, kind byte) {
	putFrame(b, off, seq, kind, 16)
}

// putFrame writes a frame of zeros with that length.
func putFrame(b []byte, off segment.Offset, seq uint64, kind byte, length uint32) {
	le := binary.LittleEndian
	f := b[off:]
	clear(f[:length+8])
	le.PutUint64(f[8:], seq<<8|uint64(kind))
	sum := append([]byte(nil), f[16:length]...)
	sum = le.AppendUint64(sum, le.Uint64(b[40:])^(uint64(off)<<29|uint64(length)))
	le.PutUint32(f, length)
	le.PutUint32(f[4:], segment.Checksum(append(sum, f[8:16]...)))
}

// TestForeign: segments of another journal are refused, and left alone.
func TestForeign(t *testing.T) {
	other := newDir(t)
	other.file.Journal[15] = 7
	other.start().append(2).close().done()
	for _, c := range []struct {
		name  string
		build func(d *dir)
		at    uint64
	}{
		{"in place of the only one", func(d *dir) {
			d.start().append(3).close().done().write(name(1), other.read(name(1)))
		}, 1},
		{"another JOURNAL", func(d *dir) {
			d.start().append(3).close().done().write("JOURNAL", other.read("JOURNAL"))
		}, 1},
		{"without a JOURNAL", func(d *dir) {
			d.start().append(3).roll().append(1).close().done()
			d.write(name(1), other.read(name(1))).remove("JOURNAL")
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			st := look(t, d, Options{})
			var ce *segment.CorruptError
			if st.Label != Foreign || !errors.As(st.Err, &ce) || !errors.Is(st.Err, segment.ErrForeign) ||
				ce.Segment != c.at {
				t.Errorf("%s, %v", st.Label, st.Err)
			}
			if damage := st.Report.Damage; len(damage) == 0 || damage[len(damage)-1].Segment != c.at {
				t.Errorf("damage %v, want segment %d", damage, c.at)
			}
		})
	}
}

// TestIOErrors: any operation that fails makes Scan fail with that error; it is never taken for
// damage, and leaves nothing open.
func TestIOErrors(t *testing.T) {
	d := newDir(t)
	d.start().append(5).roll().append(5).sync().mark().truncateBack(3, 2).append(1).close().prepare(4)
	d.done()
	for _, o := range []Options{{}, {Full: true}, {Live: true}} {
		failed := map[string]int{}
		for k := 0; ; k++ {
			n, op := 0, ""
			watch := &watchFS{FS: d.fsys}
			watch.hook = func(what, name string) error {
				if n++; n <= k {
					return nil
				}
				if op == "" {
					op = what
				}
				return &fs.PathError{Op: what, Path: name, Err: syscall.EIO}
			}
			st, err := Scan(watch, testDir, o)
			if op == "" {
				if err != nil || st.Label != Clean {
					t.Fatal(err)
				}
				st.Close()
				break
			}
			failed[op]++
			if op == "close" && err == nil {
				st.Close() // of a file that was read
			} else if st != nil || !errors.Is(err, syscall.EIO) || errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("%s failed: state %v, error %v", op, st, err)
			}
			if watch.handles != 0 || watch.maps != 0 {
				t.Errorf("%s failed: %d handles, %d mappings left", op, watch.handles, watch.maps)
			}
		}
		for _, op := range []string{"readdir", "open", "size", "read", "map"} {
			if failed[op] == 0 {
				t.Errorf("%+v: %s never failed", o, op)
			}
		}
	}
	watch := &watchFS{FS: d.fsys, hook: func(string, string) error { return syscall.EACCES }}
	if err := CheckNames(watch, testDir); !errors.Is(err, syscall.EACCES) {
		t.Errorf("CheckNames: %v", err)
	}
}

// TestFault: a file that is cut while it is scanned, the newest or a predecessor, trusted or not,
// is an error, not damage.
func TestFault(t *testing.T) {
	if os.Getpagesize() > 4096 {
		t.Skip("the files are smaller than a page")
	}
	d := newDir(t)
	d.start().append(30).roll().append(1).close().done()
	for _, cut := range []uint64{1, 2} {
		for _, full := range []bool{false, true} {
			osDir := t.TempDir()
			for file, content := range d.content() {
				d.must(os.WriteFile(filepath.Join(osDir, file), []byte(content), 0o600))
			}
			watch := &watchFS{FS: testutil.OpenDir(t, osDir), hook: func(op, what string) error {
				if op == "map" && what == name(cut) {
					return os.Truncate(filepath.Join(osDir, what), 4096)
				}
				return nil
			}}
			_, err := Scan(watch, osDir, Options{Full: full})
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if !errors.Is(err, segment.ErrFault) || errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("segment %d cut, full %v: error %v, want ErrFault", cut, full, err)
			}
			if watch.handles != 0 || watch.maps != 0 {
				t.Errorf("%d handles, %d mappings left", watch.handles, watch.maps)
			}
		}
	}
}

// TestSettle: what is shown is made durable, oldest segment first: pages are dirtied again, then
// synced, and the directory at the end. What a claim covers is left alone.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(d *dir)
		want  []string
	}{
		{"one segment", func(d *dir) { d.start().append(3) },
			[]string{"dirty 1", "datasync 1", "syncdir"}},
		{"three segments, nothing claimed", func(d *dir) { d.start().append(3).roll().append(3).roll() },
			[]string{"dirty 1", "datasync 1", "dirty 2", "datasync 2", "dirty 3", "datasync 3", "syncdir"}},
		{"the first two are claimed, the second in part", func(d *dir) {
			d.start().append(3).roll().append(3).sync().append(1).roll().append(1)
		}, []string{"dirty 2", "datasync 2", "dirty 3", "datasync 3", "syncdir"}},
		{"a seal without a successor in use", func(d *dir) { d.start().append(3).seal() },
			[]string{"dirty 1", "datasync 1", "syncdir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			c.build(d)
			d.done()
			before := d.content()
			var ops []string
			watch := &watchFS{FS: d.fsys}
			st, err := Scan(watch, testDir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			watch.hook = func(op, what string) error {
				switch op {
				case "dirty", "datasync", "write":
					ops = append(ops, op+" "+strings.TrimLeft(strings.TrimSuffix(what, ".seg"), "0"))
				case "syncdir":
					ops = append(ops, op)
				}
				return nil
			}
			if held, err := st.Settle(); err != nil || !held {
				t.Fatal(held, err)
			}
			if !slices.Equal(ops, c.want) {
				t.Errorf("did %q, want %q", ops, c.want)
			}
			if !reflect.DeepEqual(d.content(), before) {
				t.Error("settling has changed the directory")
			}
			for _, fail := range []string{"open for writing", "map", "datasync", "syncdir"} {
				watch.hook = func(op, _ string) error {
					if op == fail {
						return syscall.EIO
					}
					return nil
				}
				if _, err := st.Settle(); !errors.Is(err, syscall.EIO) {
					t.Errorf("%s failed: %v", fail, err)
				}
			}
			watch.hook = nil
			st.Close()
			if watch.handles != 0 || watch.maps != 0 {
				t.Errorf("%d handles, %d mappings left", watch.handles, watch.maps)
			}
		})
	}
}

// TestSettleLooksAgain: what comes back from the disk after the sync is not what the scan has seen.
func TestSettleLooksAgain(t *testing.T) {
	for name, change := range map[string]func(d *dir){
		"nothing":             func(*dir) {},
		"below the claim":     func(d *dir) { d.flipInPlace(1, at(1)+40) },
		"a record":            func(d *dir) { d.flipInPlace(1, at(5)+40) },
		"the last one":        func(d *dir) { d.flipInPlace(2, at(1)+40) },
		"a link":              func(d *dir) { d.flipInPlace(2, segment.FirstFrame+40) },
		"behind the last one": func(d *dir) { d.flipInPlace(2, 8191) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDir(t)
			d.start().append(3).sync().mark().append(3).roll().append(2).done()
			st, err := Scan(d.fsys, testDir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			change(d)
			held, err := st.Settle()
			want := name == "nothing" || strings.HasPrefix(name, "be")
			if err != nil || held != want {
				t.Errorf("held %v, want %v; %v", held, want, err)
			}
		})
	}
}

// TestHostileChain: two chains cross in a segment whose index is damaged. It once was a nil
// pointer.
func TestHostileChain(t *testing.T) {
	d := newDir(t)
	d.start().append(3).roll().append(3).roll().append(3)
	second, third := d.open[1], d.open[2]
	d.claim = d.w.Position()
	l := d.follow(third)
	l.Claim = segment.Position{}
	d.link(4, l) // behind 3, which is damaged below
	d.claim = pos(3, third.End())
	d.mark()
	l = d.follow(second)
	l.Base, l.Claim = 7, segment.Position{}
	d.link(5, l) // behind 2, beside 3; 1 is missing
	d.done()
	d.flip(2, at(3)+80).flip(3, at(1)+30).remove(name(1))
	d.file.Claim, d.file.Newest = segment.Position{}, 0
	d.writeJournal()
	d.records = nil
	st, err := Scan(d.fsys, testDir, Options{Full: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if st.Label != BrokenChain {
		t.Errorf("%s, %v", st.Label, st.Err)
	}
}

// TestFewDescriptors: however many segments there are, only those of the newest stay open while
// they are searched, and none afterwards.
func TestFewDescriptors(t *testing.T) {
	d := newDir(t)
	l := d.start().append(1)
	for range 20 {
		l = l.roll().append(1)
	}
	l.close().done()
	for _, full := range []bool{false, true} {
		watch := &watchFS{FS: d.fsys}
		st, err := Scan(watch, testDir, Options{Full: full})
		if err != nil {
			t.Fatal(err)
		}
		if watch.handles != 0 || watch.most != keptOpen+1 {
			t.Errorf("full %v: %d descriptors at a time, %d left", full, watch.most, watch.handles)
		}
		st.Close()
	}
}
