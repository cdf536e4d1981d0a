package segment

import "runtime/debug"

// A store or load through a mapping faults when the file was cut short, when the disk cannot be
// read or when there is no space for the page. Go ends the process then, unless the goroutine has
// asked for a panic. Every function that touches mapped bytes starts with
//
//	defer s.catch("append", debug.SetPanicOnFault(true), &err)
//
// which asks for the panic, and on return restores the goroutine's setting and turns a fault inside
// this segment's mapping into a *FaultError. Any other panic goes on.
func (s *Segment) catch(op string, old bool, err *error) {
	debug.SetPanicOnFault(old)
	if r := recover(); r != nil {
		if *err = faultError(r, s.m, op, s.path); *err == nil {
			panic(r)
		}
	}
}

// catch is as Segment.catch for appends. However one ends half-way, by a fault, by a panic of a
// function or of a payload's owner, or because a function ends its goroutine ([runtime.Goexit]),
// the writer stands where it stood before; and but for the fault it goes on.
func (w *Writer) catch(op string, old bool, err *error) {
	r := recover()
	debug.SetPanicOnFault(old)
	if r == nil && w.at == w.before.end {
		return
	}
	w.takeBack(r, op, err)
}

// takeBack is what catch does about an append that has ended half-way, or about what was recovered.
func (w *Writer) takeBack(r any, op string, err *error) {
	if r != nil {
		*err = faultError(r, w.s.m, op, w.s.path)
	}
	if w.at != w.before.end {
		from, to := w.restore()
		if *err == nil && w.stage == nil {
			*err = w.s.wipe(from, to)
		}
	}
	if r != nil && *err == nil {
		panic(r)
	}
}

// wipe makes bytes zero again that nothing was published in.
func (s *Segment) wipe(from, to Offset) (err error) {
	defer s.catch("append", debug.SetPanicOnFault(true), &err)
	clear(s.m.b[from:to])
	s.wiped.Store(max(s.wiped.Load(), int64(to)))
	return nil
}

// faultError returns what a recovered panic says if it is a fault in m, and nil otherwise. The
// runtime's own text speaks of a nil pointer, whatever the address.
func faultError(r any, m *Mapping, op, path string) error {
	if f, ok := r.(interface {
		error
		Addr() uintptr
	}); ok {
		lo, hi := m.addressOf()
		if addr := f.Addr(); addr >= lo && addr < hi {
			return &FaultError{Op: op, Path: path, Offset: Offset(addr - lo), Err: f}
		}
	}
	return nil
}
