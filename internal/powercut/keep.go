package powercut

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// keepEnv names a directory that gets the image and the log of every violation.
const keepEnv = "MMJOURNAL_POWERCUT_KEEP"

// keep stores what is needed to look into a violation: the image, which can be mounted, and the log
// as text up to the cut, one entry a line.
func keep(img *Image, log []Entry, p int) error {
	dir := os.Getenv(keepEnv)
	if dir == "" {
		return nil
	}
	f, err := os.CreateTemp(dir, "cut*.log")
	if err != nil {
		return err
	}
	defer f.Close()
	for i, e := range log[:p] {
		text := ""
		switch e.Kind {
		case WriteEntry:
			text = fmt.Sprintf("write %d +%d", e.Offset, len(e.Data))
		case FlushEntry:
			text = "flush"
		case FaultEntry:
			text = "EIO"
		case MarkEntry:
			b, err := json.Marshal(e.Mark)
			if err != nil {
				return err
			}
			text = string(b)
		}
		fmt.Fprintf(f, "%d %s\n", i, text)
	}
	name := f.Name()
	return img.save(name[:len(name)-len(filepath.Ext(name))] + ".img")
}
