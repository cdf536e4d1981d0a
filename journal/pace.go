package journal

import "time"

// pace says whether there is time to zero segments, or to prime them. Zeroing takes as long as the
// disk needs for all of their bytes, priming as long as memory does. Whoever appends faster than
// that is better off with segments that are ready and neither: its appends would wait for the
// difference, and for a disk that writes everything twice (bench/README.md).
type pace struct {
	began  time.Time // the last preparation
	inTime bool      // it may zero
	// slack is how long after that its segment was needed; 0: there was none yet.
	slack time.Duration
	// zeroing is how long the last preparation took that zeroed, less an eighth for each one since
	// that did not: what was slow once may not be so for ever.
	zeroing time.Duration
}

// begin begins a preparation, and decides whether there is time to zero.
func (p *pace) begin(now time.Time) {
	p.began = now
	p.inTime = p.slack == 0 || p.zeroing <= p.slack
}

// end ends it.
func (p *pace) end(now time.Time, zeroed bool) {
	if zeroed {
		p.zeroing = now.Sub(p.began)
		return
	}
	p.zeroing -= p.zeroing / 8
}

// need notes that the segment is needed, ready or not.
func (p *pace) need(now time.Time) { p.slack = max(1, now.Sub(p.began)) }
