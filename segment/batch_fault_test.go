//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A payload that cannot be read, because its owner's file was cut short, is its owner's panic: the
// writer goes on as if the batch had never been begun.
func TestBatchOfUnreadablePayload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OS.Open(path, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	theirs, err := f.Map(8192, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}

	id := NewIdentity(NewID(), 1, 1<<20, time.Unix(0, 0))
	s, err := Prepare(NewMemFS(), "j", id, Zeros{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop()
	l := Link{Base: 1, FirstLive: 1, Reason: ReasonStart, Time: time.Unix(0, 0)}
	w, err := NewWriter(s, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := []byte("good")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		w.AppendBatch([][]byte{good, good, theirs.Bytes(), good}, make([]uint32, 4))
	}()
	if !zero(s.m.b[w.at:]) {
		t.Error("the batch has left bytes behind")
	}
	if err := w.Append(good, Checksum(good)); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Read(1, nil); err != nil || string(p) != "good" || w.Next() != 2 {
		t.Errorf("%q, %v, next %d", p, err, w.Next())
	}
	if sc, err := s.Scan(0); err != nil || sc.Records != 1 || sc.Tail.Bytes != 0 {
		t.Errorf("%+v, %v", sc, err)
	}
}
