package journal

// folio returns the size of the writes that zero a new segment, in bytes, or 0 if nothing is to be
// written; group is how many bytes a sync has made durable of late.
//
// The page cache keeps a file in folios of the size in which it was written. A first touch maps a
// whole folio, and a sync writes whole ones. In a file that was not written at all a sync writes
// the file system's log, too.
type folio func(group int64) int

// folioFor returns how the segments of a journal are zeroed.
func folioFor(d Durability) folio {
	if d == Synced {
		return syncedFolio
	}
	return largeFolio
}

// syncedFolio: a small sync is cheapest with the smallest folios, a larger one with folios that
// add an eighth to it at most. From unwritten on, writing the file system's log takes less time
// than writing every byte twice would (bench/README.md).
func syncedFolio(group int64) int {
	const smallest, unwritten = 4 << 10, 256 << 10
	if group >= unwritten {
		return 0
	}
	size := smallest
	for int64(size)*16 <= group {
		size *= 2
	}
	return size
}

// largeFolio: first touches gain no more above this size, and the first store after a sync costs
// several times as much.
func largeFolio(int64) int { return 256 << 10 }

// noFolio leaves files as the file system reserves them.
func noFolio(int64) int { return 0 }
