//go:build !linux

package segment

import "os"

// A lock may end with the descriptor here, though a mapping goes on: nobody ever has a file to
// himself.

func share(*os.File) (bool, error) { return true, nil }
func sole(*os.File) bool           { return false }

// lockIsLocal is not known here.
func lockIsLocal(*os.File) bool { return false }
