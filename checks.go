package durablestreams

import (
	"cmp"
	"fmt"
)

// checkRange says so if an option is neither 0, which means its default, nor
// within low and high.
func checkRange[T cmp.Ordered](name string, value, low, high T) error {
	var zero T
	if value == zero || low <= value && value <= high {
		return nil
	}
	return fmt.Errorf("%s is %v; it must be at least %v and at most %v", name, value, low, high)
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// setDefault gives a field that was not configured its default.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
