// Journaltool looks at, checks, fills and cuts journals: see journaltool --help.
//
// Opening a journal to look at it takes no lock, works beside a live writer and writes nothing.
// Exit codes: 0 the journal is intact, 1 it is corrupt, 2 the command line is wrong, 3 anything
// else.
//
//	main.go      the command line, exit codes, output
//	append.go    stdin → records; input.go reads them, progress.go says what is durable
//	cat.go       records → stdout
//	info.go      info, segments and verify: three views of the same report
//	truncate.go  the one verb that drops records
//	demo.go      the whole story: write, kill, recover, resume, verify
package main
