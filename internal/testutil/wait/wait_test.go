package wait_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"mmjournal/internal/testutil/wait"
)

// late is a test whose deadline is near.
type late struct {
	testing.TB
	said string
}

func (l *late) Helper()                     {}
func (l *late) Deadline() (time.Time, bool) { return time.Now().Add(time.Second), true }
func (l *late) Fatalf(format string, args ...any) {
	l.said = format + args[0].(string)
	runtime.Goexit()
}

func TestWaits(t *testing.T) {
	n := 0
	wait.Until(t, "three", func() bool { n++; return n == 3 })
	c := make(chan int, 1)
	c <- 7
	if got := wait.For(t, "seven", c); got != 7 || n != 3 {
		t.Errorf("%d, %d", got, n)
	}
	close(c)
	if got := wait.For(t, "the end", c); got != 0 {
		t.Errorf("%d of a closed channel", got)
	}
}

func TestWaitsEnd(t *testing.T) {
	for name, f := range map[string]func(testing.TB){
		"Until": func(t testing.TB) { wait.Until(t, "this", func() bool { return false }) },
		"For":   func(t testing.TB) { wait.For(t, "this", make(chan int)) },
	} {
		l := &late{}
		done := make(chan bool)
		go func() {
			defer close(done)
			f(l)
		}()
		<-done
		if !strings.HasSuffix(l.said, "this") {
			t.Errorf("%s says %q", name, l.said)
		}
	}
}
