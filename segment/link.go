package segment

import "time"

// Link is the first frame of every segment. It names the segment before it in the chain.
type Link struct {
	Base      Seq      // of the segment's first record; in the frame's header
	Pred      uint64   // the predecessor's ordinal; 0: none, the chain starts here
	PredSalt  uint64   // 0 if none
	PredEnd   Offset   // where the predecessor ends; 0 if none
	FirstLive Seq      // records before it have been dropped
	Claim     Position // what is durable; zero: nothing
	Time      time.Time
	Reason    Reason

	// Reserved, and 0: the history that the segment belongs to, and the first seq of that.
	Epoch, EpochNonce uint64
	EpochStart        Seq
}

func (l *Link) encode(b []byte) {
	le.PutUint64(b[0:], l.Pred)
	le.PutUint64(b[8:], l.PredSalt)
	le.PutUint64(b[16:], uint64(l.PredEnd))
	le.PutUint64(b[24:], uint64(l.FirstLive))
	le.PutUint64(b[32:], l.Claim.Ordinal)
	le.PutUint64(b[40:], uint64(l.Claim.Offset))
	le.PutUint64(b[48:], uint64(l.Time.UnixNano()))
	le.PutUint64(b[56:], uint64(l.Reason))
	le.PutUint64(b[64:], l.Epoch)
	le.PutUint64(b[72:], l.EpochNonce)
	le.PutUint64(b[80:], uint64(l.EpochStart))
	le.PutUint64(b[88:], 0)
}

// decodeLink reads a link's payload, of which it needs the first linkPayload bytes, and reports
// whether it satisfies FORMAT.md §4.1 in the segment with that ordinal.
func decodeLink(b []byte, base Seq, ordinal uint64) (l Link, ok bool) {
	l = Link{
		Base:       base,
		Pred:       le.Uint64(b[0:]),
		PredSalt:   le.Uint64(b[8:]),
		PredEnd:    Offset(le.Uint64(b[16:])),
		FirstLive:  Seq(le.Uint64(b[24:])),
		Claim:      Position{le.Uint64(b[32:]), Offset(le.Uint64(b[40:]))},
		Time:       time.Unix(0, int64(le.Uint64(b[48:]))),
		Reason:     Reason(le.Uint64(b[56:])),
		Epoch:      le.Uint64(b[64:]),
		EpochNonce: le.Uint64(b[72:]),
		EpochStart: Seq(le.Uint64(b[80:])),
	}
	if l.Pred == 0 {
		ok = l.PredSalt == 0 && l.PredEnd == 0
	} else {
		ok = l.Pred < ordinal && l.PredEnd >= LinkEnd && l.PredEnd%8 == 0
	}
	return l, ok && base > 0 && l.Claim.Ordinal < ordinal && l.Claim.Offset >= 0
}

// Plausible reports whether a segment with the link pred can be the predecessor of a segment with
// the link l: its base seq is not above that of l, and the records in between fit before the end
// that l names.
func (l *Link) Plausible(pred *Link) bool {
	return pred.Base <= l.Base && uint64(l.Base-pred.Base) <= uint64(l.PredEnd-LinkEnd)/HeaderSize
}
