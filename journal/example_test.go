package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"mmjournal/journal"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	j, err := journal.Open(filepath.Join(dir, "wal"), nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"set a=1", "set b=2", "del a"} {
		if _, err := j.Append([]byte(text)); err != nil { // durable when it returns
			log.Fatal(err)
		}
	}
	for rec, err := range j.Records(2) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", rec.Seq, rec.Payload)
	}
	if err := j.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2 set b=2
	// 3 del a
}

// With Durability Published an append costs a copy and a checksum; Sync is the barrier.
func ExampleJournal_Sync() {
	j, err := journal.OpenMemory(&journal.Options{Durability: journal.Published})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	for i := range 1000 {
		if _, err := j.Append(fmt.Appendf(nil, "event %d", i)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(j.Published(), j.Durable())
	if err := j.Sync(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(j.Published(), j.Durable())
	// Output:
	// 1000 0
	// 1000 1000
}

// AppendFunc lets an encoder write into the journal's memory.
func ExampleJournal_AppendFunc() {
	j, err := journal.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	seq, err := j.AppendFunc(5, func(dst []byte) error {
		copy(dst, "hello")
		return nil
	})
	fmt.Println(seq, err)
	// Output: 1 <nil>
}

// A log that is compacted from the front and corrected at the back, as a Raft node does.
func ExampleJournal_TruncateBack() {
	j, err := journal.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	for range 10 {
		j.Append([]byte("term 1"))
	}
	err = errors.Join(j.TruncateBack(7), j.TruncateFront(4))
	seq, _ := j.Append([]byte("term 2"))
	fmt.Println(err, j.First(), j.Last(), seq)
	// Output: <nil> 4 8 8
}
