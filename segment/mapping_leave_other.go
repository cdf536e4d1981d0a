//go:build !linux

package segment

// populate does nothing: see mapping_linux.go.
func (m *Mapping) populate(_, _ Offset) {}

// leave does nothing: see mapping_linux.go.
func (m *Mapping) leave(_, _ Offset) {}
