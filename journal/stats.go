package journal

import "time"

// Stats are an open journal's current size, and counters since it was opened.
type Stats struct {
	First, Published, Durable Seq
	Segments                  int   // on the chain
	UsedBytes                 int64 // of frames and identities in them
	SizeBytes                 int64 // of their files

	Syncs    uint64 // of the disk; appends that wait at the same time share one
	SyncTime time.Duration
	Rolls    uint64 // a segment was full, or a snapshot shares its file

	IndexRebuilds int // segments whose sparse index was damaged, and was rebuilt from their records

	Prepared    uint64        // segments prepared
	Zeroed      uint64        // of these, filled with zeros because there was time
	Primed      uint64        // of these, zeroed and mapped in memory: also if there was time
	Recycled    uint64        // of these, written over the files of dropped segments
	PrepareTime time.Duration // usually in the background
	Stalls      uint64        // times that an append needed a segment that was not ready
	StallTime   time.Duration // how long that append, and all after it, waited
}

// Stats returns the counters. It reads them one after the other while the journal is in use. It
// does not wait for the disk.
func (j *Journal) Stats() Stats {
	b := j.bounds()
	s := Stats{First: b.first, Published: b.last, Durable: min(j.Durable(), b.last)}
	s.Rolls = j.rolls.Load()
	for _, seg := range j.view.Load().chain {
		if seg.IsStandIn() {
			continue
		}
		s.Segments++
		s.UsedBytes += int64(seg.End())
		s.SizeBytes += seg.Size
		if seg.IndexRebuilt() {
			s.IndexRebuilds++
		}
	}
	j.syncer.stats.Lock()
	s.Syncs, s.SyncTime = j.syncer.stats.syncs, j.syncer.stats.syncTime
	j.syncer.stats.Unlock()
	f := j.factory.stats()
	s.Prepared, s.Zeroed, s.Primed, s.Recycled = f.prepared, f.zeroed, f.primed, f.recycled
	s.PrepareTime = f.prepareTime
	s.Stalls, s.StallTime = f.stalls, f.stallTime
	return s
}
