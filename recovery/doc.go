// Package recovery says what a journal's directory holds after whatever happened to it, and what
// may be done about it.
//
//	directory.go  list the files, open the segments
//	search.go     find the newest segment and walk the chain back from it (segment/FORMAT.md §6)
//	decide.go     facts → label → action, as a table
//	report.go     what was found, for people and for programs
//	state.go      the result; what is shown is made durable before it is shown
//	salvage.go    every record that can be had of a damaged journal, and what is missing: the rules;
//	              salvage_files.go, salvage_chain.go and salvage_runs.go apply them, in this order
//
// Everything but [State.Settle] and [Remove] only reads. Package journal acts on the result.
package recovery
