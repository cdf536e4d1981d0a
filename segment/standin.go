package segment

// NewStandIn returns the segment that the link in the file JOURNAL stands for (FORMAT.md §6). It
// has an ordinal and a link, but no file and no records. path is that of JOURNAL.
func NewStandIn(path string, journal ID, ordinal uint64, l Link) *Segment {
	s := &Segment{
		Identity: Identity{Journal: journal, Ordinal: ordinal}, path: path, m: &Mapping{}, Link: l,
	}
	s.refs.Store(1)
	s.loadIndex.Do(func() {})
	s.publish(LinkEnd, l.Base)
	return s
}

// IsStandIn reports whether the segment has no file: see NewStandIn. The format allows no segment
// as small as that.
func (s *Segment) IsStandIn() bool { return s.Size == 0 }

// StandInScan returns the scan of a stand-in. Everything before it is durable, and nothing follows:
// it ends like a journal that was closed.
func StandInScan(l Link) *Scan {
	return &Scan{
		Link: l, HasLink: true, LinkEnd: LinkEnd, LiveAt: FirstFrame, End: LinkEnd, Next: l.Base,
		Claim: l.Claim, FirstLive: l.FirstLive, Oldest: l.Time, Newest: l.Time, Clean: true,
	}
}
