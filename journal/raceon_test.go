//go:build race

package journal_test

// raceEnabled: the race detector makes walks ten times slower.
const raceEnabled = true
