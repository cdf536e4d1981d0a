package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mmjournal/recovery"
)

// account is what the demo found: the document that -o json prints.
type account struct {
	OK        bool          `json:"ok"`
	Lost      string        `json:"lost,omitempty"` // what was lost, if something was
	Directory string        `json:"directory"`
	Kept      bool          `json:"kept"`
	Seconds   float64       `json:"seconds"`
	SyncEvery uint64        `json:"sync_every"` // records
	Corpus    demoCorpus    `json:"corpus"`
	Killed    demoKilled    `json:"killed"`
	Recovered demoRecovered `json:"recovered"`
	Resumed   demoResumed   `json:"resumed"`
	Verified  demoVerified  `json:"verified"`
}

// demoCorpus describes the lines. Their bytes and digest include a newline behind each.
type demoCorpus struct {
	Path      string `json:"path,omitempty"`
	Generated bool   `json:"generated"`
	Files     int    `json:"files"`
	Lines     uint64 `json:"lines"`
	Bytes     uint64 `json:"bytes"`
	Longest   int    `json:"longest"`
	SHA256    string `json:"sha256"`
}

// demoKilled describes the first writer's life.
type demoKilled struct {
	PID          int     `json:"pid"`
	Seconds      float64 `json:"seconds"`      // from the open journal to the kill
	Acknowledged uint64  `json:"acknowledged"` // the last record that it said a sync had covered
}

// demoRecovered describes what the second process found.
type demoRecovered struct {
	PID    int    `json:"pid"`
	Beyond uint64 `json:"beyond"` // records above the acknowledged ones
	Lost   uint64 `json:"lost"`   // acknowledged records that are not there
	demoOpened
}

// demoResumed describes what the second process wrote.
type demoResumed struct {
	From uint64 `json:"from"` // the first record
	demoDone
}

// demoVerified describes the finished journal, as it was read back.
type demoVerified struct {
	Records uint64           `json:"records"`
	Bytes   uint64           `json:"bytes"` // with a newline behind each record
	SHA256  string           `json:"sha256"`
	Seconds float64          `json:"seconds"` // to read and digest the records
	Report  *recovery.Report `json:"report,omitempty"`
}

func (d *demo) sayHello() {
	d.say("A journal keeps what it acknowledged, even if its process is killed. Watch:\n")
}

func (d *demo) sayCorpus() {
	c := &d.Corpus
	d.item("Data", "%s files, %s lines, %s: each line is one record", commas(uint64(c.Files)),
		commas(c.Lines), size(int64(c.Bytes)))
	if c.Generated {
		d.item("", "generated: there is no Go source code on this machine\n")
	} else {
		d.item("", "the .go files in %s\n", plain(c.Path))
	}
}

func (d *demo) sayWriting() {
	d.item("Write", "process %d appends the lines and syncs every %s",
		d.Killed.PID, countRecords(d.SyncEvery))
	d.item("", "to the journal in %s", plain(d.Directory))
}

func (d *demo) sayKilled() {
	k := &d.Killed
	d.item("Kill", "SIGKILL after %s, in the middle of its work; it had acknowledged %s as durable\n",
		seconds(k.Seconds), countRecords(k.Acknowledged))
}

// sayRecovered tells what Open found. Records that it shows are durable, so what is called durable
// here is never less than what was acknowledged.
func (d *demo) sayRecovered() {
	r, acked := &d.Recovered, d.Killed.Acknowledged
	d.item("Recover", "process %d opens the journal in %s and finds %s, which are durable now:",
		r.PID, seconds(r.Seconds), countRecords(uint64(r.Report.Last)))
	d.item("", "%s all %s acknowledged records", d.paint(green, "✓"), commas(acked))
	if r.Beyond > 0 {
		d.item("", "%s and %s more that no sync had covered: they were in mapped memory, which the "+
			"operating system keeps when a process dies", d.paint(green, "✓"), commas(r.Beyond))
	}
	tail := ""
	if t := r.Report.Tail; t != nil {
		tail = t.String()
		d.item("", "  what it was writing is incomplete and was cut off: %s bytes",
			commas(uint64(t.Bytes)))
	}
	for _, w := range r.Report.Warnings {
		if w != tail {
			d.item("", "  warning: %s", plain(w))
		}
	}
	d.say("")
}

