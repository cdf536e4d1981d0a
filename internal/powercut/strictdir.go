//go:build linux

package powercut

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
)

// The strict file system makes durable what POSIX says and not a byte more: what fsync or fdatasync
// of a file was told of its content and size, and of a directory's entries what fsync of that
// directory was told. Kernel file systems write more than they must, and so hide a missing fsync of
// a directory.
//
// It lives in the memory of a process of its own and logs every change. [strictModel] replays a log
// up to a point and draws what a power cut there may leave.

// strictKind says what a strictOp is.
type strictKind uint8

const (
	strictMark    strictKind = iota + 1 // the workload's: Size is its number
	strictCreate                        // Dir, Name: the new file File
	strictMkdir                         // Dir, Name: the new directory File
	strictRemove                        // Dir, Name: was File
	strictRename                        // Dir, Name to Dir, NewName: of File
	strictWrite                         // File, Off, Data
	strictResize                        // File, Size
	strictSync                          // File: its content is durable
	strictSyncDir                       // File: its entries are durable
)

// strictOp is one change, or one promise, in the order in which the file system has made them.
type strictOp struct {
	Kind          strictKind
	File, Dir     uint64 // inode numbers
	Name, NewName string
	Off, Size     int64
	Data          []byte
}

// naming reports whether the operation changes a directory.
func (op *strictOp) naming() bool { return op.Kind >= strictCreate && op.Kind <= strictRename }

// strictRoot is the inode number of the directory at the top, whose name is always durable.
const strictRoot = 1

// Names in the mounted file system.
const (
	strictTree    = "tree" // the directory that is kept
	strictControl = "control"
)

// strictConfig is what the file system's process is told.
type strictConfig struct {
	Mount    string // where it is mounted
	Log      string // the file that gets the log; empty: none is kept
	Tree     string // a directory that is its first content, all durable; empty: none
	LiesFrom int    // fsync of a directory does nothing from the n-th on; 0: it is honest
}

// strictCommand is written to the control file as JSON, and obeyed when the write returns.
type strictCommand struct {
	Mark int64  // to the log, unless Path or Full is set
	Full string // "yes": nothing new gets space from now on; "no"
	Path string // below the tree; reads of the range of this file fail from now on
	From int64
	To   int64 // 0: no range fails any more
}

// readStrictLog returns the operations of a log file.
func readStrictLog(path string) ([]strictOp, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var log []strictOp
	for d := gob.NewDecoder(f); ; {
		var op strictOp
		switch err := d.Decode(&op); {
		case errors.Is(err, io.EOF):
			return log, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		log = append(log, op)
	}
}
