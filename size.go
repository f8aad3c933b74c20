package durablestreams

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes. In JSON it is a number, or a string with a unit:
// `"16MiB"` (KiB, MiB, GiB, TiB: powers of 1024) or `"16MB"` (kB, MB, GB, TB:
// powers of 1000).
type Size int64

// Units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// ParseSize reads a number of bytes as people write it.
func ParseSize(text string) (Size, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size; write a number of bytes or, for example, 512KiB, 16MiB or 2GiB", text)
	}
	return Size(n), nil
}

// String returns the size with the largest unit that divides it.
func (s Size) String() string {
	switch {
	case s != 0 && s%GiB == 0:
		return strconv.FormatInt(int64(s/GiB), 10) + "GiB"
	case s != 0 && s%MiB == 0:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	case s != 0 && s%KiB == 0:
		return strconv.FormatInt(int64(s/KiB), 10) + "KiB"
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalJSON writes the size as String does, or as a number if it has no unit.
func (s Size) MarshalJSON() ([]byte, error) {
	if s%KiB != 0 || s == 0 {
		return strconv.AppendInt(nil, int64(s), 10), nil
	}
	return json.Marshal(s.String())
}

// UnmarshalJSON reads a number of bytes or a string with a unit.
func (s *Size) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '"' {
		return json.Unmarshal(data, (*int64)(s))
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	size, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = size
	return nil
}

// Interface guards
var (
	_ json.Marshaler   = Size(0)
	_ json.Unmarshaler = (*Size)(nil)
	_ fmt.Stringer     = Size(0)
)
