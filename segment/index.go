package segment

import (
	"fmt"
	"math"
	"sort"
	"sync/atomic"
)

// indexItem leads to the first record that starts in a page of the file.
type indexItem struct {
	delta uint32 // seq − base seq
	at    uint32 // frame offset / 8
	time  int64  // of the latest link or mark before the record, Unix nanoseconds
}

func (e indexItem) offset() Offset { return Offset(e.at) * 8 }

// index is a segment's sparse index (FORMAT.md §5). One goroutine adds; any number search.
type index struct {
	// items is replaced by a longer copy when it is full; n says how many are there. The adder
	// stores an item before n, so a searcher that loads n first sees whole items.
	items atomic.Pointer[[]indexItem]
	n     atomic.Int64
	page  Offset // of the last item; the adder's own
}

// add records that the record base+delta starts at off, unless its page has an item already.
func (x *index) add(delta Seq, off Offset, time int64) {
	page := off / pageSize
	if page == x.page {
		return
	}
	x.page = page
	n := x.n.Load()
	items := x.items.Load()
	if items == nil || int(n) == len(*items) {
		items = x.grow(items)
	}
	(*items)[n] = indexItem{uint32(delta), uint32(off / 8), time}
	x.n.Store(n + 1)
}

func (x *index) grow(old *[]indexItem) *[]indexItem {
	size := 256
	if old != nil {
		size = 2 * len(*old)
	}
	items := make([]indexItem, size)
	if old != nil {
		copy(items, *old)
	}
	x.items.Store(&items)
	return &items
}

// all returns the items there are; they do not change any more.
func (x *index) all() []indexItem {
	n := x.n.Load()
	if n == 0 {
		return nil
	}
	return (*x.items.Load())[:n]
}

// set replaces an empty index.
func (x *index) set(items []indexItem) {
	if len(items) > 0 {
		x.items.Store(&items)
		x.page = items[len(items)-1].offset() / pageSize
	}
	x.n.Store(int64(len(items)))
}

// find returns how many of the items lead to records up to base+delta; next is the record behind
// them all, less the base. If records are of one size, those items are where delta is among them:
// it looks there first.
func find(items []indexItem, delta, next Seq) int {
	lo, hi := 0, len(items)
	if delta < next && next <= math.MaxUint32+1 {
		const near = 2
		at := int(uint64(delta) * uint64(len(items)) / uint64(next))
		if i := at - near; i > 0 && Seq(items[i].delta) <= delta {
			lo = i
		}
		if i := at + near; i < len(items) && Seq(items[i].delta) > delta {
			hi = i
		}
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if Seq(items[mid].delta) > delta {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// floor returns where to start looking for the record base+delta, and the first record from there
// on, less the base. next is as for find.
func (x *index) floor(delta, next Seq) (at Offset, first Seq) {
	items := x.all()
	i := find(items, delta, next)
	if i == 0 {
		return FirstFrame, 0
	}
	return items[i-1].offset(), Seq(items[i-1].delta)
}

// above returns the offset of the first item that leads to a record above base+delta; 0: none does.
// next is as for find.
func (x *index) above(delta, next Seq) Offset {
	items := x.all()
	if i := find(items, delta, next); i < len(items) {
		return items[i].offset()
	}
	return 0
}

// guess returns where the record base+delta starts if those of its page are all of one size, as
// they often are, and there is nothing between them. It can be anywhere else.
func (x *index) guess(delta Seq, end Offset, next Seq) (at Offset, ok bool) {
	items := x.all()
	i := find(items, delta, next)
	if i == 0 {
		return 0, false
	}
	from, first := items[i-1].offset(), Seq(items[i-1].delta)
	if i < len(items) {
		end, next = items[i].offset(), Seq(items[i].delta)
	}
	size := uint64(end-from) / uint64(next-first)
	at = from + Offset(size*uint64(delta-first))
	return at, at%8 == 0
}

func encodeIndex(b []byte, items []indexItem) {
	for i, e := range items {
		p := b[i*indexEntry:]
		le.PutUint32(p[0:], e.delta)
		le.PutUint32(p[4:], e.at)
		le.PutUint64(p[8:], uint64(e.time))
	}
}

func indexCRC(b []byte, salt uint64) uint32 { return ^extend8(^Checksum(b), salt) }

// decodeIndex reads the index that a seal names and checks it: in bounds, checksum, ascending.
func decodeIndex(b []byte, s *Seal, salt uint64) ([]indexItem, error) {
	size := int64(s.IndexLen) * indexEntry
	if size > indexReserve(int64(len(b))) || int64(s.IndexAt)+size > int64(len(b)) {
		return nil, fmt.Errorf("%w: %d entries", ErrIndex, s.IndexLen)
	}
	raw := b[s.IndexAt : int64(s.IndexAt)+size]
	if indexCRC(raw, salt) != s.IndexCRC {
		return nil, fmt.Errorf("%w: %w", ErrIndex, ErrChecksum)
	}
	items := make([]indexItem, s.IndexLen)
	for i := range items {
		p := raw[i*indexEntry:]
		items[i] = indexItem{le.Uint32(p), le.Uint32(p[4:]), int64(le.Uint64(p[8:]))}
		at := items[i].offset()
		if at < LinkEnd || at >= s.IndexAt ||
			i > 0 && (items[i].delta <= items[i-1].delta || at <= items[i-1].offset()) {
			return nil, fmt.Errorf("%w: entry %d", ErrIndex, i)
		}
	}
	return items, nil
}

// before returns the offset of the last item that is not behind at.
func (x *index) before(at Offset) Offset {
	items := x.all()
	i := sort.Search(len(items), func(i int) bool { return items[i].offset() > at })
	if i == 0 {
		return FirstFrame
	}
	return items[i-1].offset()
}
