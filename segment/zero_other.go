//go:build !linux

package segment

import "os"

func zeroRange(*os.File, int64, int64) (done bool) { return false }
