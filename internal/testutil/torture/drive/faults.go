package main

import "mmjournal/internal/testutil/seeded"

// fault is one row of the table: a test, and how often it is to run.
type fault struct {
	name   string
	dir    string // of the module, below the project's root
	pkg    string
	run    string // the test; a fuzz target if it begins with Fuzz
	long   int64  // the long count; it stops there, or when its time is over
	weight int    // its share of the time
}

// faults are all there are; the long counts are those at which a bug has had every chance.
var faults = []fault{
	{"any subset of unsynced sectors and names, 3 lives", ".", "./journal", "^TestModel$", 100e6, 24},
	{"an error at operation k, then crashes", ".", "./journal", "^TestModelErrors$", 2e6, 6},
	{"random histories", ".", "./journal", "^TestRandomHistories$", 1e6, 8},
	{"damage matrix", ".", "./journal", "^TestDamageMatrix$", 6_901_892, 20}, // all there are
	{"random damage, 64 MiB", ".", "./journal", "^TestRandomDamage$", 10e6, 5},
	{"salvage of damaged directories", ".", "./journal", "^TestSalvageRandom$", 1e6, 5},
	{"ten kills -9 in a row under 8 writers", ".", "./journal", "^TestKill$", 500, 6},
	{"soak: writers, readers, follower, retention, kills", ".", "./journal", "^TestSoak$", 700, 6},
	{"everything at once, then closed", ".", "./journal", "^TestEverythingAtOnce$", 10_000, 4},
	{"power cut, ext4", powercut, ".", "^TestPowerCut$/^ext4$", 20000, 10},
	{"power cut, XFS", powercut, ".", "^TestPowerCut$/^xfs$", 5000, 6},
	{"power cut, btrfs", powercut, ".", "^TestPowerCut$/^btrfs$", 5000, 6},
	{"five cuts in a row, ext4", powercut, ".", "^TestCutsInARow$/^ext4$", 600, 10},
	{"five cuts in a row, XFS", powercut, ".", "^TestCutsInARow$/^xfs$", 600, 4},
	{"five cuts in a row, btrfs", powercut, ".", "^TestCutsInARow$/^btrfs$", 600, 4},
	{"power cut on a full disk, ext4", powercut, ".", "^TestFullDiskCuts$/^ext4$", 2000, 5},
	{"power cut on a full disk, XFS", powercut, ".", "^TestFullDiskCuts$/^xfs$", 1000, 3},
	{"disk errors, ext4", powercut, ".", "^TestDiskErrors$/^ext4$", 1000, 6},
	{"disk errors, XFS", powercut, ".", "^TestDiskErrors$/^xfs$", 1000, 3},
	{"disk errors, btrfs", powercut, ".", "^TestDiskErrors$/^btrfs$", 1000, 3},
	{"names that were not synced", powercut, ".", "^TestStrictDirectory$", 5000, 6},
	{"full disk, ext4", powercut, ".", "^TestFullDisks$/^ext4$", 1000, 1},
	{"full disk, XFS", powercut, ".", "^TestFullDisks$/^xfs$", 1000, 1},
	{"full disk, btrfs", powercut, ".", "^TestFullDisks$/^btrfs$", 1000, 1},
	{"full disk, btrfs with mixed groups", powercut, ".", "^TestFullDisks$/^btrfs_mixed$", 1000, 1},
	{"full disk, tmpfs", powercut, ".", "^TestFullDisks$/^tmpfs$", 1000, 1},
	{"memory that cannot be accessed", powercut, ".", "^TestSIGBUS$", 5000, 2},
	{"hostile files: identity", ".", "./segment", "FuzzIdentity", 100e6, 1},
	{"hostile files: JOURNAL", ".", "./segment", "FuzzJournalFile", 100e6, 1},
	{"hostile files: frames", ".", "./segment", "FuzzScan", 100e6, 2},
	{"hostile files: index", ".", "./segment", "FuzzIndex", 100e6, 1},
	{"hostile files: directory", ".", "./recovery", "FuzzScanDirectory", 100e6, 2},
	{"hostile files: directory, crafted", ".", "./recovery", "FuzzHostileDirectory", 100e6, 2},
	{"hostile files: salvage", ".", "./recovery", "FuzzSalvage", 100e6, 2},
	{"hostile files: salvage, crafted", ".", "./recovery", "FuzzSalvageHostile", 100e6, 1},
	{"hostile input of the tool", ".", "./cmd/journaltool", "FuzzInput", 100e6, 1},
	{"seeded bugs, each must be seen", ".", bugs, "^TestSeededBugs$", seeded.Bugs, 12},
}

const (
	powercut = "internal/powercut"
	bugs     = "./internal/testutil/seeded"
)
