package recovery

import (
	"runtime"
	"slices"
	"sync"

	"mmjournal/segment"
)

// readAhead reads the frames of all segments that another one links to, several at a time, for the
// walk that will want them one after the other. It decides nothing, and what fails here fails there
// again.
func (s *search) readAhead() {
	type task struct {
		f   *file
		end segment.Offset
	}
	todo := make(chan task)
	var readers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			for t := range todo {
				_, _ = t.f.scanTo(t.end)
			}
		})
	}
	given := map[*file]bool{} // a file's fields belong to one reader
	for _, f := range slices.Backward(s.d.files) {
		if f.seg == nil {
			continue
		}
		l, ok, err := f.seg.Link, f.standIn, error(nil)
		if !ok {
			l, ok, err = f.seg.ReadLink()
		}
		if !ok || err != nil || l.Pred == 0 {
			continue
		}
		if p, brk := s.predecessor(&l); brk == nil && !given[p] {
			given[p] = true
			todo <- task{p, l.PredEnd}
		}
	}
	close(todo)
	readers.Wait()
}
