package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mmjournal/segment"
)

// Verdict is the state of a journal in a word.
type Verdict string

const (
	// Intact: everything that a claim covers has been read, and is as it was written.
	Intact Verdict = "intact"
	// NoDamage: what has been read is as it was written, but a quick check has not read all segments
	// that a claim covers. The report says how many it has not read.
	NoDamage Verdict = "no damage found"
	// Damaged: there is damage, but no live record is lost, as far as the journal has been read.
	Damaged Verdict = "damaged"
	// Corrupt: data that was acknowledged as durable is damaged or missing.
	Corrupt Verdict = "corrupt"
)

// Sound reports whether no damage was found.
func (v Verdict) Sound() bool { return v == Intact || v == NoDamage }

// End says how a journal ends.
type End string

const (
	EndEmpty End = "empty" // there is no segment with a record or a link
	EndClean End = "clean" // it was closed
	EndOpen  End = "open"  // a writer is active, or was killed; no byte is out of place
	EndTorn  End = "torn"  // there are bytes after the end that no claim covers
)

// SegmentState says what a segment file is to the journal.
type SegmentState string

const (
	Active   SegmentState = "active"   // the newest
	Sealed   SegmentState = "sealed"   // full
	Linked   SegmentState = "cut"      // ended by the link of its successor
	Prepared SegmentState = "prepared" // not used yet
	Dead     SegmentState = "dead"     // no longer on the chain, or dropped by truncation
	TornSeg  SegmentState = "torn"     // above the newest, with bytes that were never durable
	Bad      SegmentState = "bad"      // damaged identity
	Stray    SegmentState = "stray"    // no segment of this journal
	Broken   SegmentState = "damaged"  // acknowledged data in it is damaged
	Hidden   SegmentState = "hidden"   // not reached: acknowledged data before or after it is damaged
)

// Report describes everything that a scan found.
type Report struct {
	Path      string      `json:"path"`
	ID        string      `json:"id"`
	Version   uint32      `json:"version"`
	Created   time.Time   `json:"created"`
	Verdict   Verdict     `json:"verdict"`
	Label     Label       `json:"label"`
	End       End         `json:"end"`
	First     segment.Seq `json:"first"`   // of the first live record
	Last      segment.Seq `json:"last"`    // of the last; First-1 if there is none
	Durable   segment.Seq `json:"durable"` // of the last that a claim on the disk covers
	Records   uint64      `json:"records"`
	UsedBytes int64       `json:"used_bytes"`
	SizeBytes int64       `json:"size_bytes"`
	Segments  []Segment   `json:"segments"`
	Tail      *Tail       `json:"tail,omitempty"`
	Damage    []Damage    `json:"damage"` // in the order of segments and offsets
	Warnings  []string    `json:"warnings"`
	Full      bool        `json:"full"` // every byte was read and checked

	// Unread is the number of segments with records whose frames were not read, because a claim
	// covers them. Damage in these is not found.
	Unread int `json:"segments_not_read"`

	err error
}

// Segment describes one segment file.
type Segment struct {
	Ordinal uint64       `json:"ordinal"`
	File    string       `json:"file"`
	State   SegmentState `json:"state"`
	Reason  string       `json:"reason,omitempty"` // why it was begun
	Pred    uint64       `json:"pred,omitempty"`   // the segment before it
	First   segment.Seq  `json:"first"`            // 0 if it is not on the chain
	Last    segment.Seq  `json:"last"`             // First-1 if it holds no record
	Records uint64       `json:"records"`
	Used    int64        `json:"used"`
	Size    int64        `json:"size"`
	Created time.Time    `json:"created"`
	Note    string       `json:"note,omitempty"`
}

// Tail describes bytes after the journal's end that no claim covers: the rest of an append or a
// sync that a crash interrupted. Damage to the last group of synced records looks the same until a
// later frame claims that group.
type Tail struct {
	Segment uint64         `json:"segment"`
	File    string         `json:"file"`
	Offset  segment.Offset `json:"offset"`
	Bytes   int64          `json:"bytes"`
	Seq     segment.Seq    `json:"seq"` // of the first record that may have been there
	Why     string         `json:"why"`
}

// Damage describes one damaged position.
type Damage struct {
	Segment      uint64         `json:"segment"` // 0: the file JOURNAL
	File         string         `json:"file"`
	Offset       segment.Offset `json:"offset"`
	Seq          segment.Seq    `json:"seq,omitempty"` // of the first record that may be affected
	Why          string         `json:"why"`
	Acknowledged bool           `json:"acknowledged"` // it had been acknowledged as durable
	Redundant    bool           `json:"redundant"`    // it costs no live record
}

// Err returns nil, or, if the journal is corrupt, a *segment.CorruptError that says where. If newer
// software wrote the files, the error matches segment.ErrVersion.
func (r *Report) Err() error { return r.err }

