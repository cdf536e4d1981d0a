//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package journal

import (
	"errors"
	"fmt"
	"io"
)

func lock(string) (io.Closer, error) {
	return nil, fmt.Errorf("file locks on this system: %w", errors.ErrUnsupported)
}
