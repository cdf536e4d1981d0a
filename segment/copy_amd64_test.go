//go:build !race

package segment

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCopyFramesChanging: while somebody writes over any word of a frame, what is taken is what was
// checked.
func TestCopyFramesChanging(t *testing.T) {
	if !hasCopySSE42 {
		t.Skip("the processor does not have what it takes")
	}
	r := rand.New(rand.NewPCG(5, 6))
	f := plainFrame(4096, 1, KindRecord, randomBytes(r, 24*5+3))
	src, dst := make([]byte, len(f)), make([]byte, len(f))
	total := 0
	for at := 0; at < len(f); at += 8 {
		copy(src, f)
		var stop atomic.Bool
		var wg sync.WaitGroup
		started := make(chan struct{})
		wg.Go(func() {
			close(started)
			for v := le.Uint64(f[at:]); !stop.Load(); v ^= 1 << 33 {
				le.PutUint64(src[at:], v)
			}
		})
		<-started
		good := 0
		for range 100_000 {
			if n, _ := copyFrames(dst, src, 4096, 1, testSalt); n > 0 {
				good++
				if !bytes.Equal(dst, f) {
					t.Error("what was taken is not what was checked")
					break
				}
			}
		}
		stop.Store(true)
		wg.Wait()
		t.Logf("word %d: good %d times", at/8, good)
		total += good
	}
	if total == 0 {
		t.Error("nothing was ever taken")
	}
}

// TestCopyFramesLoadsOnce: of what may change, nothing is checked but registers. The test above
// seldom sees two loads of a word that are next to each other.
func TestCopyFramesLoadsOnce(t *testing.T) {
	text, err := os.ReadFile("copy_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	load := regexp.MustCompile(`^\tMOVQ +(8)?\(SI\)(\(R10\*[12]\))?, R1[123]\b`)
	loads := 0
	for line := range strings.Lines(string(text)) {
		switch {
		case load.MatchString(line):
			loads++
		case strings.Contains(line, "(SI)") && !strings.Contains(line, "PREFETCHT0") &&
			!strings.Contains(line, "LEAQ"):
			t.Errorf("%q", line)
		}
	}
	if loads != 2+3+3+1+1 { // header, three words, the last three, one word, the rest
		t.Errorf("%d loads", loads)
	}
}
