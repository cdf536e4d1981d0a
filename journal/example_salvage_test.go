package journal_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"mmjournal/journal"
)

// The first segment of a journal is lost. Open refuses the journal then.
func ExampleSalvage() {
	dir, err := os.MkdirTemp("", "salvage")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	j, err := journal.Open(dir, &journal.Options{SegmentSize: journal.MinSegmentSize})
	if err != nil {
		log.Fatal(err)
	}
	for range 6 {
		if _, err := j.Append(make([]byte, 20_000)); err != nil {
			log.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "0000000000000001.seg")); err != nil {
		log.Fatal(err)
	}

	s, err := journal.Salvage(dir, journal.SalvageOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, run := range s.Runs {
		for rec, err := range run.Records() {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("record", rec.Seq, "of", len(rec.Payload), "bytes")
		}
	}
	for _, m := range s.Missing {
		fmt.Printf("missing: %d to %d, acknowledged: %s (%s)\n", m.First, m.Last, m.Acknowledged,
			m.Causes[0])
	}
	// Output:
	// record 4 of 20000 bytes
	// record 5 of 20000 bytes
	// record 6 of 20000 bytes
	// missing: 1 to 3, acknowledged: yes (0000000000000001.seg: the file is missing)
}
