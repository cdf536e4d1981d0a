//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package segment

import "os"

func setTime(*os.File) error { return errUnsupported("futimes") }
