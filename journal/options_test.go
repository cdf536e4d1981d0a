package journal_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mmjournal/journal"
)

// TestOpenWithoutPath: an empty path names no directory, not even the current one.
func TestOpenWithoutPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, open := range map[string]func(string, *journal.Options) (*journal.Journal, error){
		"open journal: ": journal.Open, "open journal for reading: ": journal.OpenReadOnly,
	} {
		_, err := open("", nil)
		if !errors.Is(err, journal.ErrOptions) || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := os.ReadDir("."); err != nil || len(list) > 0 {
		t.Errorf("%v: %v", err, list)
	}
}
