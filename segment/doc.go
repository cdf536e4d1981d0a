// Package segment is one file of a journal: its bytes, its mapping, appending to it, reading it.
//
// FORMAT.md in this directory defines the bytes. The files here follow a record's way:
//
//	format.go       sizes, kinds, names of files; then pure encode and decode of
//	identity.go     the identity: the first page of a segment
//	journalfile.go  the file JOURNAL
//	link.go         the link: which segment precedes this one
//	control.go      mark and seal
//	frame.go        a frame: checksum, header, the conditions that make it valid
//	prepare.go      a new file: reserved, zeroed, identified, durable before it is used
//	recycle.go      an old file instead of a new one
//	segment.go      an open segment: mapping, published end, lifetime
//	writer.go       reserve, fill, publish; link, mark, seal
//	stage.go        the buffer in which appends that wait for a sync are completed; written by groups
//	scan.go         what a segment's bytes say after a crash
//	survey.go       every frame that verifies, before and after damage
//	read.go         a record by seq through the sparse index (index.go)
//	fs.go           the file-system operations, as an interface; os.go and memfs.go implement it
//	mapping*.go     mmap, and the only uses of package unsafe
//	fault.go        a fault in mapped memory becomes an error
//
// Nothing here knows of other segments. Package recovery determines which segments make up a
// journal, and package journal is the public interface. Most programs import only package journal.
package segment
