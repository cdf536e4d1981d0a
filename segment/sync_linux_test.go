package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRetryEINTR: an interrupted call is made again; what the file system cannot do is told from
// what has failed.
func TestRetryEINTR(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		results []error
		want    error
	}{
		{[]error{nil}, nil},
		{[]error{unix.EINTR, unix.EINTR, nil}, nil},
		{[]error{unix.EINTR, unix.EIO}, unix.EIO},
		{[]error{unix.ENOSPC}, unix.ENOSPC},
		{[]error{unix.EOPNOTSUPP}, errors.ErrUnsupported},
	} {
		calls := 0
		err := retryEINTR("call", f, func() error { calls++; return c.results[calls-1] })
		if !errors.Is(err, c.want) || calls != len(c.results) {
			t.Errorf("%v: error %v after %d calls", c.results, err, calls)
		}
		var pe *fs.PathError
		if c.want == unix.EIO && (!errors.As(err, &pe) || pe.Op != "call" || pe.Path != f.Name()) {
			t.Errorf("error %v does not say what and where", err)
		}
	}
	if err := errUnsupported("call"); !strings.Contains(err.Error(), "call") {
		t.Errorf("error %v does not say what", err)
	}
}
