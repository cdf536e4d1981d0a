//go:build !linux

package segment

// leave does nothing: see mapping_linux.go.
func (m *Mapping) leave(_, _ Offset) {}
