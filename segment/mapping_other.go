//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package segment

import (
	"errors"
	"fmt"
	"os"
)

var errNoMmap = fmt.Errorf("mmap on this system: %w", errors.ErrUnsupported)

func mapFile(*os.File, int64, OpenMode) (*Mapping, error) { return nil, errNoMmap }

func mapAnonymous(size int64) (*Mapping, error) { return mapHeap(size) }
