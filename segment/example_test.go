package segment_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"mmjournal/segment"
)

// A segment is prepared, linked, written and closed; then its file is opened and scanned, as after
// a crash. Most programs use package journal instead, which does all this.
func Example() {
	dir, err := os.MkdirTemp("", "segment")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	d, err := segment.OpenDir(dir, segment.DirOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	id := segment.NewIdentity(segment.NewID(), 1, 64<<10, time.Now())
	seg, err := segment.Prepare(d, dir, id, segment.Zeros{Chunk: 4096})
	if err != nil {
		log.Fatal(err)
	}
	w, err := segment.NewWriter(seg, segment.Link{
		Base: 1, FirstLive: 1, Time: time.Now(), Reason: segment.ReasonStart,
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range []string{"hello", "world"} {
		if !w.Fits(segment.FrameSize(int64(len(p))), false) {
			log.Fatal("the segment is full")
		}
		if err := w.Append([]byte(p), segment.Checksum([]byte(p))); err != nil {
			log.Fatal(err)
		}
	}
	// Sync, mark, sync: closed cleanly.
	if err := seg.Sync(); err != nil {
		log.Fatal(err)
	}
	if _, err := w.Mark(segment.Mark{FirstLive: 1, Time: time.Now(), Clean: true}); err != nil {
		log.Fatal(err)
	}
	if err := seg.Sync(); err != nil {
		log.Fatal(err)
	}
	if err := seg.Drop(); err != nil {
		log.Fatal(err)
	}

	path := filepath.Join(dir, segment.FileName(1))
	seg, err = segment.Open(d, path, segment.ReadOnly)
	if err != nil {
		log.Fatal(err)
	}
	defer seg.Drop()
	scan, err := seg.Scan(0)
	if err != nil {
		log.Fatal(err)
	}
	seg.Adopt(scan)
	fmt.Printf("%d records, closed cleanly: %v\n", scan.Records, scan.Clean)
	for seq := scan.Link.Base; seq < scan.Next; seq++ {
		p, err := seg.Read(seq, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", seq, p)
	}
	// Output:
	// 2 records, closed cleanly: true
	// 1 hello
	// 2 world
}

func ExampleMaxRecord() {
	for _, size := range []int64{64 << 10, segment.DefaultSize} {
		fmt.Printf("a segment of %d bytes holds a record of %d bytes\n", size, segment.MaxRecord(size))
	}
	// Output:
	// a segment of 65536 bytes holds a record of 60920 bytes
	// a segment of 67108864 bytes holds a record of 66842360 bytes
}

func ExampleCorruptError() {
	err := error(&segment.CorruptError{
		Path: "journal/0000000000000007.seg", Segment: 7, Offset: 4208, Seq: 1000,
		Err: segment.ErrChecksum,
	})
	fmt.Println(err)
	// Output:
	// journal/0000000000000007.seg: corrupt at offset 4208 (from seq 1000 on): bad checksum
}
