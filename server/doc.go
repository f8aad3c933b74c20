// Package server speaks the Durable Streams Protocol over net/http. It knows no
// web server in particular: [Handler] is all that an adapter needs.
//
// Each method has its file. A request is parsed by package protocol, carried out
// by a [store.Store], and answered in respond.go, the only file that knows which
// status and headers an outcome or a refusal has.
//
// A response that fails after its headers were sent is aborted, so that no
// client takes a part for the whole.
package server
