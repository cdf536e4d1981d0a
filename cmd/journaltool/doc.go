// Journaltool inspects, verifies, reads, appends to, truncates and salvages journals: see
// journaltool --help.
//
// Read-only verbs take no lock, never write, and can run while a writer is active.
//
//	main.go      the command line, output; exit.go the exit codes
//	append.go    stdin → records; input.go reads them, progress.go says what is durable
//	cat.go       records → stdout; escape.go keeps payloads from controlling a terminal
//	info.go      info, segments and verify: three views of the same report
//	truncate.go  the one verb that drops records
//	salvage.go   every intact record of a damaged journal → new journals and a manifest
//	demo.go      write, kill, recover, resume, verify; demo_*.go its parts
package main
