package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"pgregory.net/rapid"

	"mmjournal/journal"
)

// openReader opens the journal for reading beside the writer, once more if it is open already.
func (m *machine) openReader(t *rapid.T) {
	m.closeReader(t)
	if m.failed != nil {
		t.Skip()
	}
	m.sum.readers++
	o := m.options()
	o.VerifyOnOpen = rapid.Bool().Draw(t, "verify")
	j, err := journal.OpenReadOnlyFS(m.d, modelDir, o)
	if err != nil && m.broke(err) {
		return
	}
	m.must(t, err)
	m.reader = j
	m.shown, err = readAll(j)
	m.must(t, err)
	if now := m.or.now(); !m.shown.equal(now) {
		t.Fatalf("I2: a reader beside shows %v, want %v: %s", m.shown, now, m.or.judge(m.shown))
	}
	if d := j.Durable(); d > m.j.Durable() {
		t.Fatalf("I10: a reader beside takes %d for durable, the writer %d", d, m.j.Durable())
	}
	if _, err := j.Append([]byte("x")); !errors.Is(err, journal.ErrReadOnly) {
		t.Fatalf("append for reading only: %v", err)
	}
}

func (m *machine) closeReader(t *rapid.T) {
	if m.reader != nil {
		m.must(t, m.reader.Close())
		m.reader = nil
	}
}

// end closes the journal. That may fail where an operation does; it leaks nothing.
func (m *machine) end() error {
	quiet := journal.Quiet(m.j)
	err := m.j.Close()
	m.sum.recycled += m.j.Stats().Recycled
	switch {
	case err == nil && m.failed != nil:
		return fmt.Errorf("I9: failed with %w, and Close returns nil", m.failed)
	case err == nil:
		m.or.promise(true)
		if err := m.checkClosed(quiet); err != nil {
			return err
		}
	case m.failed == nil && !m.broke(err):
		return fmt.Errorf("I9: close: %w", err)
	}
	if err := m.untouched(); err != nil {
		return err
	}
	if h, n := m.d.Leaks(); h != 0 || n != 0 {
		return fmt.Errorf("I12: %d handles and %d mappings are open after Close", h, n)
	}
	return nil
}

// reopen closes the journal and opens it again.
func (m *machine) reopen(t *rapid.T) {
	m.closeReader(t)
	m.must(t, m.end())
	m.level(t)
	m.must(t, m.open())
}

// killed ends the process and opens the journal in another.
func (m *machine) killed(t *rapid.T) {
	m.sum.kills++
	m.next(t, func() { m.kill() })
}

// powerCut loses what is not durable, or part of it, or nothing.
func (m *machine) powerCut(t *rapid.T) {
	m.sum.cuts++
	how := rapid.IntRange(0, 3).Draw(t, "weight of what is kept")
	r := newRand(rapid.Uint64().Draw(t, "what is lost"))
	m.next(t, func() {
		p := m.d.Pending()
		c := p.Newest()
		for i, newest := range c {
			if r.IntN(3) >= how {
				c[i] = r.IntN(newest + 1)
			}
		}
		m.d, m.or = p.Crash(c), m.or.afterCrash()
		m.hurt = false
	})
}

// next ends a life as crash does and begins the next one.
func (m *machine) next(t *rapid.T, crash func()) {
	m.closeReader(t)
	m.disarm()
	old, d := m.j, m.d
	crash()
	m.d.OnOp, d.OnOp = nil, nil
	_ = old.Close() // of a process that is gone: only what it holds matters
	if !m.hurt {
		m.must(t, m.checkReadOnly())
	}
	if rapid.IntRange(0, 7).Draw(t, "idempotent") == 0 {
		m.must(t, m.checkIdempotent())
	}
	m.level(t)
	m.must(t, m.open())
}

const besideDir = "/beside"

// makeBeside makes another journal on the disk, which nothing may touch.
func (m *machine) makeBeside() error {
	if err := m.d.MkdirAll(besideDir); err != nil {
		return err
	}
	j, err := journal.OpenFS(m.d, besideDir, m.options())
	if err != nil {
		return err
	}
	for i := range 10 {
		if _, err := j.Append(make([]byte, 100*i)); err != nil {
			return err
		}
	}
	err = j.Close()
	m.beside = m.filesBeside()
	return err
}

func (m *machine) filesBeside() map[string]string {
	all := map[string]string{}
	for path, b := range m.d.Files() {
		if filepath.Dir(path) == besideDir {
			all[path] = string(b)
		}
	}
	return all
}

func (m *machine) checkBeside() error {
	if !maps.Equal(m.filesBeside(), m.beside) {
		return errors.New("I16: the journal beside is not what it was")
	}
	return nil
}
