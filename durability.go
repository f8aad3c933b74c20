package durablestreams

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Modes of Durability.
const (
	// SyncMode acknowledges a change once it is on disk.
	SyncMode = "sync"
	// IntervalMode acknowledges a change once it is written, and syncs later.
	IntervalMode = "interval"
)

// minSyncInterval is the shortest interval that is worth having: below it, waiting
// for the disk costs as little and loses nothing.
const minSyncInterval = caddy.Duration(time.Millisecond)

// Durability says what an acknowledgement promises.
type Durability struct {
	// `sync`: a change is on disk before it is acknowledged. `interval`: a change
	// is acknowledged once the operating system has it, and is on disk at most one
	// interval later, so that a power failure can take back what was acknowledged
	// within the last interval; the crash of this process alone takes back nothing.
	// Empty means `sync`.
	Mode string `json:"mode,omitempty"`

	// How often the disk is synced, with mode `interval` only, where it is
	// required. At least `1ms`.
	Interval caddy.Duration `json:"interval,omitempty"`
}

// validate says what is wrong with the mode or the interval.
func (d *Durability) validate() error {
	switch {
	case d == nil:
		return nil
	case d.Mode == SyncMode || d.Mode == "":
		if d.Interval != 0 {
			return fmt.Errorf("durability: an interval needs mode %q; the mode is %q", IntervalMode, SyncMode)
		}
	case d.Mode == IntervalMode:
		if d.Interval < minSyncInterval {
			return fmt.Errorf("durability: mode %q needs an interval of at least %s, for example 1s; it is %s",
				IntervalMode, time.Duration(minSyncInterval), time.Duration(d.Interval))
		}
	default:
		return fmt.Errorf("durability: mode is %q; use %q or %q", d.Mode, SyncMode, IntervalMode)
	}
	return nil
}
