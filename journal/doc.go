// Package journal is an embedded write-ahead log: a directory of preallocated segment files that
// are mapped into memory. An append costs a copy and a checksum; a sync costs what the disk costs;
// and what was acknowledged is there after a crash, or an error says exactly what is not.
//
//	j, err := journal.Open("data/wal", nil)
//	seq, err := j.Append([]byte("hello"))
//	for rec, err := range j.Records(0) { … }
//	err = j.Close()
//
// # Durability
//
// A record that is published survives the process, even kill -9. One that is durable survives a
// power cut.
//
//	Durability  Append returns when        survives kill -9  survives a power cut
//	Synced      the record is durable      yes               yes
//	Published   the record is published    yes               up to Durable(); Sync raises it
//	Interval    the record is published    yes               up to Durable(): all but the last
//	                                                         SyncInterval, if syncs keep up
//
// Appends that wait for a sync at the same time share it.
//
// # Failures
//
// The first sync or store that fails makes the journal fail for good: every later append and sync
// returns that error, wrapped in ErrFailed, because a sync that is repeated after a failure reports
// success although bytes are lost. Close it and open it again. A full disk is no such failure:
// ErrNoSpace can be retried.
//
// # Files
//
// The bytes are described in segment/FORMAT.md.
package journal
