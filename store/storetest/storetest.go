package storetest

import (
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Options are what the suite demands of the engine that a test opens.
type Options struct {
	// Now is the engine's clock. It is safe for concurrent use and never goes
	// back.
	Now func() time.Time
}

// Run tests an engine. open returns a new, empty store; the suite closes it.
func Run(t *testing.T, open func(t *testing.T, opts Options) store.Store) {
	for _, topic := range []struct {
		name  string
		tests []test
	}{
		{"Create", createTests},
		{"Append", appendTests},
		{"Producer", producerTests},
		{"Closure", closureTests},
		{"Deletion", deletionTests},
		{"Fork", forkTests},
		{"ForkRead", forkReadTests},
		{"ForkLife", forkLifeTests},
		{"Expiry", expiryTests},
		{"Read", readTests},
		{"Watch", watchTests},
		{"List", listTests},
		{"Close", closeTests},
		{"Concurrency", concurrencyTests},
		{"Random", randomTests},
	} {
		t.Run(topic.name, func(t *testing.T) {
			for _, test := range topic.tests {
				t.Run(test.name, func(t *testing.T) {
					clock := newClock()
					f := &fixture{T: t, store: open(t, Options{Now: clock.Now}), clock: clock}
					t.Cleanup(f.closeStore)
					test.run(f)
				})
			}
		})
	}
}

// test is one test with a store of its own.
type test struct {
	name string
	run  func(f *fixture)
}
