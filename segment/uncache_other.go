//go:build !linux

package segment

import "os"

func uncache(*os.File) {}
