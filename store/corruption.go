package store

import "fmt"

// CorruptionError says where stored bytes do not match their checksum. It is
// ErrCorrupt for errors.Is.
type CorruptionError struct {
	// File is the damaged file's path.
	File string
	// Offset is the position in the file, in bytes, at which the damage begins.
	Offset int64
	// Reason says what was expected there.
	Reason string
}

// Error names file and position.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }
