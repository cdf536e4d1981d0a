// Package recovery determines the state of a journal's directory after a crash or damage, and what
// a writer may do with it.
//
//	directory.go  list the files, open the segments
//	search.go     find the newest segment and walk the chain back from it (segment/FORMAT.md §6)
//	decide.go     facts → label → action, as a table
//	report.go     what was found, for people and for programs
//	state.go      the result, which is made durable before Open shows it
//	salvage.go    every intact record of a damaged journal, and what is missing: the rules;
//	              salvage_files.go, salvage_chain.go and salvage_runs.go apply them, in this order
//
// Everything but [State.Settle] and [Remove] only reads. Package journal acts on the result.
package recovery
