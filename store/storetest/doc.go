// Package storetest is the suite that every storage engine passes.
//
// [Run] tests what the store.Store interface promises to whoever holds one;
// [RunDurable] what it promises across restarts and crashes. The suite asks an
// engine only through the interface and a clock of its own, so one engine cannot
// pass by doing what another cannot. Rules are not tested here but in package
// protocol; what is tested is that an engine asks them with the right state, at
// the right instant, and keeps what they say.
//
// # Time
//
// Streams expire by the clock in [Options], which moves only when a test says so,
// and which an engine asks at every access: expiry is exact there. Only what
// happens without an access (a watcher that is woken, a name that becomes free)
// may come later, and is waited for.
//
// # Randomness
//
// Tests that choose at random log their seed, and -storetest.seed repeats it.
package storetest
