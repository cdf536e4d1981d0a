package recovery

import (
	"fmt"
	"testing"
)

// BenchmarkScan scans a journal of 200 segments in memory, all but the last two claimed: as Open
// does, which trusts claims, and as verifying does.
func BenchmarkScan(b *testing.B) {
	d := newDir(b).start()
	for range 200 {
		d.append(20).sync().roll()
	}
	d.append(20).done()
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprintf("full=%v", full), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				st, err := Scan(d.fsys, testDir, Options{Full: full})
				if err != nil {
					b.Fatal(err)
				}
				if len(st.Chain) != 201 || st.Err != nil {
					b.Fatal(len(st.Chain), st.Err)
				}
				st.Close()
			}
		})
	}
}
