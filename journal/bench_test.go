package journal_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"mmjournal/journal"
	"mmjournal/segment"
)

// Segments of a size that the benchmarks roll rarely.
const benchSegment = 256 << 20

func benchOpen(b *testing.B, d journal.Durability) *journal.Journal {
	b.Helper()
	j, err := journal.Open(b.TempDir(), &journal.Options{SegmentSize: benchSegment, Durability: d})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := j.Append(nil); err != nil { // waits for the first segment
		b.Fatal(err)
	}
	return j
}

// benchReset drops everything when so many bytes have been appended that memory might get scarce.
func benchReset(b *testing.B, j *journal.Journal, appended *int64, size int) {
	if *appended += journal.FrameSize(size); *appended < benchSegment*9/10 {
		return
	}
	*appended = 0
	b.StopTimer()
	if err := j.Reset(1); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 128, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j := benchOpen(b, journal.Published)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			appended := int64(0)
			for b.Loop() {
				if _, err := j.Append(p); err != nil {
					b.Fatal(err)
				}
				benchReset(b, j, &appended, size)
			}
		})
	}
}

func BenchmarkAppendFunc(b *testing.B) {
	for _, size := range []int{16, 128, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j := benchOpen(b, journal.Published)
			p := make([]byte, size)
			encode := func(dst []byte) error { copy(dst, p); return nil }
			b.SetBytes(int64(size))
			appended := int64(0)
			for b.Loop() {
				if _, err := j.AppendFunc(size, encode); err != nil {
					b.Fatal(err)
				}
				benchReset(b, j, &appended, size)
			}
		})
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	benchParallel(b, (*journal.Journal).Append)
}

// BenchmarkAppendFuncParallel has function and checksum under the lock, where Append has a copy.
func BenchmarkAppendFuncParallel(b *testing.B) {
	benchParallel(b, func(j *journal.Journal, p []byte) (journal.Seq, error) {
		return j.AppendFunc(len(p), func(dst []byte) error { copy(dst, p); return nil })
	})
}

func benchParallel(b *testing.B, add func(*journal.Journal, []byte) (journal.Seq, error)) {
	for _, size := range []int{128, 16 << 10} {
		for _, goroutines := range []int{2, 16, 64} {
			b.Run(fmt.Sprintf("%d/%d", size, goroutines), func(b *testing.B) {
				j := benchOpen(b, journal.Published)
				b.SetBytes(int64(size))
				b.SetParallelism((goroutines + 1) / 2)
				if _, err := add(j, nil); err != nil { // which waits for a segment
					b.Fatal(err)
				}
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, size)
					for pb.Next() {
						if _, err := add(j, p); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

func BenchmarkAppendSynced(b *testing.B) {
	for _, goroutines := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			j := benchOpen(b, journal.Synced)
			syncs := j.Stats().Syncs
			b.SetBytes(128)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, goroutines)
			b.ResetTimer()
			for range goroutines {
				go func() {
					p := make([]byte, 128)
					for left.Add(-1) >= 0 {
						if _, err := j.Append(p); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range goroutines {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(j.Stats().Syncs-syncs)/float64(b.N), "syncs/op")
		})
	}
}

func BenchmarkAppendBatchSynced(b *testing.B) {
	j := benchOpen(b, journal.Published)
	batch := make([][]byte, 100)
	for i := range batch {
		batch[i] = make([]byte, 128)
	}
	b.SetBytes(100 * 128)
	appended := int64(0)
	for b.Loop() {
		if _, err := j.AppendBatch(batch); err != nil {
			b.Fatal(err)
		}
		if err := j.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
		benchReset(b, j, &appended, 100*128)
	}
}

// benchFill returns a journal of records of a size, about 64 MiB in all.
func benchFill(b *testing.B, size int) (*journal.Journal, segment.Seq) {
	j := benchOpen(b, journal.Published)
	p := make([]byte, size)
	n := (64 << 20) / journal.FrameSize(size)
	for range n {
		if _, err := j.Append(p); err != nil {
			b.Fatal(err)
		}
	}
	return j, segment.Seq(n)
}

func BenchmarkRecords(b *testing.B) {
	for _, size := range []int{16, 128, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j, _ := benchFill(b, size)
			b.SetBytes(int64(size))
			benchRecords(b, j)
		})
	}
}

// benchRecords reads records in order, from the first one on again and again.
func benchRecords(b *testing.B, j *journal.Journal) {
	b.ResetTimer()
	for i := 0; i < b.N; {
		for _, err := range j.Records(1) {
			if err != nil {
				b.Fatal(err)
			}
			if i++; i >= b.N {
				break
			}
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{16, 128, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j, n := benchFill(b, size)
			b.SetBytes(int64(size))
			buf := make([]byte, 0, size)
			x := uint64(1)
			for b.Loop() {
				x = x*6364136223846793005 + 1442695040888963407
				seq := journal.Seq(x>>33)%n + 1
				if _, err := j.Read(seq, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecordsSynced reads records in order that were synced one by one: each has a mark behind
// it.
func BenchmarkRecordsSynced(b *testing.B) {
	for _, n := range []int{16, 128, 1024} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			j, err := journal.OpenFS(segment.NewMemFS(), "x", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			for range 20_000 {
				if _, err := j.Append(make([]byte, n)); err != nil {
					b.Fatal(err)
				}
			}
			benchRecords(b, j)
		})
	}
}
