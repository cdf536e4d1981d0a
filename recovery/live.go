package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"mmjournal/segment"
)

// scans is how often a live directory is scanned before Scan gives up: a writer that rolls and
// truncates all the time may spoil several scans in a row.
const scans = 20

// ErrMoving: a writer changed the directory during every scan. No scan found the journal undamaged,
// and no two scans found the same. No damage is known; try again.
var ErrMoving = errors.New("the journal changed during every scan")

// scanAgain repeats a scan of a directory that a writer may change at the same time. A scan sees
// the files at different moments, which may not fit together. So the result of a scan that finds no
// damage is taken, and apparent damage counts only if the next scan finds the same.
func scanAgain(fsys segment.FS, path string, full bool, st *State, err error) (*State, error) {
	found := finding(st, err)
	for range scans {
		if found == "" {
			return st, nil
		}
		again, errAgain := scanOnce(fsys, path, full)
		if st != nil {
			st.Close()
		}
		before := found
		st, err, found = again, errAgain, finding(again, errAgain)
		if found == before {
			return st, err
		}
	}
	if found == "" {
		return st, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // a file that is gone before it is opened is a change, too
	}
	if st != nil {
		st.Close()
	}
	return nil, fmt.Errorf("%s: %w (the last one found: %s)", path, ErrMoving, found)
}

// finding describes what a scan has found that speaks against the journal; "" if nothing does.
func finding(st *State, err error) string {
	if err != nil {
		return err.Error()
	}
	var list []string
	if st.Err != nil {
		list = append(list, st.Err.Error())
	}
	for i := range st.Report.Damage {
		list = append(list, st.Report.Damage[i].String())
	}
	return strings.Join(list, "; ")
}
