package index

import (
	"errors"
	"fmt"
)

// Errors about one call.
var (
	// ErrNotFound says that the index has no such key.
	ErrNotFound = errors.New("index: key not found")

	// ErrClosed says that the index was closed before the call.
	ErrClosed = errors.New("index: closed")

	// ErrFailed says that an earlier batch could not be written, and that the index
	// takes no more of them until it is opened again.
	ErrFailed = errors.New("index: an earlier batch failed")

	// ErrInvalidKey says that a key is empty, longer than MaxKeyLen, or begins with
	// "!badger!" or "!index!", where badger and this package keep their own records.
	ErrInvalidKey = errors.New("index: invalid key")

	// ErrValueTooLarge says that a value is longer than MaxValueLen.
	ErrValueTooLarge = errors.New("index: value too large")
)

// Errors about the index as a whole.
var (
	// ErrCorrupt says that what is stored is damaged, and that only a rebuild
	// helps. Every [*CorruptionError] is ErrCorrupt; nothing else is.
	ErrCorrupt = errors.New("index: corrupt")

	// ErrLocked says that the folder is open already, in this process or another.
	// Every [*LockedError] is ErrLocked.
	ErrLocked = errors.New("index: in use")
)

// CorruptionError says where damage was found. errors.Is(err, ErrCorrupt) holds.
type CorruptionError struct {
	// Dir is the index's folder; empty for an index in memory.
	Dir string
	// File is the damaged file's name within Dir, where it is known.
	File string
	// Key is the key whose value is damaged; nil when it is not a single value.
	Key []byte
	// Err says what is wrong. Never nil.
	Err error
}

func (e *CorruptionError) Error() string {
	s := "index: corrupt"
	if e.Dir != "" {
		s += fmt.Sprintf(": %s", e.Dir)
	}
	if e.File != "" {
		s += fmt.Sprintf(": file %s", e.File)
	}
	if e.Key != nil {
		s += fmt.Sprintf(": key %q", e.Key)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Is reports whether target is ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }

// LockedError says that an index cannot be opened because it is open already.
// errors.Is(err, ErrLocked) holds.
type LockedError struct {
	// Dir is the index's folder.
	Dir string
	// Err is what the operating system or badger said.
	Err error
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("index: folder %s is in use by another index, in this process or another one: %v", e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *LockedError) Unwrap() error { return e.Err }

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
