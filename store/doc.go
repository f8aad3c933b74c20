// Package store says what a storage engine of the server is: the [Store]
// interface, its values and its errors. The engines are in store/memory and
// store/disk; store/storetest is the suite that every engine passes.
//
// # Contract
//
// An engine keeps streams by name and answers with the rules of package
// protocol: it holds no rule of its own. A refusal by those rules is returned as
// a *protocol.Refusal; any other error means that the engine could not do its
// work.
//
// A call that changes something returns nil only once its whole effect is as
// durable as the engine promises, and then every later call sees it, also after
// a restart. The effect of one call is atomic: data, producer state, Stream-Seq
// and closure of an append exist together or not at all. An answer that rests on
// another call's effect (a duplicate, a conflict, a closed stream) is not given
// before that effect is durable.
//
// Reads never see what is not durable yet, so no reader sees bytes that a crash
// takes back.
//
// Nothing above an engine may assume that one process owns a stream.
package store
