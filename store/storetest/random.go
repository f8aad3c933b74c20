package storetest

import (
	"flag"
	"math/rand/v2"
)

var randomTests []test

var seedFlag = flag.Uint64("storetest.seed", 0, "repeat what tests chose at random with this seed; 0 takes a new one")

// random returns a source of random choices and logs its seed.
func (f *fixture) random() *rand.Rand {
	f.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	f.Logf("repeat with -storetest.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
