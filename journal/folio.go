package journal

import "mmjournal/segment"

// folio returns how a new segment of a size is made zero; group is how many bytes a sync has made
// durable of late, 0 if there was none.
//
// The page cache keeps a file in folios of the size in which it was written. A first touch maps a
// whole folio, and a sync writes whole ones. In a file whose zeros are not on the disk a sync
// writes the file system's log, too.
type folio func(group, size int64) segment.Zeros

// folioFor returns how the segments of a journal are made zero.
func folioFor(d Durability) folio {
	if d == Synced {
		return syncedFolio
	}
	return storedFolio
}

// unwritten is from which group size on writing the file system's log takes less time than writing
// every byte twice would (bench/README.md).
const unwritten = 256 << 10

// syncedFolio: a small sync is cheapest with the smallest folios, a larger one with folios that
// add an eighth to it at most.
func syncedFolio(group, _ int64) segment.Zeros {
	if group >= unwritten {
		return segment.Zeros{}
	}
	size := 4 << 10
	for int64(size)*16 <= group {
		size *= 2
	}
	return segment.Zeros{Chunk: size}
}

const (
	// largeFolio: first touches gain no more above this size, and the first store after a sync
	// costs several times as much.
	largeFolio = 256 << 10
	// mostPrimed bounds what the active segment and those that are ready have in memory, to be
	// written to the disk: twice that.
	mostPrimed = 256 << 20
)

// storedFolio is for segments that appends store to: none of them faults in a primed one. Who syncs
// small groups pays for that with each sync, and is better off with zeros on the disk.
func storedFolio(group, size int64) segment.Zeros {
	if 0 < group && group < unwritten {
		return syncedFolio(group, size)
	}
	return segment.Zeros{Chunk: largeFolio, Primed: size <= mostPrimed}
}

// noFolio leaves files as the file system reserves them.
func noFolio(_, _ int64) segment.Zeros { return segment.Zeros{} }