// Inspect describes the journal in a directory. It takes no lock, never writes, and can run while a
// writer is active. full reads and checks every byte. Corruption is in the report, not in the
// error: Inspect returns errors of the file system, ErrNotExist, ErrNotJournal and
// segment.ErrVersion.
func Inspect(dir string, full bool) (*Report, error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	st, err := Scan(d, d.Path(), Options{Full: full, Live: true})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	if errors.Is(st.Err, segment.ErrVersion) {
		return nil, st.Err
	}
	return st.Report, nil
}

func newReport(st *State) (*Report, error) {
	r := &Report{
		Path: st.dir.path, ID: st.ID.String(), Version: segment.Version, Verdict: Intact,
		First: st.FirstLive, Last: st.Next - 1, Full: st.s.full, Label: st.Label, err: st.Err,
		Segments: []Segment{}, Damage: []Damage{}, Warnings: []string{},
	}
	r.Records = uint64(st.Next - st.FirstLive)
	if j := st.Journal; j != nil {
		r.Created = j.Created
	}
	for _, f := range st.dir.files {
		if !f.standIn {
			r.addSegment(st, f)
		}
	}
	for _, f := range st.s.chain {
		if f.scan == nil {
			r.Unread++
		}
	}
	r.End = end(st)
	r.addTail(st)
	r.addDamage(st)
	r.addWarnings(st)
	switch {
	case errors.Is(st.Err, segment.ErrCorrupt):
		r.Verdict = Corrupt
	case len(r.Damage) > 0:
		r.Verdict = Damaged
	case r.Unread > 0:
		r.Verdict = NoDamage
	}
	var err error
	r.Durable, err = durable(st)
	return r, err
}

func end(st *State) End {
	switch f := &st.s.facts; {
	case f.tailBytes || f.above:
		return EndTorn
	case st.s.newest == nil && len(st.Chain) == 0:
		return EndEmpty
	case f.cleanMark:
		return EndClean
	}
	return EndOpen
}

func (r *Report) addSegment(st *State, f *file) {
	s := Segment{Ordinal: f.ordinal, File: f.name, State: stateOf(st, f), Note: f.why}
	if f.seg == nil {
		s.Note, s.Size = cmp.Or(f.stray, reason(f.bad).Error()), f.size
		r.SizeBytes += s.Size
		r.Segments = append(r.Segments, s)
		return
	}
	s.Size, s.Created = f.seg.Size, f.seg.Created
	if slices.Contains(st.s.chain, f) {
		l := f.seg.Link
		s.Reason, s.Pred = l.Reason.String(), l.Pred
		s.First, s.Last = l.Base, f.seg.Next()-1
		s.Records, s.Used = uint64(s.Last+1-s.First), int64(f.seg.End())
		r.UsedBytes += s.Used
	}
	r.SizeBytes += s.Size
	r.Segments = append(r.Segments, s)
}

func stateOf(st *State, f *file) SegmentState {
	newest := st.s.newest
	switch {
	case f.stray != "":
		return Stray
	case f.seg == nil:
		return Bad
	case f == newest:
		return Active
	case st.s.brokenIn(f):
		return Broken
	case f.state != "" && slices.Contains(st.s.chain, f):
		return f.state
	case newest != nil && f.ordinal < newest.ordinal:
		return Dead
	case f.scan != nil && f.scan.Unused():
		return Prepared
	case st.Err != nil:
		return Hidden
	}
	return TornSeg
}

// addTail describes what was torn: behind the newest segment's end, or else in the lowest segment
// above it.
func (r *Report) addTail(st *State) {
	newest := st.s.newest
	if st.Err != nil && newest == nil {
		return
	}
	if newest != nil && newest.scan.Tail.Bytes > 0 {
		sc := newest.scan
		why := sc.Stop
		if errors.Is(why, segment.ErrHole) {
			why = fmt.Errorf("bytes after unwritten ones")
		}
		r.Tail = &Tail{newest.ordinal, newest.name, sc.End, sc.Tail.Bytes, sc.Next, why.Error()}
		return
	}
	for _, f := range st.dir.files {
		if f.seg == nil || f.scan == nil || f.scan.Unused() ||
			newest != nil && f.ordinal <= newest.ordinal {
			continue
		}
		bytes := f.scan.Tail.Bytes + int64(f.scan.End-segment.FirstFrame)
		why := f.why
		if why == "" {
			why = "it has no valid link"
		}
		r.Tail = &Tail{f.ordinal, f.name, segment.FirstFrame, bytes, st.Next, why}
		return
	}
}

// addDamage lists damage, what costs records first among that of one place.
func (r *Report) addDamage(st *State) {
	if st.dir.badFile != nil {
		d := Damage{File: segment.JournalName, Why: st.dir.badFile.Error(), Acknowledged: true,
			Redundant: true}
		if errors.Is(st.dir.badFile, segment.ErrMissing) {
			d.Why = "file is missing"
		}
		r.Damage = append(r.Damage, d)
	}
	for _, b := range st.s.breaks {
		c := b.err
		acked := b.pos.Less(st.Claim) || st.Label == LostSuccessor || st.Label == LostNewest
		r.Damage = append(r.Damage, Damage{c.Segment, segment.FileName(c.Segment), c.Offset, c.Seq,
			c.Err.Error(), acked, false})
	}
	for _, f := range st.s.chain {
		r.addRedundant(st, f)
	}
	for _, f := range st.dir.files {
		if f.seg == nil && f.stray == "" && st.Err == nil { // off the chain
			d := Damage{f.ordinal, f.name, 0, 0, reason(f.bad).Error(), true, true}
			r.Damage = append(r.Damage, d)
		}
	}
	slices.SortStableFunc(r.Damage, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Offset, b.Offset))
	})
}

