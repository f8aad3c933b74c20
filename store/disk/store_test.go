package disk_test

import (
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/storetest"
)

func TestStore(t *testing.T) {
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
				s, err := newPlace(t, change).Open(o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func TestStore_durable(t *testing.T) {
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			storetest.RunDurable(t, func(t *testing.T) storetest.Durable { return newPlace(t, change) })
		})
	}
}

// variants are ways to run the engine that must make no difference.
var variants = map[string]func(*disk.Options){
	// As it is configured for production, but on simulated disks.
	"defaults": func(o *disk.Options) {
		o.CheckpointSize = 0
		o.SegmentSize = 0
	},
	// A checkpoint for every few changes, and merges all the time.
	"tiny": func(o *disk.Options) {
		o.CheckpointSize = 4 << 10
		o.SegmentSize = 32 << 10
		o.MaxFileHandles = 1
	},
}

// TestStore_os runs the suite on the real file system with the real index.
func TestStore_os(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		s, err := disk.Open(disk.Options{
			Dir: t.TempDir(), Now: o.Now, Logger: logger(t),
			JournalFileSize: 8 << 20, CheckpointSize: 128 << 10, ExpiryInterval: 5 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
