//go:build !linux && !darwin

package segment

import (
	"math"
	"os"
)

func fullsync(f *os.File) error { return f.Sync() }

func datasync(f *os.File) error { return f.Sync() }

func datasyncRange(f *os.File, _ *Mapping, _, _ Offset) error { return datasync(f) }

func syncDir(d *os.File) error { return d.Sync() }

func allocate(*os.File, int64) error { return errUnsupported("fallocate") }

func nextData(_ *os.File, off int64) (from, to int64) { return off, math.MaxInt64 }

func writeSync(*os.File, []byte, int64) (done bool, err error) { return false, nil }
