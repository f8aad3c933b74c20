package disk_test

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/storetest"
)

// disks are a simulated machine's file system and index. They are crashed
// together: an operation on one that follows an operation on the other is never
// kept without it.
type disks struct {
	fs    *vfs.Mem
	index *index.Mem

	gate sync.RWMutex // held for reading by operations as they begin
	hook vfs.Hook     // an additional hook; may be nil
}

func newDisks() *disks { return &disks{fs: vfs.NewMem(vfs.MemOptions{}), index: index.NewMem()} }

// crash returns what a power loss at this instant leaves.
func (d *disks) crash(rng *rand.Rand, mode vfs.CrashMode) *disks {
	d.gate.Lock()
	defer d.gate.Unlock()
	return d.clone(rng, mode)
}

func (d *disks) clone(rng *rand.Rand, mode vfs.CrashMode) *disks {
	ix := d.index.CrashClone(rng)
	return &disks{fs: d.fs.CrashClone(rng, vfs.CrashOptions{Mode: mode}), index: ix}
}

// options returns options for a store on these disks, with small files so that
// little data exercises everything.
func (d *disks) options(t testing.TB) disk.Options {
	return disk.Options{
		Dir: "/data",
		FS: vfs.Inject(d.fs, func(op vfs.Op) error {
			d.gate.RLock()
			defer d.gate.RUnlock()
			if d.hook != nil {
				return d.hook(op)
			}
			return nil
		}),
		OpenIndex: func(string) (index.Index, error) {
			d.index = d.index.CrashClone(nil) // as after a clean close
			return gated{d.index, &d.gate}, nil
		},
		RemoveIndex: func(string) error {
			d.index = index.NewMem()
			return nil
		},
		JournalFileSize: 8 << 20,
		CheckpointSize:  64 << 10,
		SegmentSize:     256 << 10,
		MaxFileHandles:  4,
		ExpiryInterval:  5 * time.Millisecond,
		Logger:          logger(t),
	}
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// gated is an index whose changes begin only when the gate is open.
type gated struct {
	index.Index
	gate *sync.RWMutex
}

func (g gated) Apply(b *index.Batch) error {
	g.gate.RLock()
	//lint:ignore SA2001 the gate only holds up what begins
	g.gate.RUnlock()
	return g.Index.Apply(b)
}

// place implements storetest.Durable on simulated disks.
type place struct {
	t     *testing.T
	disks *disks
	rng   *rand.Rand
	open  *disk.Store
	opts  func(*disk.Options)
}

func newPlace(t *testing.T, opts func(*disk.Options)) *place {
	seed := uint64(time.Now().UnixNano())
	t.Logf("crash seed %d", seed)
	return &place{t: t, disks: newDisks(), rng: rand.New(rand.NewPCG(seed, 0)), opts: opts}
}

func (p *place) Open(o storetest.Options) (store.Store, error) {
	opts := p.disks.options(p.t)
	opts.Now = o.Now
	if p.opts != nil {
		p.opts(&opts)
	}
	s, err := disk.Open(opts)
	if err != nil {
		return nil, err
	}
	p.open = s
	return s, nil
}

func (p *place) Crash() error {
	after := p.disks.crash(p.rng, vfs.CrashRandom)
	_ = p.open.Close() // on the disks of before the crash
	p.disks = after
	return nil
}
