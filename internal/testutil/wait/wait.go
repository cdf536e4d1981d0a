// Package wait is for tests that wait. A busy machine makes everything slow, so no test fails
// because something took long: it waits until the deadline of the test binary is near, which
// -timeout sets far beyond what load can reach, and then says what it waited for.
package wait

import (
	"testing"
	"time"
)

// Hung is how long another process, or the kernel, may take before it counts as hung: nothing else
// would end a wait for it. It is far beyond what a busy machine needs.
const Hung = 20 * time.Minute

// notice is how long before the deadline a wait ends: the rest is for its report.
const notice = 20 * time.Second

// Never begins what is said of a wait that was given up.
const Never = "waited too long: "

// Over reports whether the deadline of the test binary is near. There may be none.
func Over(t testing.TB) bool {
	d, ok := deadline(t)
	return ok && time.Until(d) < notice
}

func deadline(t testing.TB) (time.Time, bool) {
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		return t.Deadline()
	}
	return time.Time{}, false
}

// Until waits until ok returns true. It fails the test if that does not happen.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		if Over(t) {
			t.Fatalf(Never+"%s", what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// For returns what comes out of a channel, the zero value once it is closed. It fails the test if
// nothing comes.
func For[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	var over <-chan time.Time
	if d, ok := deadline(t); ok {
		timer := time.NewTimer(time.Until(d) - notice)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case v := <-c:
		return v
	case <-over:
		t.Fatalf(Never+"%s", what)
		panic("not reached")
	}
}
