package segment

import "time"

// Mark says what is durable.
type Mark struct {
	Next      Seq      // of the next record; in the frame's header
	Claim     Position // every byte of the chain before it is on stable storage
	FirstLive Seq
	Time      time.Time
	Clean     bool // the journal was closed here
}

func (m *Mark) encode(b []byte) {
	le.PutUint64(b[0:], m.Claim.Ordinal)
	le.PutUint64(b[8:], uint64(m.Claim.Offset))
	le.PutUint64(b[16:], uint64(m.FirstLive))
	le.PutUint64(b[24:], uint64(m.Time.UnixNano()))
	var flags uint64
	if m.Clean {
		flags = 1
	}
	le.PutUint64(b[32:], flags)
}

// decodeMark reads a mark's payload and reports whether it may stand at position at.
func decodeMark(b []byte, next Seq, at Position) (m Mark, ok bool) {
	flags := le.Uint64(b[32:])
	m = Mark{
		Next:      next,
		Claim:     Position{le.Uint64(b[0:]), Offset(le.Uint64(b[8:]))},
		FirstLive: Seq(le.Uint64(b[16:])),
		Time:      time.Unix(0, int64(le.Uint64(b[24:]))),
		Clean:     flags&1 != 0,
	}
	ok = flags <= 1 && m.Claim.Offset >= 0 && !at.Less(m.Claim)
	return m, ok && (!m.Clean || m.Claim == at)
}

// Seal is the last frame of a full segment.
type Seal struct {
	Next       Seq // of the next record; in the frame's header
	Records    uint64
	OldestTime time.Time
	NewestTime time.Time
	Succ       uint64 // the successor's ordinal
	SuccSalt   uint64
	IndexAt    Offset // where the seal's frame ends
	IndexLen   uint32 // entries
	IndexCRC   uint32
}

// IndexEnd returns the offset after the sparse index.
func (s *Seal) IndexEnd() Offset { return s.IndexAt + Offset(s.IndexLen)*indexEntry }

func (s *Seal) encode(b []byte) {
	le.PutUint64(b[0:], s.Records)
	le.PutUint64(b[8:], uint64(s.OldestTime.UnixNano()))
	le.PutUint64(b[16:], uint64(s.NewestTime.UnixNano()))
	le.PutUint64(b[24:], s.Succ)
	le.PutUint64(b[32:], s.SuccSalt)
	le.PutUint64(b[40:], uint64(s.IndexAt))
	le.PutUint32(b[48:], s.IndexLen)
	le.PutUint32(b[52:], s.IndexCRC)
	le.PutUint64(b[56:], 0)
}

// decodeSeal reads a seal's payload and reports whether it may end at end.
func decodeSeal(b []byte, next Seq, end Offset) (s Seal, ok bool) {
	s = Seal{
		Next:       next,
		Records:    le.Uint64(b[0:]),
		OldestTime: time.Unix(0, int64(le.Uint64(b[8:]))),
		NewestTime: time.Unix(0, int64(le.Uint64(b[16:]))),
		Succ:       le.Uint64(b[24:]),
		SuccSalt:   le.Uint64(b[32:]),
		IndexAt:    Offset(le.Uint64(b[40:])),
		IndexLen:   le.Uint32(b[48:]),
		IndexCRC:   le.Uint32(b[52:]),
	}
	return s, s.IndexAt == end && le.Uint64(b[56:]) == 0 && s.Succ != 0
}
