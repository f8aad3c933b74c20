package server

import (
	"context"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// watcher is one reader's watch on a stream.
type watcher struct {
	store   store.Store
	name    string
	changed <-chan struct{}
	release func()
	timer   *time.Timer // from the first wait on
}

// start begins a watch unless one is there already.
func (w *watcher) start() {
	if w.release == nil {
		w.changed, w.release = w.store.Watch(w.name)
	}
}

// stop ends the watch if there is one.
func (w *watcher) stop() {
	if w.release != nil {
		w.release()
		w.changed, w.release = nil, nil
	}
}

// close ends the watch and gives up the timer.
func (w *watcher) close() {
	w.stop()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// fired reports whether the stream has changed since the watch began.
func (w *watcher) fired() bool {
	select {
	case <-w.changed:
		return true
	default:
		return false
	}
}

// wake is why a reader stopped waiting.
type wake uint8

const (
	changed wake = iota // the stream
	gone                // the client
	timeUp
	ending // of all live answers
)

// wait waits for a change, for at most d.
func (w *watcher) wait(ctx context.Context, d time.Duration, end <-chan struct{}) wake {
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.changed:
		return changed
	case <-ctx.Done():
		return gone
	case <-w.timer.C:
		return timeUp
	case <-end:
		return ending
	}
}
