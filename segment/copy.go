package segment

// copyFramesPortable is copyFrames for every processor. It copies many frames, whole ones where
// they are of one size, and checks the copy then.
func copyFramesPortable(dst, src []byte, at Offset, seq Seq, salt uint64) (n int, next Seq) {
	room := min(len(dst), len(src))
	for f := dst[:0]; ; seq++ {
		if len(f) < HeaderSize || sizeOf(f) > uint64(len(f)) {
			if room-n < HeaderSize {
				return n, seq
			}
			size := sizeOf(src[n:])
			if size < HeaderSize || size > uint64(room-n) {
				return n, seq
			}
			f = dst[n : room-(room-n)%int(size)]
			copy(f, src[n:])
		}
		first, second := le.Uint64(f), le.Uint64(f[8:])
		length := uint64(uint32(first))
		size := pad8(length)
		if length < HeaderSize || size > uint64(len(f)) ||
			second>>8 != uint64(seq) || !Kind(second).IsRecord() || !padded(f, length) ||
			frameChecksum(f[HeaderSize:length], salt, at+Offset(n), uint32(length), second) !=
				uint32(first>>32) {
			return n, seq
		}
		f = f[size:]
		n += int(size)
	}
}

// sizeOf returns the size of the frame at the beginning of f, if it is one.
func sizeOf(f []byte) uint64 { return pad8(uint64(le.Uint32(f))) }
