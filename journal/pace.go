package journal

import "time"

// pace says whether there is time to zero segments, or to prime them, and whether two of them
// should be ready. Zeroing takes as long as the disk needs for all of their bytes, priming as long
// as memory does. Whoever appends faster than that is better off with segments that are ready and
// neither: its appends would wait for the difference, and for a disk that writes everything twice
// (bench/README.md).
type pace struct {
	taken  time.Time     // when the last segment was
	lasted time.Duration // from then until the next one was needed; 0: there was none yet
	// zeroing is how long the last preparation took that zeroed, less an eighth for each one since
	// that did not: what was slow once may not be so for ever.
	zeroing time.Duration
	// slowest is how long a preparation took, likewise.
	slowest time.Duration
}

// inTime reports whether there is time to zero the next segment.
func (p *pace) inTime() bool { return p.lasted == 0 || p.zeroing <= p.lasted }

// hurry reports whether a preparation that takes several times as long as they did would not be
// done before its segment is needed. As a rule that is so where much is written: the sync of many
// full segments holds up whatever else the file system has to write.
func (p *pace) hurry() bool { return p.lasted > 0 && 4*p.slowest > p.lasted }

// prepared notes how long a preparation took.
func (p *pace) prepared(took time.Duration, zeroed bool) {
	p.slowest = max(took, p.slowest-p.slowest/8)
	p.zeroing -= p.zeroing / 8
	if zeroed {
		p.zeroing = took
	}
}

// need notes that the next segment is needed, ready or not.
func (p *pace) need(now time.Time) {
	if !p.taken.IsZero() {
		p.lasted = max(1, now.Sub(p.taken))
	}
}

// take notes that it was taken.
func (p *pace) take(now time.Time) { p.taken = now }
