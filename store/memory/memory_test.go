package memory_test

import (
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, opts storetest.Options) store.Store {
		return memory.New(memory.Options{Now: opts.Now})
	})
}
