package segment

import (
	"errors"
	"fmt"
	"path/filepath"
)

// A recycled segment is written over a file that was another one. That saves what a new file costs:
// to write it full of zeros first, or to have each sync note which blocks were written for the
// first time. Behind its frames are bytes of the earlier use. No checksum of those is right here,
// since all depend on the salt; but they look like anything, so the rest of the page in which the
// frames end is kept zero: a frame that is written starts at a zero word, as in a new file, and the
// end of an undamaged journal is one.
//
// A writer fills a recycled segment by system calls only, as one that has a stage fills any. A
// store through the mapping would read a page first, and make a large folio of the page cache dirty
// as a whole.

const (
	// recycledBlank is where the first page of frames ends, which is zero at first.
	recycledBlank = FirstFrame + pageSize
	// mostBlank is how many zeros follow a group at most.
	mostBlank = pageSize + 8
)

var blankPages [mostBlank]byte

// Recycle turns the file from, in dir, into the segment of an identity, and maps it. When Recycle
// returns, the file has reserved space and its identity, and is durable under its new name. The
// name from no longer exists. After an error the file is removed, as by Prepare. The file must no
// longer be a segment of the journal, even after a power cut.
//
// Recycle reserves the space because the file may have holes, or share blocks with another file, if
// a copy restored it. If the file system cannot reserve space, the error matches
// errors.ErrUnsupported: there, only a new file that is filled with zeros has its space.
//
// ErrInUse: the file is open or mapped elsewhere, has a second name, or has the wrong size.
func Recycle(fsys FS, dir, from string, id Identity) (*Segment, error) {
	id.Recycled = true
	path := filepath.Join(dir, FileName(id.Ordinal))
	fail := func(name string, err error) (*Segment, error) {
		return nil, fmt.Errorf("recycle %s as %s: %w", from, path,
			errors.Join(err, fsys.Remove(name)))
	}
	if err := writeIdentityOver(fsys, from, &id); err != nil {
		return fail(from, err)
	}
	if err := fsys.Rename(from, path); err != nil {
		return fail(from, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fail(path, Unnamed(err))
	}
	s, err := Open(fsys, path, ReadWrite)
	if err != nil {
		return fail(path, err)
	}
	return s, nil
}

// ErrInUse: a file cannot be written over, because it is in use, has a second name, or has the
// wrong size.
var ErrInUse = errors.New("file is in use, or not what it was")

func writeIdentityOver(fsys FS, path string, id *Identity) error {
	f, err := fsys.Open(path, ReadWrite)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil && (size != id.Size || !f.Sole()) {
		err = ErrInUse
	}
	if err == nil {
		err = f.Allocate(id.Size)
	}
	if err == nil {
		f.Uncache() // the folios of a small group's zeros would cost a large one twice the time
		_, err = f.WriteAt(append(id.Encode(), blankPages[:pageSize]...), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
