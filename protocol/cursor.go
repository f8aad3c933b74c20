package protocol

import (
	"math"
	"strconv"
	"time"
)

// Cursors count intervals of time since an epoch (§10.1).
const (
	cursorEpoch     = 1_728_432_000 // 2024-10-09T00:00:00Z, Unix seconds
	cursorInterval  = 20            // seconds
	maxCursorJitter = 3600          // seconds
	maxCursor       = math.MaxInt64 - maxCursorJitter
)

// Cursor returns the cursor of a live response at the time now. It is the
// number of the current interval; if the client's own cursor is not behind that,
// it is the client's plus a random step, so that no client sees a cursor twice
// and no cache answers it for ever. random returns a number in [0, n).
func Cursor(client string, now time.Time, random func(n int) int) string {
	current := max(0, now.Unix()-cursorEpoch) / cursorInterval // a clock not yet set counts as the epoch
	if c, ok := parseDigits(client); ok && c >= current && c < maxCursor {
		jitter := 1 + random(maxCursorJitter)
		current = c + int64((jitter+cursorInterval-1)/cursorInterval)
	}
	return strconv.FormatInt(current, 10)
}
