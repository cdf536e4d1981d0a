package journal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"mmjournal/journal"
)

// image is what a journal holds: records with the seqs first, first+1, …
type image struct {
	first journal.Seq
	recs  [][]byte // shared between images; never changed
}

func (m image) next() journal.Seq { return m.first + journal.Seq(len(m.recs)) }

func (m image) equal(o image) bool {
	return m.first == o.first && slices.EqualFunc(m.recs, o.recs, bytes.Equal)
}

// begins reports whether o holds the same, or the same and more.
func (m image) begins(o image) bool {
	n := len(m.recs)
	return m.first == o.first && n <= len(o.recs) && m.equal(image{o.first, o.recs[:n]})
}

// with returns the image with more records.
func (m image) with(p ...[]byte) image {
	return image{m.first, append(slices.Clip(m.recs), p...)}
}

func (m image) truncateBack(last journal.Seq) image {
	return image{m.first, m.recs[:last+1-m.first]}
}

func (m image) truncateFront(first journal.Seq) image {
	return image{first, m.recs[first-m.first:]}
}

// get returns the record with that seq, or false.
func (m image) get(seq journal.Seq) ([]byte, bool) {
	if seq < m.first || seq >= m.next() {
		return nil, false
	}
	return m.recs[seq-m.first], true
}

func (m image) String() string {
	return fmt.Sprintf("seqs %d to %d", m.first, int64(m.next())-1)
}

// oracle knows what a journal must hold after a crash: one of the images that operations were to
// bring about, none older than the newest that was promised.
type oracle struct {
	life    int     // counts opens; in every payload
	serial  int     // counts records of this life
	created bool    // an open has returned: there must be a journal
	images  []image // what each operation begun was to bring about, in order
	// Indices in images of the newest one that is promised to survive a power cut, and of the
	// newest that is promised to be there at the next open, if there is no power cut before it.
	durable, published int
}

func newOracle() *oracle { return &oracle{images: []image{{first: 1}}} }

func (o *oracle) now() image { return o.images[len(o.images)-1] }

// begin notes that an operation starts that makes the journal hold m.
func (o *oracle) begin(m image) { o.images = append(slices.Clip(o.images), m) }

// promise notes that what was begun has been acknowledged.
func (o *oracle) promise(durable bool) {
	o.published = len(o.images) - 1
	if durable {
		o.durable = o.published
	}
}

// watermark notes that everything up to seq is said to be durable.
func (o *oracle) watermark(seq journal.Seq) {
	for i := o.published; i > o.durable; i-- {
		if o.images[i].next() <= seq+1 {
			o.durable = i
		}
	}
}

// version differs when what is promised or begun differs.
func (o *oracle) version() uint64 {
	v := uint64(o.life)<<32 | uint64(len(o.images))<<16 | uint64(o.durable)<<8 | uint64(o.published)
	if o.created {
		v |= 1 << 63
	}
	return v
}

// afterCrash returns the oracle for what a power cut has left now: only what was durable is still
// promised. After the end of the process the oracle stays as it is.
func (o *oracle) afterCrash() *oracle {
	c := *o
	c.published = c.durable
	return &c
}

// adopt starts a new life from what an open has shown: all of that is a promise now.
func (o *oracle) adopt(got image) {
	*o = oracle{life: o.life + 1, created: true, images: []image{got}}
}

// payload returns the next record's payload, n bytes that say which life they are of.
func (o *oracle) payload(n int) []byte {
	o.serial++
	b := make([]byte, max(n, 24)+8)
	binary.LittleEndian.PutUint32(b, uint32(o.life))
	binary.LittleEndian.PutUint32(b[4:], uint32(o.serial))
	binary.LittleEndian.PutUint32(b[8:], uint32(n))
	x := uint64(o.life)<<32 | uint64(o.serial)
	for i := 12; i+8 <= len(b); i += 8 {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], x^x>>29)
	}
	return b[:n:n]
}

// describe says whose payload p is.
func (o *oracle) describe(p []byte) (life int, text string) {
	if len(p) >= 12 {
		life = int(binary.LittleEndian.Uint32(p))
		serial := int(binary.LittleEndian.Uint32(p[4:]))
		if was := (&oracle{life: life, serial: serial - 1}).payload(len(p)); bytes.Equal(was, p) {
			return life, fmt.Sprintf("record %d of life %d", serial, life)
		}
	}
	return -1, fmt.Sprintf("%d bytes %x…", len(p), p[:min(len(p), 16)])
}

// judge returns "" if a journal may hold got after a crash, else which invariant is broken and how.
func (o *oracle) judge(got image) string {
	allowed := o.images[o.published:]
	if slices.ContainsFunc(allowed, got.equal) {
		return ""
	}
	promised := allowed[0]
	for i, p := range got.recs {
		seq := got.first + journal.Seq(i)
		if o.begun(seq, p) {
			continue
		}
		life, text := o.describe(p)
		name := "I2: never begun"
		if want, ok := promised.get(seq); ok {
			name = "I1: acknowledged record differs"
			_, other := o.describe(want)
			text += " instead of " + other
		} else if life >= 0 {
			name = "I3: dead record comes back"
		}
		return fmt.Sprintf("%s: seq %d is %s", name, seq, text)
	}
	all := ""
	for _, m := range allowed {
		all += fmt.Sprintf(" [%v]", m)
	}
	name := "I2: no state that was begun"
	if got.next() < promised.next() && len(got.recs) < len(promised.recs) {
		name = "I1: acknowledged records are lost"
	} else if got.first == o.now().first && got.next() < o.now().next() {
		name = "I4: part of a batch, or I2"
	}
	return fmt.Sprintf("%s: recovered %v, allowed%s", name, got, all)
}

// begun reports whether an allowed image has p at seq.
func (o *oracle) begun(seq journal.Seq, p []byte) bool {
	return slices.ContainsFunc(o.images[o.published:], func(m image) bool {
		q, ok := m.get(seq)
		return ok && bytes.Equal(p, q)
	})
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
