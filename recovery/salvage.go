package recovery

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"

	"mmjournal/segment"
)

// SalvageOptions say what [Salvage] looks for.
type SalvageOptions struct {
	// ID is the id of the journal whose records are wanted. Zero means the id in JOURNAL. If that file
	// is missing or damaged, it means the id that most segments have; of several such ids, that of the
	// segment with the lowest ordinal.
	ID segment.ID
}

// Salvaged is the result of Salvage: the records that can be read, and those that are missing.
// Close it after reading the records.
type Salvaged struct {
	Path      string         `json:"path"`
	ID        string         `json:"id"`
	FirstLive segment.Seq    `json:"first_live"` // records before it had been dropped
	Records   uint64         `json:"records"`    // of all runs
	Runs      []*SalvagedRun `json:"runs"`
	Missing   []MissingRange `json:"missing"`
	Files     []SalvagedFile `json:"files"` // every file with the name of a segment
	Warnings  []string       `json:"warnings"`
	fsys      segment.FS
	close     func() error
}

// SalvagedRun is a sequence of records without a gap. Within a run every segment follows the one
// before: a run never joins what may be two histories of the journal.
type SalvagedRun struct {
	First segment.Seq `json:"first"`
	Last  segment.Seq `json:"last"`
	Count uint64      `json:"records"`
	Files []string    `json:"files"`

	// MayBeDropped: a truncation, a reset or a recovery may have dropped records of this run, but the
	// bytes that would say so are damaged or missing; Why names them. If MayBeDropped is false, no
	// record of the run had been dropped.
	MayBeDropped bool   `json:"may_have_been_dropped"`
	Why          string `json:"why,omitempty"`

	// BatchParts are records of batches of which the rest is damaged. They had been acknowledged, or
	// published, together with the rest.
	BatchParts []SeqRange `json:"batch_parts"`

	// SegmentSize is the size of the largest segment that the run is read from: each record and each
	// batch of the run fits into a segment of that size. Bytes is the number of bytes that they take
	// in the segments, or a few more.
	SegmentSize int64 `json:"segment_size"`
	Bytes       int64 `json:"bytes"`

	pieces []piece
	fsys   segment.FS
	path   string
}

// SeqRange is the seqs from First to Last.
type SeqRange struct {
	First segment.Seq `json:"first"`
	Last  segment.Seq `json:"last"`
}

// piece is the part of a run that lies in one stretch of one segment.
type piece struct {
	file    *relic
	stretch segment.Stretch
	SeqRange
}

// MissingRange is a range of records that the journal had, or may have had, and that cannot be read
// any more.
type MissingRange struct {
	First segment.Seq `json:"first"`
	// Last is 0 if the number of records is not known; there may have been none.
	Last         segment.Seq  `json:"last,omitempty"`
	Acknowledged Acknowledged `json:"acknowledged"`
	Causes       []Cause      `json:"causes"`
}

// Acknowledged says whether missing records had been acknowledged as durable.
type Acknowledged string

const (
	// Yes: a claim of a mark, of a link or of JOURNAL covers them.
	Yes Acknowledged = "yes"
	// No: no claim covers them, and a crash can have left this state. Records that the last sync has
	// acknowledged may be among them: the next sync would have claimed them.
	No Acknowledged = "no"
	// Unknown: no remaining claim covers them, but no crash leaves this state.
	Unknown Acknowledged = "unknown"
)

// Cause says why records are missing.
type Cause struct {
	Kind    CauseKind      `json:"kind"`
	Segment uint64         `json:"segment"`
	File    string         `json:"file"`
	Offset  segment.Offset `json:"offset"` // in the file; 0 if it is about the whole file
	Why     string         `json:"why"`
}

// CauseKind is the kind of a [Cause].
type CauseKind string

const (
	FileMissing  CauseKind = "file missing"  // there is no file under the segment's name
	WrongFile    CauseKind = "wrong file"    // the file under that name is another segment
	IdentityBad  CauseKind = "bad identity"  // its first 4096 bytes are damaged
	LinkBad      CauseKind = "bad link"      // its first frame is damaged
	FrameDamaged CauseKind = "damaged frame" // at the offset
	CutShort     CauseKind = "cut short"     // the file ends too early
	TornTail     CauseKind = "torn tail"     // no claim covers what is damaged
)

func (c Cause) String() string {
	if c.Offset == 0 {
		return fmt.Sprintf("%s: %s", c.File, c.Why)
	}
	return fmt.Sprintf("%s, offset %d: %s", c.File, c.Offset, c.Why)
}

// SalvagedFile is one file with the name of a segment, and what Salvage did with it.
type SalvagedFile struct {
	File    string         `json:"file"`
	Ordinal uint64         `json:"ordinal"` // that of its name
	State   SalvageState   `json:"state"`
	First   segment.Seq    `json:"first,omitempty"`
	Last    segment.Seq    `json:"last,omitempty"`
	End     segment.Offset `json:"end,omitempty"` // where a link ends it: what follows was dropped
	Note    string         `json:"note,omitempty"`
}

// SalvageState says how a file with the name of a segment relates to the salvaged journal.
type SalvageState string

const (
	SalvageUsed     SalvageState = "used"     // its records are in a run, or it has none
	SalvageDropped  SalvageState = "dropped"  // the journal had dropped it
	SalvagePrepared SalvageState = "prepared" // nothing was ever written to it
	SalvageTorn     SalvageState = "torn"     // it has no valid link, and no claim covers it
	SalvageCopy     SalvageState = "copy"     // a segment of this journal under a wrong name
	SalvageForeign  SalvageState = "foreign"  // a segment of another journal
	SalvageBad      SalvageState = "bad"      // its identity is damaged
)

