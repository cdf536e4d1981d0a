package journal

import (
	"errors"
	"slices"

	"go.uber.org/zap"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// What Open does about space, and about what a scan has found.

// scan scans a directory. A copy that was restored may have holes, and to read them is a fault
// where the file system fills them by that and has no space (tmpfs): it gets its space back first,
// or there is none.
func scan(fsys segment.FS, dir string, full bool) (*recovery.State, error) {
	reserved := ""
	for {
		st, err := recovery.Scan(fsys, dir, recovery.Options{Full: full})
		var fault *segment.FaultError
		if !errors.As(err, &fault) || fault.Path == reserved {
			return st, err
		}
		reserved = fault.Path
		seg, openErr := segment.Open(fsys, reserved, segment.ReadWrite)
		if openErr != nil {
			return nil, err
		}
		if none := errors.Join(seg.Reserve(), seg.Drop()); none != nil {
			return nil, none
		}
	}
}

// adoptSize makes the segments as large as the journal's were, unless the options say how large,
// and notes it; at the same time the two copies in JOURNAL become equal, if they were not.
func (j *Journal) adoptSize(file *segment.JournalFile) error {
	if file != nil && file.SegmentSize > 0 && file.SegmentSize != j.opts.SegmentSize {
		if j.opts.sized {
			j.log.Info("new segments have another size from now on",
				zap.Int64("before", file.SegmentSize), zap.Int64("now", j.opts.SegmentSize))
		} else {
			j.opts.SegmentSize = min(file.SegmentSize, mostSegmentSize)
			j.factory.setSize(j.opts.SegmentSize, mostReady(&j.opts))
		}
	}
	err := j.names.setSegmentSize(j.opts.SegmentSize)
	if errors.Is(err, ErrNoSpace) { // there is no JOURNAL to write over
		j.log.Warn("JOURNAL is not written anew", zap.Error(err))
		return nil
	}
	return err
}

// SegmentSize returns the size in bytes that new segments grow to: that of the options, or else
// the one that the journal was last written with.
func (j *Journal) SegmentSize() int64 { return j.opts.SegmentSize }

// whyLeave returns why a segment that was closed cleanly must not be written to again; 0 if it may.
// A snapshot by hard links shares its file. Or the segment is a restored copy with holes, and the
// disk is full: a store to a hole would fault.
func whyLeave(seg *segment.Segment) (segment.Reason, error) {
	n, err := seg.Links()
	if err != nil {
		return 0, err
	}
	if n > 1 {
		return segment.ReasonShared, nil
	}
	err = seg.Reserve()
	if errors.Is(err, ErrNoSpace) {
		return segment.ReasonRecovery, nil
	}
	return 0, err
}

// rolled returns how many bytes the newest segments have that follow each other by rolls.
func rolled(chain []*segment.Segment) (n int64) {
	for _, seg := range slices.Backward(chain) {
		n += seg.Size
		if seg.Link.Reason != segment.ReasonRoll {
			break
		}
	}
	return n
}

// afterEnd returns the link of a segment that follows the newest one, of which nothing after the
// end is kept. Everything before it is durable.
func afterEnd(newest *segment.Segment, scan *segment.Scan, firstLive Seq) segment.Link {
	return segment.Link{
		Base: scan.Next, Pred: newest.Ordinal, PredSalt: newest.Salt, PredEnd: scan.End,
		FirstLive: firstLive, Reason: segment.ReasonRecovery,
		Claim: segment.Position{Ordinal: newest.Ordinal, Offset: scan.End},
	}
}
