package main

import (
	"fmt"
	"slices"
)

// goal is a line of the table of goals: the worst of some figures against a bound. Each cell and
// each row of ours that it names gives one figure; without all of them it is not judged.
type goal struct {
	text    string
	bound   bound
	format  func(float64) string
	work    string
	cells   []string // their ids
	rows    []*Impl  // of ours
	measure measure
}

// bound is what the worst figure may be.
type bound struct {
	value float64
	least bool // the figure must be at least the value, not at most
}

func atMost(v float64) bound  { return bound{v, false} }
func atLeast(v float64) bound { return bound{v, true} }

// The rows of ours that goals are about. For durable appends the journal's steady state is that of
// recycled files; new files have lines of their own.
var (
	mainRow     = []*Impl{oursImpl}
	recycledRow = []*Impl{oursRecycledImpl}
	durableRows = []*Impl{oursImpl, oursRecycledImpl}
)

// The cells that goals are about.
var (
	everySize   = []string{"16", "128", "1024", "16384"}
	oneWriter   = []string{"16x1", "128x1", "1024x1", "16384x1"}
	manyWriters = []string{
		"128x2", "128x4", "128x16", "128x64", "16384x2", "16384x4", "16384x16", "16384x64",
	}
	oneDurable = []string{"128x1", "16384x1"}
	groups     = []string{"128x8", "128x64", "128x256", "16384x8", "16384x64", "16384x256"}
	allBatches = []string{"100x128"}
)

// goals are what the project wants to reach.
var goals = slices.Concat(unsyncedGoals, durableGoals, readGoals, openGoals)

var unsyncedGoals = []goal{
	{"unsynced append, 1 goroutine, every size: of the mapped limit", atMost(1.1), times,
		"unsynced", oneWriter, mainRow, against(mappedLimitImpl)},
	{"unsynced append, 1 goroutine, 128 B: faster than Pebble", atLeast(4), times,
		"unsynced", []string{"128x1"}, mainRow, faster(pebblesOnly, canAppend)},
	{"unsynced append, 1 goroutine, 128 B: faster than every other peer", atLeast(40), times,
		"unsynced", []string{"128x1"}, mainRow, faster(notPebble, canAppend)},
	{"unsynced append, 2 to 64 goroutines, 128 B and 16 KiB: of the mapped limit", atMost(1), times,
		"unsynced", manyWriters, mainRow, against(mappedLimitImpl)},
	{"unsynced append, 64 goroutines, 128 B and 16 KiB: of the fetch-add limit", atMost(1.2), times,
		"unsynced", []string{"128x64", "16384x64"}, mainRow, against(fetchAddLimitImpl)},
	{"append latency, 128 B, with rolls: p99.9", atMost(500), formatNS,
		"latency", []string{"128"}, mainRow, long("p99.9")},
	{"append latency, 128 B, with rolls: p99.99", atMost(20e3), formatNS,
		"latency", []string{"128"}, mainRow, long("p99.99")},
}

var durableGoals = []goal{
	{"durable append, 1 goroutine, recycled files: of the disk limit", atMost(1.05), times,
		"durable", oneDurable, recycledRow, against(diskLimitImpl)},
	{"durable append, 1 goroutine, new files: of the disk limit", atMost(1.05), times,
		"durable", oneDurable, mainRow, against(diskLimitImpl)},
	{"durable append of 128 B: I/Os of the device", atMost(2.1), formatCount,
		"durable", []string{"128x1"}, durableRows, plain("ios")},
	{"durable append of 128 B: bytes written to the device", atMost(4.5 * 1024), formatBytes,
		"durable", []string{"128x1"}, durableRows, plain("bytes")},
	{"durable append, 8, 64 and 256 goroutines, 128 B and 16 KiB, recycled files: " +
		"faster than the best peer", atLeast(1), times,
		"durable", groups, recycledRow, faster(anyPeer, canDurable)},
	{"durable append, 8, 64 and 256 goroutines, 128 B and 16 KiB, new files: " +
		"faster than the best peer with new files", atLeast(1), times,
		"durable", groups, mainRow, faster(newFilesPeer, canDurable)},
	{"durable batch of 100 × 128 B, recycled files: of the disk limit", atMost(1.1), times,
		"batch", allBatches, recycledRow, against(diskLimitImpl)},
	{"durable batch of 100 × 128 B, new files: of the disk limit", atMost(1.1), times,
		"batch", allBatches, mainRow, against(diskLimitImpl)},
	{"durable batch of 100 × 128 B, recycled files: faster than the best peer", atLeast(1), times,
		"batch", allBatches, recycledRow, faster(anyPeer, canBatch)},
	{"durable batch of 100 × 128 B, new files: faster than the best peer with new files",
		atLeast(1), times, "batch", allBatches, mainRow, faster(newFilesPeer, canBatch)},
}

var readGoals = []goal{
	{"sequential read, every size: of the mapped limit", atMost(1.15), times,
		"sequential", everySize, mainRow, against(mappedLimitImpl)},
	{"random read by seq, every size: of the mapped limit", atMost(1.5), times,
		"random", everySize, mainRow, against(mappedLimitImpl)},
	{"random read by seq: faster than the best peer whose reads are checked", atLeast(1), times,
		"random", everySize, mainRow, faster(anyPeer, canRead|isChecked)},
}

var openGoals = []goal{
	{"open after kill -9 of 4 GiB, synced, files in the page cache", atMost(15e6), formatNS,
		"reopen", []string{"4096"}, mainRow, plain("ns")},
	{"first open after kill -9 of 4 GiB, synced, time of the device included", atMost(15e6),
		formatNS, "reopen", []string{"4096"}, mainRow, plain("first")},
	{"open after kill -9, 64 MiB not synced: of the time to sync and CRC them", atMost(1.3), times,
		"unclaimed", []string{"64"}, mainRow, against(syncLimitImpl)},
	{"open after kill -9, 64 MiB not synced: of the time to sync a new file and CRC them",
		atMost(1.3), times, "unclaimed", []string{"64"}, mainRow, against(syncNewLimitImpl)},
	{"files: of payload + 16 bytes + padding to 8, at 1 KiB", atMost(1.01), times,
		"space", []string{"1024"}, mainRow, overhead},
}

func times(v float64) string { return fmt.Sprintf("%.2f ×", v) }

func anyPeer(i *Impl) bool      { return i.peer() }
func pebblesOnly(i *Impl) bool  { return i == pebbleImpl }
func notPebble(i *Impl) bool    { return i.peer() && i != pebbleImpl }
func newFilesPeer(i *Impl) bool { return i.peer() && i != pebbleRecycledImpl }
