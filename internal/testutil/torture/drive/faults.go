package main

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
	{"any subset of unsynced sectors and names", ".", "./journal", "^TestModel$", 100e6, 16},
	{"errors at operation k", ".", "./journal", "^TestModelErrors$", 2e6, 4},
	{"seeded bugs", ".", "./internal/testutil/seeded", "^TestSeededBugs$", 1000, 6},
	{"kill -9", ".", "./journal", "^TestKill$", 500, 4},
}
