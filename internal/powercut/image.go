package powercut

import (
	"bytes"
	"io"
	"maps"
	"os"
)

const (
	sectorSize = 512
	blockSize  = 4096
)

type block = [blockSize]byte

// Image is what a disk holds: blocks that are not zero, by their number. Blocks are shared between
// images and never changed.
type Image struct {
	size   int64
	blocks map[int64]*block
}

var zeroBlock block

// loadImage reads an image from a file.
func loadImage(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img := &Image{blocks: map[int64]*block{}}
	for n := int64(0); ; n++ {
		b := new(block)
		if _, err := io.ReadFull(f, b[:]); err == io.EOF {
			img.size = n * blockSize
			return img, nil
		} else if err != nil {
			return nil, err
		}
		if !bytes.Equal(b[:], zeroBlock[:]) {
			img.blocks[n] = b
		}
	}
}

// save writes an image into a new file, with holes where it is zero.
func (i *Image) save(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(i.size); err != nil {
		return err
	}
	for n, b := range i.blocks {
		if _, err := f.WriteAt(b[:], n*blockSize); err != nil {
			return err
		}
	}
	return f.Close()
}

// editor changes a copy of an image.
type editor struct {
	img *Image
	own map[int64]bool // blocks that no other image has
}

func edit(i *Image) *editor {
	return &editor{&Image{i.size, maps.Clone(i.blocks)}, map[int64]bool{}}
}

// write puts bytes into the image.
func (e *editor) write(off int64, data []byte) {
	for len(data) > 0 {
		n, at := off/blockSize, off%blockSize
		if !e.own[n] {
			b := new(block)
			if old := e.img.blocks[n]; old != nil {
				*b = *old
			}
			e.img.blocks[n] = b
			e.own[n] = true
		}
		k := copy(e.img.blocks[n][at:], data)
		off, data = off+int64(k), data[k:]
	}
}

// read returns a copy of n bytes, which lie in one block.
func (e *editor) read(off int64, n int) []byte {
	b := make([]byte, n)
	if old := e.img.blocks[off/blockSize]; old != nil {
		copy(b, old[off%blockSize:])
	}
	return b
}
