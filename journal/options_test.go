package journal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mmjournal/journal"
)

// TestUselessOptions: an option that is set and does not apply is refused, by its name.
func TestUselessOptions(t *testing.T) {
	open := map[string]func(o *journal.Options) (*journal.Journal, error){
		"Open": func(o *journal.Options) (*journal.Journal, error) {
			return journal.Open(t.TempDir(), o)
		},
		"OpenReadOnly": func(o *journal.Options) (*journal.Journal, error) {
			return journal.OpenReadOnly(t.TempDir(), o)
		},
		"OpenMemory": journal.OpenMemory,
	}
	for _, c := range []struct {
		by, name string
		o        journal.Options
	}{
		{"Open", "ReadDamaged", journal.Options{ReadDamaged: true}},
		{"OpenMemory", "ReadDamaged", journal.Options{ReadDamaged: true}},
		{"Open", "Spares", journal.Options{Spares: 1, Durability: journal.Published}},
		{"Open", "Spares", journal.Options{Spares: 1, Durability: journal.Interval}},
		{"Open", "SyncInterval", journal.Options{SyncInterval: time.Second}},
		{"Open", "SyncInterval", journal.Options{
			SyncInterval: time.Second, Durability: journal.Published,
		}},
		{"OpenReadOnly", "SegmentSize", journal.Options{SegmentSize: 1 << 20}},
		{"OpenReadOnly", "Durability", journal.Options{Durability: journal.Published}},
		{"OpenReadOnly", "SyncInterval", journal.Options{SyncInterval: time.Second}},
		{"OpenReadOnly", "Spares", journal.Options{Spares: 1}},
		{"Open", "Spares", journal.Options{Spares: 1, Unlocked: true}},
		{"Open", "FileMode", journal.Options{FileMode: 0o111}},
		{"Open", "FileMode", journal.Options{FileMode: 0o440}},
		{"OpenReadOnly", "MustExist", journal.Options{MustExist: true}},
		{"OpenReadOnly", "FileMode", journal.Options{FileMode: 0o640}},
		{"OpenReadOnly", "Unlocked", journal.Options{Unlocked: true}},
		{"OpenReadOnly", "NoDirSync", journal.Options{NoDirSync: true}},
		{"OpenMemory", "MustExist", journal.Options{MustExist: true}},
		{"OpenMemory", "FileMode", journal.Options{FileMode: 0o640}},
		{"OpenMemory", "Unlocked", journal.Options{Unlocked: true}},
		{"OpenMemory", "NoDirSync", journal.Options{NoDirSync: true}},
		{"OpenMemory", "VerifyOnOpen", journal.Options{VerifyOnOpen: true}},
	} {
		j, err := open[c.by](&c.o)
		if !errors.Is(err, journal.ErrOptions) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s with %s: %v", c.by, c.name, err)
		}
		if err == nil {
			mustClose(t, j)
		}
	}
}
