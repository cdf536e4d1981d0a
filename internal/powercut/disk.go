package powercut

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
)

// EntryKind says what an entry of the disk's log is.
type EntryKind uint8

const (
	WriteEntry EntryKind = iota + 1 // bytes that the disk has taken into its volatile cache
	FlushEntry                      // the disk has made everything before it durable
	MarkEntry                       // the workload's: an operation begins, or has returned
	FaultEntry                      // a write or a flush that the disk has refused with EIO
)

// Entry is one event on the disk. Entries are in the order in which the disk has seen them: a write
// or a mark is in the log before the one who made it is told that it is done.
type Entry struct {
	Kind   EntryKind
	Offset int64
	Data   []byte // of a write
	Mark   *Mark  // of a mark
}

const entryHeader = 16

// appendEntry encodes an entry: kind, 3 bytes of padding, length of the data, offset, data.
func appendEntry(b []byte, kind EntryKind, offset int64, data []byte) []byte {
	b = append(b, byte(kind), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	return append(b, data...)
}

// readLog returns the entries of a log file.
func readLog(path string) ([]Entry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var log []Entry
	for len(b) > 0 {
		if len(b) < entryHeader {
			return nil, fmt.Errorf("%s: ends within an entry", path)
		}
		e := Entry{Kind: EntryKind(b[0]), Offset: int64(binary.LittleEndian.Uint64(b[8:]))}
		n := entryHeader + int(binary.LittleEndian.Uint32(b[4:]))
		if len(b) < n {
			return nil, fmt.Errorf("%s: ends within an entry", path)
		}
		e.Data, b = b[entryHeader:n], b[n:]
		if e.Kind == MarkEntry {
			e.Mark = new(Mark)
			if err := json.Unmarshal(e.Data, e.Mark); err != nil {
				return nil, fmt.Errorf("%s: mark: %w", path, err)
			}
			e.Data = nil
		}
		log = append(log, e)
	}
	return log, nil
}

// diskConfig is what the disk's process is told.
type diskConfig struct {
	Medium      string // the file with the disk's bytes, as the kernel reads them
	Mount       string // where disk.img appears
	Log         string // the file that gets the log
	Socket      string // where marks and commands are taken
	FS          string // where the file system on the disk gets mounted
	IgnoreFlush bool   // a disk that lies: flushes are confirmed and not made
}

// fault makes the disk refuse one kind of request.
type fault struct {
	Kind   EntryKind // WriteEntry or FlushEntry
	After  int       // that many more succeed
	Sticky bool      // all that follow fail too
}

// Commands on the disk's socket; each packet is one command and its data, and is answered.
const (
	commandMark = 'm' // data: a Mark as JSON
	commandArm  = 'a' // data: a fault as JSON
	commandHeal = 'h' // ends the fault; the answer says how many requests were refused
)

const (
	diskName = "disk.img"
	answerOK = "ok"
)
