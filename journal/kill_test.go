package journal_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mmjournal/internal/testutil/torture"
	"mmjournal/journal"
)

// The kill test: a process with eight appending goroutines is killed with SIGKILL after a random
// number of acknowledged records, which it has reported through a pipe; the next one goes on in
// the same journal.

const (
	killEnv     = "MMJOURNAL_TEST_KILL" // the child's killArgs
	killWriters = 8
	killBatch   = 3 // records per batch; the last writer appends batches
)

// killPayload is a record of a random size.
func killPayload(r *rand.Rand, who author, n uint64) []byte {
	size := smallestPayload + r.IntN(200)
	if r.IntN(8) == 0 {
		size += r.IntN(8000)
	}
	return signPayload(r, size, who, n)
}

// killArgs is what the child is to do.
type killArgs struct {
	dir        string
	durability journal.Durability
	segment    int64
	life       uint32
	seed       uint64
}

func (a killArgs) String() string {
	return fmt.Sprintf("%d,%d,%d,%d,%s", a.durability, a.segment, a.life, a.seed, a.dir)
}

func parseKillArgs(s string) (a killArgs, err error) {
	f := strings.SplitN(s, ",", 5)
	if len(f) != 5 {
		return a, fmt.Errorf("malformed %s=%q", killEnv, s)
	}
	var n [4]int64
	for i := range n {
		var bad error
		n[i], bad = strconv.ParseInt(f[i], 10, 64)
		err = errors.Join(err, bad)
	}
	return killArgs{f[4], journal.Durability(n[0]), n[1], uint32(n[2]), uint64(n[3])}, err
}

// killChild appends until it is killed, or the parent does not listen any more.
func killChild(args string) int {
	a, err := parseKillArgs(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	reports := os.NewFile(3, "reports")
	j, err := journal.Open(a.dir, journal.Applicable(journal.Options{
		Spares: 2, SegmentSize: a.segment, Durability: a.durability,
	}))
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 3
	}
	var wg sync.WaitGroup
	for writer := range uint32(killWriters) {
		wg.Go(func() { killWriter(j, a, writer, reports) })
	}
	wg.Go(func() { killReader(a, j) })
	wg.Go(func() { killReader(a, nil) })
	wg.Wait()
	return 4
}

// killWriter appends and reports.
func killWriter(j *journal.Journal, a killArgs, writer uint32, reports io.Writer) {
	r := rand.New(rand.NewPCG(a.seed, uint64(writer)))
	who, k := author{a.life, writer}, 1
	if writer == killWriters-1 {
		k = killBatch
	}
	for n := uint64(0); ; n += uint64(k) {
		payloads := make([][]byte, k)
		for i := range payloads {
			payloads[i] = killPayload(r, who, n+uint64(i))
		}
		seq, err := killAppend(j, payloads, writer, n)
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(5)
		}
		for i, p := range payloads {
			ack := report{acknowledged, who, n + uint64(i), seq + journal.Seq(i), payloadSum(p)}
			if _, err := reports.Write(ack.encode()); err != nil {
				os.Exit(6)
			}
		}
	}
}

// killReader reads the newest records while they are appended: in the writer's journal, or, if that
// is nil, in one that is opened beside it again and again.
func killReader(a killArgs, own *journal.Journal) {
	for from := journal.Seq(0); ; {
		j, err := own, error(nil)
		if own == nil {
			j, err = journal.OpenReadOnly(a.dir, nil)
		}
		if errors.Is(err, journal.ErrNotExist) || errors.Is(err, journal.ErrMoving) {
			continue
		}
		if err == nil {
			err = killRead(j, from)
			from = j.First()
			if last := j.Last(); last > from+100 {
				from = last - 100
			}
		}
		if own == nil && err == nil {
			err = j.Close()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "child: I1: reading beside the writers: %v\n", err)
			os.Exit(7)
		}
	}
}

