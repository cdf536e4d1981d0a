package powercut

import "fmt"

// MarkKind says what the workload has to say. "begins" is in the log before the operation starts,
// what it has come to before the goroutine starts another.
type MarkKind string

const (
	Opening  MarkKind = "opening"
	Opened   MarkKind = "opened"   // First, IDs: what the journal shows
	Append   MarkKind = "append"   // begins: Op, IDs
	Returned MarkKind = "returned" // the append Op got Seq, and is published
	Acked    MarkKind = "acked"    // the append Op got Seq, and is durable
	Durable  MarkKind = "durable"  // everything up to Seq is durable
	Front    MarkKind = "front"    // TruncateFront(Seq) begins
	Fronted  MarkKind = "fronted"  // … is done
	Back     MarkKind = "back"     // TruncateBack(Seq) begins
	Backed   MarkKind = "backed"   // … is done
	Reset    MarkKind = "reset"    // Reset(Seq) begins
	WasReset MarkKind = "was reset"
	Failed   MarkKind = "failed" // the operation Op, or the structural one if Op is 0
	Wrong    MarkKind = "wrong"  // the workload itself has seen a violation: Text
	Refused  MarkKind = "refused"
	Snapshot MarkKind = "snapshot" // the files in the directory Text have these Sums for ever
	Finished MarkKind = "finished" // the workload is through
)

// Mark is an entry of the workload in the disk's log.
type Mark struct {
	Kind   MarkKind
	Op     uint64            `json:",omitempty"`
	Seq    uint64            `json:",omitempty"`
	First  uint64            `json:",omitempty"`
	IDs    []ID              `json:",omitempty"`
	Sticky bool              `json:",omitempty"` // Failed: the journal has failed for good
	Text   string            `json:",omitempty"`
	Sums   map[string]uint64 `json:",omitempty"` // by the files' names
}

// ID says which record a payload is. No two appends of a chain of lives have the same.
type ID struct {
	Life, Writer int
	N            int // counts the writer's records in this life
	Index, Of    int // place in the batch, and its size
}

// MarshalText keeps marks short.
func (id ID) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%d.%d.%d.%d", id.Life, id.Writer, id.N, id.Index, id.Of), nil
}

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "%d.%d.%d.%d.%d",
		&id.Life, &id.Writer, &id.N, &id.Index, &id.Of)
	return err
}