// Salvage finds every record of the journal in a directory that verifies and that the journal had
// not dropped, whatever else is damaged or missing. It also says which records are missing. It
// takes no lock and changes nothing. No writer may be active: its changes would look like damage.
//
// Open refuses a journal with real damage, because the result of Open must be a journal. Salvage
// returns what is left of one, by these rules:
//
//  1. A segment counts if its identity is good, has this journal's id, and has the ordinal of the
//     file's name. Salvage reports other files as what they are; they cost no record.
//  2. Valid links are applied from the highest ordinal down, the stand-in in JOURNAL under its own
//     ordinal. A link drops every segment between its predecessor and itself, and the predecessor's
//     bytes from the end on that the link names. A link without a predecessor drops every segment
//     below. A segment is the predecessor only if its salt is the one that the link names. The
//     links, marks and claims of what was dropped do not count.
//  3. Records are read from each link on, up to the first frame that is not valid. Frames after
//     that are searched only where a claim, a seal or a link's end says that the journal had more.
//     In an unclaimed tail they may be the rest of an append that was never acknowledged.
//  4. Records before the first live seq of a link or mark that comes after them were dropped. The
//     first live seq in JOURNAL applies to segments up to the one that its claim is in.
//  5. A segment begins at the seq that the journal had reached. Records of lower segments with the
//     same seq, or a higher one, are of another history. They are not returned, and never joined
//     with it.
//  6. A segment that is missing, or has no valid link, may have been a cut, which may have dropped
//     everything below. A run below it is marked so, unless an unbroken chain of links, or a seal
//     whose successor exists, leads to it from above. If JOURNAL is missing or damaged, every run
//     is marked in the same way.
//
// Runs are in ascending order of seqs, and no two have a record with the same seq. Missing is in
// the same order. Records count as acknowledged as durable if a claim covers them: one in a mark,
// in a link or in JOURNAL. Each claim comes with the sync after the one that it is about, so the
// last group of synced records may have none: see [No].
//
// Salvage reads the segments once, and keeps no payload: its memory grows with the number of
// segments and of places where one is damaged. [SalvagedRun.Records] reads the files again, a
// record at a time. Salvage may run concurrently with readers and with itself. A [Salvaged] may be
// read by several goroutines; Close it after the last of them.
//
// Damage is not an error. Errors: those of the file system, ErrNotExist, ErrNotJournal and
// segment.ErrVersion.
func Salvage(dir string, o SalvageOptions) (*Salvaged, error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	s, err := SalvageFS(d, d.Path(), o)
	if err != nil {
		d.Close()
		return nil, err
	}
	s.close = d.Close
	return s, nil
}

// SalvageFS is Salvage in a directory that is already open.
func SalvageFS(fsys segment.FS, dir string, o SalvageOptions) (*Salvaged, error) {
	s := &salvage{
		fsys: fsys, path: dir, names: map[uint64]*relic{},
		out: &Salvaged{
			Path: dir, Runs: []*SalvagedRun{}, Missing: []MissingRange{}, Files: []SalvagedFile{},
			Warnings: []string{}, fsys: fsys, close: func() error { return nil },
		},
	}
	if err := s.list(); err != nil {
		return nil, err
	}
	s.choose(o.ID)
	if err := s.links(); err != nil {
		return nil, err
	}
	if err := s.surveys(); err != nil {
		return nil, err
	}
	s.admit()
	s.build()
	s.report()
	return s.out, s.checkStill()
}

// Close releases the directory.
func (s *Salvaged) Close() error { return s.close() }

// Lost reports whether any missing record had been acknowledged, or may have been.
func (s *Salvaged) Lost() bool {
	for i := range s.Missing {
		if s.Missing[i].Acknowledged != No {
			return true
		}
	}
	return false
}

// SalvagedRecord is one record of a run.
type SalvagedRecord struct {
	Seq     segment.Seq
	Payload []byte // valid until the next one is yielded
	More    bool   // the next record of the run is of the same batch
}

// ErrSalvageChanged: a segment's file has changed since the journal was salvaged.
var ErrSalvageChanged = errors.New("the file has changed while it was salvaged")

// Records yields the records of the run in order, and verifies each one again. An error ends the
// iteration: the file has changed, or cannot be read any more.
func (r *SalvagedRun) Records() iter.Seq2[SalvagedRecord, error] {
	return func(yield func(SalvagedRecord, error) bool) {
		for i := range r.pieces {
			if !r.read(&r.pieces[i], yield) {
				return
			}
		}
	}
}

// read yields the records of one piece. It returns false if that was the end.
func (r *SalvagedRun) read(p *piece, yield func(SalvagedRecord, error) bool) bool {
	path := filepath.Join(r.path, p.file.name)
	f, err := r.fsys.Open(path, segment.ReadOnly)
	if err != nil {
		yield(SalvagedRecord{}, err)
		return false
	}
	defer f.Close()
	more := true
	err = segment.ReadStretch(f, p.file.id, &p.stretch, func(rec *segment.FileRecord) bool {
		if rec.Seq < p.First {
			return true
		}
		if rec.Seq <= p.Last {
			more = yield(SalvagedRecord{rec.Seq, rec.Payload, rec.Batch && rec.Seq < r.Last}, nil)
		}
		return more && rec.Seq < p.Last
	})
	if err != nil {
		yield(SalvagedRecord{}, fmt.Errorf("%s: %w: %w", path, ErrSalvageChanged, err))
		return false
	}
	return more
}
