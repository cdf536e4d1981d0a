package journal

import "time"

// Stats are counters of an open journal, since it was opened, and its present size.
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
	Zeroed      uint64        // of these, written full of zeros: there was time for that
	Primed      uint64        // of these, with zeros and a mapping that are ready in memory: likewise
	Recycled    uint64        // of these, written over the files of dropped segments
	PrepareTime time.Duration // in the background, as a rule
	Stalls      uint64        // a segment was needed that was not ready: the append that needed it,
	StallTime   time.Duration // and all behind it, waited so long for it
}

// Stats returns the counters. They are collected one after the other while the journal goes on. It
// waits for no disk.
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
