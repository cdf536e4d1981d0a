//go:build linux

package powercut

import (
	"math/rand/v2"
	"testing"
)

// TestRigCanFail: a rig that finds nothing in a journal that is wrong proves nothing.
func TestRigCanFail(t *testing.T) {
	t.Run("a disk that ignores flush", func(t *testing.T) {
		canFail(t, true, inOrder, func(s *session, seed uint64) Workload {
			return s.life(1, seed, 4, 8)
		})
	})
	t.Run("acknowledged before the sync", func(t *testing.T) {
		canFail(t, false, anySubset, func(s *session, seed uint64) Workload {
			w := s.life(1, seed, 4, 8)
			w.Early = true
			return w
		})
	})
	t.Run("shown at open and not durable", showsTooMuch)
}

// showsTooMuch: after a failed write the page cache has records that the disk has not. Whoever
// shows them without a sync that is known to have worked loses them.
func showsTooMuch(t *testing.T) {
	rig := newRig(t, kind("ext4"))
	var y errorTally
	found := 0
	const runs = 15
	for seed := range uint64(runs) {
		r := newRand(seed, 5)
		f := fault{Kind: WriteEntry, After: 10 + r.IntN(50), Sticky: true}
		log, err := rig.recordErrors(rig.empty, f, seed, false, func(w *Workload) { w.Peek = true })
		if err != nil {
			t.Fatal(err)
		}
		y.note(log, newModel())
		m, err := newModel().replay(log)
		if err != nil {
			t.Log(err)
			found++
			continue
		}
		img, pending := crash(rig.empty, log, len(log), rig.kind, anySubset, r)
		records, err := rig.checkImage(img, m, r)
		if err = y.count(pending, records, err); err != nil {
			found++
			t.Log(err)
		}
	}
	t.Logf("%d of %d runs show the loss: %v", found, runs, &y)
	if found*4 < y.more || y.more == 0 {
		t.Errorf("only %d of %d runs show that records in the cache are lost", found, y.more)
	}
}

// afterAck draws a place in the last three quarters of the log, behind an acknowledgement.
func afterAck(log []Entry, r *rand.Rand) int {
	var acks []int
	for i, e := range log {
		if i > len(log)/4 && e.Kind == MarkEntry && e.Mark.Kind == Acked {
			acks = append(acks, i+1)
		}
	}
	if len(acks) == 0 {
		return len(log)
	}
	return acks[r.IntN(len(acks))]
}

// canFail expects acknowledged records to be lost in more than half of the images.
func canFail(
	t *testing.T, ignoreFlush bool, draw drawing, life func(*session, uint64) Workload,
) {
	rig := newRig(t, kind("ext4"))
	const recordings, images = 4, 5
	found, total := 0, 0
	for seed := range uint64(recordings) {
		log, err := rig.record(rig.empty, ignoreFlush, func(s *session) []Workload {
			return []Workload{life(s, seed)}
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newRand(seed, 3)
		for range images {
			p := afterAck(log, r)
			m, err := newModel().replay(log[:p])
			if err != nil {
				t.Fatal(err)
			}
			img, _ := crash(rig.empty, log, p, rig.kind, draw, r)
			_, err = rig.checkImage(img, m, r)
			total++
			if err != nil {
				found++
				t.Log(err)
			}
		}
	}
	t.Logf("%d of %d images show the loss", found, total)
	if found*2 <= total {
		t.Errorf("only %d of %d images show that acknowledged records are lost", found, total)
	}
}
