// Package seeded proves that the tests can fail: it breaks the library on purpose, one promise at a
// time, and runs the tests that have to notice. Each bug is a change of a few lines that the go
// command sees instead of the real file (its flag -overlay), so the code of the library has no
// switches for it.
package seeded

// Bugs is how many there are.
const Bugs = 178