// addRedundant lists the damage in a segment of the chain that costs no record.
func (r *Report) addRedundant(st *State, f *file) {
	for _, g := range f.gaps {
		d := Damage{f.ordinal, f.name, g.From, 0, g.Err.Error(), true, true}
		r.Damage = append(r.Damage, d)
	}
	if f.index == nil {
		return
	}
	acked := st.Claim.Ordinal > f.ordinal
	d := Damage{f.ordinal, f.name, f.scan.End, 0, f.index.Error(), acked, true}
	if acked {
		r.Damage = append(r.Damage, d)
	} else {
		r.Warnings = append(r.Warnings, f.name+": "+d.Why+" (never durable; it is rebuilt)")
	}
}

func (r *Report) addWarnings(st *State) {
	for _, name := range st.dir.shadowed {
		r.Warnings = append(r.Warnings, fmt.Sprintf(
			"%s is not a part of the journal: JOURNAL has a link of that ordinal", name))
	}
	for _, name := range st.dir.foreign {
		r.Warnings = append(r.Warnings, printable(name)+" is not a file of the journal")
	}
	for _, name := range st.dir.suspect {
		r.Warnings = append(r.Warnings, printable(name)+" is not a file of the journal, though it is "+
			"named like one: nothing can write to the journal until it is moved away")
	}
	for _, f := range st.dir.files {
		if f.stray != "" && !st.s.brokenIn(f) {
			r.Warnings = append(r.Warnings, f.name+" is "+f.stray+", and no part of this journal: "+
				"nothing can write to the journal until it is moved away")
		}
	}
	for _, text := range st.Faults.Texts() {
		r.Warnings = append(r.Warnings, segment.JournalName+": "+text)
	}
	if st.ReadOnly != nil {
		r.Warnings = append(r.Warnings, st.ReadOnly.Error())
	}
	if t := r.Tail; t != nil {
		r.Warnings = append(r.Warnings, t.String())
	}
}

// durable returns the last seq that a claim covers.
func durable(st *State) (segment.Seq, error) {
	for _, seg := range slices.Backward(st.Chain) {
		switch {
		case st.Claim.Ordinal < seg.Ordinal:
			continue
		case st.Claim.Ordinal > seg.Ordinal || st.Claim.Offset >= seg.End():
			return seg.Next() - 1, nil
		case st.Claim.Offset <= segment.FirstFrame:
			return seg.Link.Base - 1, nil
		}
		seq, err := seg.SeqAt(st.Claim.Offset)
		if errors.Is(err, segment.ErrCorrupt) {
			return seg.Link.Base - 1, nil
		}
		return seq - 1, err
	}
	return st.FirstLive - 1, nil
}

// String describes the tail in a sentence.
func (t *Tail) String() string {
	return fmt.Sprintf("torn tail: %s, offset %d, %d bytes from seq %d on, "+
		"above every durable claim (%s)",
		t.File, t.Offset, t.Bytes, t.Seq, t.Why)
}

// String describes the damage in a sentence.
func (d *Damage) String() string {
	s := fmt.Sprintf("%s, offset %d: %s", d.File, d.Offset, d.Why)
	if d.Seq > 0 {
		s += fmt.Sprintf("; from seq %d on", d.Seq)
	}
	switch {
	case d.Redundant:
		s += "; no live record is lost"
	case d.Acknowledged:
		s += "; it had been acknowledged as durable"
	}
	return s
}

// State returns the journal's state in a few words, and how much was read to determine it.
func (r *Report) State() string {
	s := string(r.Verdict)
	if r.Verdict == Damaged {
		s += ", no live record lost"
		if r.Unread > 0 {
			s += " as far as read"
		}
	}
	switch {
	case r.Full:
		return s + " (every byte checked)"
	case r.Unread > 0:
		return fmt.Sprintf("%s; %d of %d segments not read (quick check)", s, r.Unread, r.linked())
	case r.Verdict == Corrupt:
		return s + " (quick check)"
	}
	return s + " (every record checked)"
}

// linked counts the segments of the chain.
func (r *Report) linked() (n int) {
	for i := range r.Segments {
		if r.Segments[i].First > 0 {
			n++
		}
	}
	return n
}

// String returns the report as text of several lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, end: %s\n", r.Path, r.State(), r.End)
	if r.Records > 0 {
		fmt.Fprintf(&b, "records %d to %d (%d), durable to %d\n",
			r.First, r.Last, r.Records, r.Durable)
	} else {
		fmt.Fprintf(&b, "no records, next seq %d\n", r.Last+1)
	}
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "damage: %s\n", d.String())
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
