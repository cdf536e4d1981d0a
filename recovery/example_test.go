package recovery_test

import (
	"fmt"
	"log"

	"mmjournal/recovery"
)

// Inspect looks at a journal that was not closed, and whose last bytes a power cut has torn.
func ExampleInspect() {
	report, err := recovery.Inspect("../segment/testdata/v1/torn", true)
	if err != nil {
		log.Fatal(err)
	}
	if err := report.Err(); err != nil {
		log.Fatal(err) // says where acknowledged data is damaged
	}
	fmt.Println(report.Verdict, report.End)
	fmt.Printf("records %d to %d, durable to %d\n", report.First, report.Last, report.Durable)
	fmt.Printf("torn from seq %d on: segment %d, offset %d, %d bytes\n",
		report.Tail.Seq, report.Tail.Segment, report.Tail.Offset, report.Tail.Bytes)
	// Output:
	// intact torn
	// records 1 to 4, durable to 3
	// torn from seq 5 on: segment 1, offset 4400, 851 bytes
}

// Scan gives what Inspect does, and the segments to read from.
func ExampleScan() {
	dir, err := recovery.OpenDir("../segment/testdata/v1/truncated")
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()
	st, err := recovery.Scan(dir, dir.Path(), recovery.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	fmt.Printf("%s: %s\n", st.Label, st.Action)
	for _, seg := range st.Chain {
		for seq := max(seg.Link.Base, st.FirstLive); seq < seg.Next(); seq++ {
			p, err := seg.Read(seq, nil)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("segment %d: %d %s\n", seg.Ordinal, seq, p)
		}
	}
	// Output:
	// clean: resume
	// segment 1: 1 one
	// segment 1: 2 two
	// segment 1: 3 three
	// segment 1: 4 four
	// segment 2: 5 five again
}