func killRead(j *journal.Journal, from journal.Seq) error {
	for rec, err := range j.Records(from) {
		if err == nil {
			_, _, err = parsePayload(rec.Payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func killAppend(
	j *journal.Journal, payloads [][]byte, writer uint32, n uint64,
) (journal.Seq, error) {
	switch {
	case len(payloads) > 1:
		return j.AppendBatch(payloads)
	case writer == 1 && n%2 == 0:
		return j.AppendFunc(len(payloads[0]), func(dst []byte) error {
			copy(dst, payloads[0])
			return nil
		})
	}
	return j.Append(payloads[0])
}

// killed is what the parent knows about a journal.
type killed struct {
	args  killArgs
	first journal.Seq
	acked map[journal.Seq]report
	count map[author]uint64 // reported records
}

// kill runs a child and kills it when it has reported that many records. What it has managed to
// report by then counts.
func (k *killed) kill(t *testing.T, after int) {
	t.Helper()
	c, err := startChild(killEnv + "=" + k.args.String())
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if n == after {
			c.kill()
		}
		report, err := c.next()
		if err != nil {
			break
		}
		k.acked[report.seq] = report
		k.count[report.author]++
	}
	if status := c.end(); status != killedStatus {
		t.Fatalf("child ended with %s: %s", status, &c.stderr)
	}
}

// check holds the journal against the reports: every reported record is there, nothing twice,
// nothing that was not appended, each writer's records in order, batches whole.
func (k *killed) check(j *journal.Journal) error {
	if j.First() != k.first {
		return fmt.Errorf("first is %d, want %d", j.First(), k.first)
	}
	next := map[author]uint64{}
	want := k.first
	found := 0
	for rec, err := range j.Records(k.first) {
		if err != nil {
			return err
		}
		if rec.Seq != want {
			return fmt.Errorf("I2: seq %d, want %d", rec.Seq, want)
		}
		want++
		who, n, err := parsePayload(rec.Payload)
		if err != nil {
			return fmt.Errorf("I2: seq %d: %w", rec.Seq, err)
		}
		if want, ok := next[who]; ok && want != n || !ok && n != 0 && k.first == 1 {
			return fmt.Errorf("I2: seq %d is record %d of writer %d in life %d, want record %d",
				rec.Seq, n, who.writer, who.life, want)
		}
		next[who] = n + 1
		if report, ok := k.acked[rec.Seq]; ok {
			found++
			if sum := payloadSum(rec.Payload); report.sum != sum || report.n != n {
				return fmt.Errorf("I1: seq %d is record %d of %+v, but %+v was acknowledged",
					rec.Seq, n, who, report)
			}
		}
	}
	if found != len(k.acked) {
		return fmt.Errorf("I1: %d of %d acknowledged records are there, up to seq %d",
			found, len(k.acked), want-1)
	}
	return k.checkUnreported(next)
}

// checkUnreported: of each writer, at most one append can have returned, or have been about to,
// without a report; and batches are whole.
func (k *killed) checkUnreported(next map[author]uint64) error {
	for who, n := range next {
		most := k.count[who] + 1
		if who.writer == killWriters-1 {
			most = k.count[who] + killBatch
			if n%killBatch != 0 {
				return fmt.Errorf("I4: life %d ends with %d records of a batch", who.life, n%killBatch)
			}
		}
		if n > most {
			return fmt.Errorf("I2: writer %d in life %d has appended %d records, but reported %d",
				who.writer, who.life, n, k.count[who])
		}
	}
	return nil
}

// truncate drops the older half of the records.
func (k *killed) truncate(j *journal.Journal) error {
	k.first = j.First() + (j.Last()+1-j.First())/2
	for seq := range k.acked {
		if seq < k.first {
			delete(k.acked, seq)
		}
	}
	return j.TruncateFront(k.first)
}

func TestKill(t *testing.T) {
	const kills = 10 // of each journal
	records := 0
	c := torture.Start(t, "ten kills -9 in a row under 8 writers", torture.Count(2, 3, 10))
	for c.Next() {
		n := c.Seed()
		r := newRand(n)
		k := &killed{
			args: killArgs{
				dir: t.TempDir(), durability: journal.Durability(n % 2),
				segment: 64 << 10 << r.IntN(5), seed: n,
			},
			first: 1, acked: map[journal.Seq]report{}, count: map[author]uint64{},
		}
		for life := range kills {
			k.args.life = uint32(life)
			k.args.seed = n*1000 + uint64(life)
			after := r.IntN([]int{3, 50, 1000, 3000}[r.IntN(4)])
			k.kill(t, after)
			if err := k.reopen(life); err != nil {
				c.Violation("%+v, life %d, killed after %d: %v", k.args, life, after, err)
				break
			}
		}
		for _, c := range k.count {
			records += int(c)
		}
		if err := os.RemoveAll(k.args.dir); err != nil {
			t.Error(err)
		}
	}
	c.Note("%d kills, %d records acknowledged", c.Runs()*kills, records)
}

// reopen checks what a kill has left: opened for reading only, so that the next child recovers it,
// or for writing.
func (k *killed) reopen(life int) error {
	ro, err := journal.OpenReadOnly(k.args.dir, nil)
	if err != nil {
		if len(k.acked) == 0 && errors.Is(err, journal.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("I15: read-only: %w", err)
	}
	if err := errors.Join(k.check(ro), ro.Close()); err != nil || life%2 == 0 {
		return err
	}
	o := &journal.Options{SegmentSize: k.args.segment, VerifyOnOpen: true}
	j, err := journal.Open(k.args.dir, o)
	if err != nil {
		return fmt.Errorf("I15: %w", err)
	}
	err = k.check(j)
	if err == nil && life%4 == 3 {
		err = k.truncate(j)
	}
	return errors.Join(err, j.Close())
}
