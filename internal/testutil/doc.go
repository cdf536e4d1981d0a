// Package testutil holds what the tests of several packages share. No program imports it: a test in
// this package sees to that, and to the project's other rules of structure.
package testutil
