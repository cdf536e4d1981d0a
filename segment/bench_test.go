package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

const benchSize = 64 << 20

// benchPlaces are where the benchmarks' segments lie: a real mapped file, with the folios of a
// journal that syncs each record, and the heap.
var benchPlaces = []struct {
	name string
	open func(b *testing.B) *Segment
}{
	{"file", func(b *testing.B) *Segment {
		b.Helper()
		s, err := Prepare(OS, b.TempDir(), benchIdentity(), Zeros{Chunk: 16 << 10})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Drop() })
		return s
	}},
	{"heap", func(b *testing.B) *Segment {
		b.Helper()
		return heapSegment(b, benchIdentity(), nil)
	}},
}

func benchIdentity() Identity {
	id := testIdentity(1)
	id.Size = benchSize
	return id
}

var benchPayloads = []int{16, 128, 1024, 16384}

func benchWriter(b *testing.B, s *Segment) *Writer {
	b.Helper()
	w, err := NewWriter(s, startLink(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// benchFill fills a segment with records of n bytes.
func benchFill(b *testing.B, s *Segment, n int) *Writer {
	b.Helper()
	w := benchWriter(b, s)
	p := make([]byte, n)
	for crc := Checksum(p); w.Fits(FrameSize(int64(n)), false); {
		if err := w.Append(p, crc); err != nil {
			b.Fatal(err)
		}
	}
	return w
}

// BenchmarkAppend is checksum, copy and publication; a full segment is begun anew, over the same
// memory.
func BenchmarkAppend(b *testing.B) {
	for _, place := range benchPlaces {
		for _, n := range benchPayloads {
			b.Run(fmt.Sprintf("%s/%d", place.name, n), func(b *testing.B) {
				s := place.open(b)
				w := benchFill(b, s, n) // so that no page is touched for the first time
				p := make([]byte, n)
				frame := FrameSize(int64(n))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if !w.Fits(frame, false) {
						s.index = index{}
						w = benchWriter(b, s)
					}
					if err := w.Append(p, Checksum(p)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRead copies and checks records, one after the other and at random.
func BenchmarkRead(b *testing.B) {
	for _, place := range benchPlaces {
		for _, n := range benchPayloads {
			s := place.open(b)
			last := benchFill(b, s, n).Next() - 1
			buf := make([]byte, 0, n)
			b.Run(fmt.Sprintf("sequential/%s/%d", place.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				var r Reader
				for seq := last + 1; b.Loop(); seq++ {
					if seq > last {
						seq = 1
						if err := r.Start(s, seq); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := r.Next(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("random/%s/%d", place.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				rnd := rand.New(rand.NewPCG(1, 1))
				for b.Loop() {
					var err error
					if buf, err = s.Read(1+Seq(rnd.Int64N(int64(last))), buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkScan reads all frames of a full segment, as recovery does.
func BenchmarkScan(b *testing.B) {
	for _, place := range benchPlaces {
		for _, n := range benchPayloads {
			b.Run(fmt.Sprintf("%s/%d", place.name, n), func(b *testing.B) {
				s := place.open(b)
				benchFill(b, s, n)
				b.SetBytes(benchSize)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Scan(0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkScanUnused looks for a byte in a prepared segment: in one that was zeroed, and in one
// that is a hole, if the file system tells.
func BenchmarkScanUnused(b *testing.B) {
	for name, zeroChunk := range map[string]int{"zeroed": 256 << 10, "unwritten": 0} {
		b.Run(name, func(b *testing.B) {
			s, err := Prepare(OS, b.TempDir(), benchIdentity(), Zeros{Chunk: zeroChunk})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Drop()
			b.SetBytes(benchSize)
			for b.Loop() {
				if sc, err := s.Scan(0); err != nil || !sc.Unused() {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBind turns a payload's checksum into its frame's.
func BenchmarkBind(b *testing.B) {
	crc := uint32(1)
	for b.Loop() {
		crc = bind(crc, testSalt, FirstFrame, 144, seqKind(1, KindRecord))
	}
	if crc == 0 {
		b.Log("zero")
	}
}
