package recovery

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"mmjournal/internal/testutil/remains"
	"mmjournal/segment"
)

// FuzzSalvage damages a golden journal in all the ways that a script says, and compares what is
// salvaged with what another program takes out of the same files.
func FuzzSalvage(f *testing.F) {
	files, records := goldenRolled(f)
	names := slices.Sorted(maps.Keys(files))
	for _, script := range []string{
		"", "\x00\x00\x10\x60\x01", "\x00\x02\x10\x60\x01", "\x03\x01\x10\x00\x00",
		"\x03\x02\x00\x00\x00", "\x06\x01\x00\x00\x00", "\x06\x02\x00\x00\x00",
		"\x06\x03\x00\x00\x00", "\x05\x03\x10\x00\x00",
		"\x07\x01\x00\x00\x02", "\x04\x01\x10\x00\x02", "\x06\x03\x00\x00\x00\x00\x02\x10\x10\x01",
	} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		damaged := maps.Clone(files)
		for ; len(script) >= 5; script = script[5:] {
			at := int(script[2])<<8 | int(script[3])
			damage(damaged, names, script[0], int(script[1]), at, script[4])
		}
		s := salvageFuzzed(t, damaged)
		if s == nil {
			return
		}
		var got []remains.Record
		for _, run := range s.Runs {
			for _, p := range run.pieces {
				one := &SalvagedRun{First: run.First, Last: run.Last, pieces: []piece{p}, fsys: run.fsys,
					path: run.path}
				for rec, err := range one.Records() {
					if err != nil || string(rec.Payload) != string(records[rec.Seq]) {
						t.Fatalf("record %d is %q, was %q: %v", rec.Seq, rec.Payload, records[rec.Seq], err)
					}
					got = append(got, remains.Record{Ordinal: p.file.ordinal, Seq: uint64(rec.Seq),
						Payload: string(rec.Payload), Doubt: run.MayBeDropped})
				}
			}
		}
		if want := remains.Read(damaged); !slices.Equal(got, want) {
			t.Errorf("salvaged %+v\nwant     %+v", got, want)
		}
	})
}

// FuzzSalvageHostile salvages directories whose frames all verify, but say anything. It ends, and
// what it returns can be read.
func FuzzSalvageHostile(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x01\x00\x00\x03\x10\x20\x41"))
	f.Add([]byte("\x01\x00\x00\x01\x00\x00\x02\x10\x31\x02\x01\x01\x02\x01\x01\x02\x11\x22"))
	f.Fuzz(func(t *testing.T, script []byte) { salvageFuzzed(t, hostile(t, script)) })
}

// salvageFuzzed salvages a directory with these files; nil if there is no journal in it, or one of
// newer software.
func salvageFuzzed(t *testing.T, files map[string][]byte) *Salvaged {
	t.Helper()
	d := &dir{TB: t, fsys: segment.NewHeapFS()}
	for name, b := range files {
		d.write(name, b)
	}
	s, err := SalvageFS(d.fsys, testDir, SalvageOptions{})
	if errors.Is(err, segment.ErrVersion) || errors.Is(err, ErrNotExist) {
		return nil
	}
	d.must(err)
	d.checkSalvaged(s)
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	return s
}
