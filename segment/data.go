package segment

// extent is the bytes from one offset up to another.
type extent struct{ from, to Offset }

// allOf is data of bytes of which nothing is known.
func allOf(b []byte) []extent { return []extent{{0, Offset(len(b))}} }

// mostExtents bounds what data returns: a file that is written front to back has few.
const mostExtents = 1000

// data returns the extents behind the identity that may hold bytes other than zero: as far as the
// file system tells; all, if the file is closed already or was cut short. To be called before any
// of them is read: reading a hole makes it a part of the page cache, and its neighbourhood too, at
// a millisecond or two for each MiB.
func (s *Segment) data() []extent {
	f, _ := s.opened()
	if f == nil {
		return allOf(s.m.b)
	}
	data := extents(f, int64(len(s.m.b)))
	if size, err := f.Size(); err != nil || size < s.Size {
		return allOf(s.m.b) // and a fault will say so
	}
	return data
}

// extents asks a file for its data behind the identity.
func extents(f File, size int64) (data []extent) {
	for off := int64(FirstFrame); off < size; {
		from, to := f.NextData(off)
		from, to = max(from&^7, off), (min(to, size)+7)&^7
		if from >= size {
			break
		}
		if to <= from || len(data) == mostExtents {
			to = size // an answer that makes no sense, or too many
		}
		data = append(data, extent{Offset(from), Offset(to)})
		off = to
	}
	return data
}