func (d *demo) sayResumed() {
	r := &d.Resumed
	d.item("Resume", "process %d appends the rest, lines %s to %s, and closes the journal",
		d.Recovered.PID, commas(r.From), commas(d.Corpus.Lines))
	took := d.Killed.Seconds + r.Seconds
	d.item("", "both processes wrote for %s: %s records/s, %s/s\n", seconds(took),
		commas(uint64(float64(d.Corpus.Lines)/took)), size(int64(float64(d.Corpus.Bytes)/took)))
}

func (d *demo) sayVerified() {
	v := &d.Verified
	d.item("Verify", "every byte of the journal checked: %s, end: %s; all records read in %s",
		v.Report.Verdict, v.Report.End, seconds(v.Seconds))
	d.saySegments(v.Report.Segments)
	if v.SHA256 == d.Corpus.SHA256 {
		d.item("", "SHA-256 of the lines, and of the records:")
		d.item("", "%s", v.SHA256)
	} else {
		d.item("", "SHA-256 of the lines:")
		d.item("", "%s", d.Corpus.SHA256)
		d.item("", "SHA-256 of the records:")
		d.item("", "%s", v.SHA256)
	}
	d.say("")
}

// saySegments draws how full the segments are: all, or the largest if there are many.
func (d *demo) saySegments(all []recovery.Segment) {
	const most = 12
	shown := slices.Clone(all)
	if len(shown) > most {
		slices.SortStableFunc(shown, func(a, b recovery.Segment) int {
			return cmp.Compare(b.Size, a.Size)
		})
		shown = shown[:most]
		slices.SortFunc(shown, func(a, b recovery.Segment) int {
			return cmp.Compare(a.Ordinal, b.Ordinal)
		})
	}
	cut := false
	for _, s := range shown {
		d.item("", "%s", segmentBar(&s))
		cut = cut || s.State == recovery.Linked
	}
	if n := len(all) - len(shown); n > 0 {
		d.item("", "and %d smaller ones", n)
	}
	if cut {
		d.item("", "sealed: full; cut: its writer was killed; active: the newest")
	}
}

// end prints the end of the account.
func (d *demo) end() error {
	if d.json() {
		return unlessClosed(d.printJSON(&d.account))
	}
	if !d.OK {
		return nil // the error says it
	}
	d.say("%s", d.paint(green, fmt.Sprintf("Everything is there: %s lines, byte for byte, in %s.",
		commas(d.Corpus.Lines), seconds(d.Seconds))))
	if d.Kept {
		d.say("To inspect it: journaltool info %s; journaltool segments %[1]s", plain(d.Directory))
	} else {
		d.say("The journal was temporary. To keep it: journaltool demo DIR")
	}
	d.say("More: journaltool --help")
	return nil
}

// segmentBar draws how full a segment is, in one line.
func segmentBar(s *recovery.Segment) string {
	const width = 8
	full := 0
	if s.Size > 0 {
		full = int((s.Used*width + s.Size - 1) / s.Size)
	}
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	line := fmt.Sprintf("%3d %s %10s of %-8s %-6s",
		s.Ordinal, bar, size(s.Used), size(s.Size), s.State)
	if s.Records > 0 {
		line += fmt.Sprintf(" %s to %s", commas(uint64(s.First)), commas(uint64(s.Last)))
	}
	return line
}

// commas writes a number with a comma between groups of three digits.
func commas(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// countRecords writes a number of records.
func countRecords(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return commas(n) + " records"
}

// seconds writes a time in the unit that suits it.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return fmt.Sprintf("%.1f s", s)
}
