// Package reader holds no Go code: this directory has a reader of journals in Python, written from
// segment/FORMAT.md alone, and a test that holds it against package journal.
package reader
