// Package journal is an embedded write-ahead log: a directory of preallocated segment files that
// are mapped into memory. An append costs a copy and a checksum; a sync costs what the disk costs.
// After any crash, every record acknowledged as durable is returned intact and in order. If storage
// lost or damaged one, the journal reports an error with the file and the offset.
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
// The first sync or store that fails makes the journal fail permanently: every later append and
// sync returns that error, wrapped in ErrFailed. The journal does not repeat the sync, because a
// repeated sync reports success although bytes are lost. Close the journal and open it again. A
// full disk is not such a failure: after ErrNoSpace, the call can be repeated.
//
// # Files
//
// segment/FORMAT.md describes the bytes.
package journal
