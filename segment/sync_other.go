//go:build !linux && !darwin

package segment

import "os"

func fullsync(f *os.File) error { return f.Sync() }

func datasync(f *os.File) error { return f.Sync() }

func syncDir(d *os.File) error { return d.Sync() }

func allocate(*os.File, int64) error { return errUnsupported("fallocate") }
