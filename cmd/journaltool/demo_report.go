package main

import (
	"fmt"
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

// say prints text for people.
func (d *demo) say(format string, args ...any) {
	if !d.json() {
		fmt.Fprintf(d.stdout, format+"\n", args...)
	}
}

// item prints a step's line: the label where it begins, then the text.
func (d *demo) item(label, format string, args ...any) {
	d.say("%-12s"+format, append([]any{label}, args...)...)
}

func (d *demo) sayHello() {
	d.say("A journal keeps what it acknowledged, even if its process is killed. Let us see.\n")
}

func (d *demo) sayCorpus() {
	c := &d.Corpus
	what := "every line of every .go file in " + c.Path
	if c.Generated {
		what = "generated lines (there is no Go source code on this machine)"
	}
	d.item("Data", "%s", what)
	d.item("", "%s files, %s lines, %s: each line is one record\n",
		commas(uint64(c.Files)), commas(c.Lines), megabytes(c.Bytes))
}

func (d *demo) sayWriting() {
	d.item("Write", "process %d appends the lines and asks for a sync every %s",
		d.Killed.PID, countRecords(d.SyncEvery))
	d.item("", "the journal is in %s", d.Directory)
}

func (d *demo) sayKilled() {
	k := &d.Killed
	d.item("Kill", "with SIGKILL, after %s, in the middle of its work", seconds(k.Seconds))
	d.item("", "the last thing it had acknowledged: durable up to record %s\n",
		commas(k.Acknowledged))
}

func (d *demo) sayRecovered() {
	r, acked := &d.Recovered, d.Killed.Acknowledged
	d.item("Recover", "process %d opens the journal, which takes %s, and finds:",
		r.PID, seconds(r.Seconds))
	found := strings.TrimPrefix(r.Report.String(), r.Report.Path+": ")
	for line := range strings.Lines(found) {
		d.item("", "  %s", strings.TrimSuffix(line, "\n"))
	}
	if uint64(r.Report.Durable) < acked {
		d.item("", "  (the journal notes what is durable a sync later)")
	}
	d.item("", "all %s acknowledged records are there", commas(acked))
	if r.Beyond > 0 {
		d.item("", "and %s more that no sync had covered: they were in mapped memory,",
			commas(r.Beyond))
		d.item("", "which the operating system keeps when a process dies")
	}
	d.say("")
}

func (d *demo) sayResumed() {
	r := &d.Resumed
	d.item("Resume", "process %d appends the rest, lines %s to %s, and closes the journal",
		d.Recovered.PID, commas(r.From), commas(d.Corpus.Lines))
	took := d.Killed.Seconds + r.Seconds
	d.item("", "writing took the two of them %s: %s records/s, %s/s\n", seconds(took),
		commas(uint64(float64(d.Corpus.Lines)/took)), megabytes(uint64(float64(d.Corpus.Bytes)/took)))
}

func (d *demo) sayVerified() {
	v := &d.Verified
	d.item("Verify", "every byte checked: %s, end: %s; all records read back in %s",
		v.Report.Verdict, v.Report.End, seconds(v.Seconds))
	cut := false
	for _, s := range v.Report.Segments {
		d.item("", "%s", segmentBar(&s))
		cut = cut || s.State == recovery.Linked
	}
	if cut {
		d.item("", "sealed: full; cut: ended where the kill was; active: where an append would go")
	}
	d.item("", "sha256 of the lines:   %s", d.Corpus.SHA256)
	d.item("", "sha256 of the records: %s\n", v.SHA256)
}

// end prints the end of the account.
func (d *demo) end() error {
	if d.json() {
		return d.printJSON(&d.account)
	}
	if !d.OK {
		return nil // the error says it
	}
	d.say("Everything is there: %s lines, byte for byte, in %s.",
		commas(d.Corpus.Lines), seconds(d.Seconds))
	if d.Kept {
		d.say("Look at it: journaltool info %s; journaltool segments %[1]s", d.Directory)
	} else {
		d.say("The journal was temporary. To keep it: journaltool demo DIR")
	}
	d.say("More: journaltool --help")
	return nil
}

// segmentBar draws how full a segment is, in one line.
func segmentBar(s *recovery.Segment) string {
	const width = 24
	full := 0
	if s.Size > 0 {
		full = int((s.Used*width + s.Size - 1) / s.Size)
	}
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	line := fmt.Sprintf("%3d %s %5.1f of %.1f MiB  %-8s", s.Ordinal, bar,
		float64(s.Used)/(1<<20), float64(s.Size)/(1<<20), s.State)
	if s.Records > 0 {
		line += fmt.Sprintf(" %s to %s", commas(uint64(s.First)), commas(uint64(s.Last)))
	}
	return strings.TrimRight(line, " ")
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

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// seconds writes a time in the unit that suits it.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return fmt.Sprintf("%.1f s", s)
}
