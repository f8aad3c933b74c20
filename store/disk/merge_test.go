package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// machine is a store on simulated disks.
type machine struct {
	*player
	store *disk.Store
}

func newMachine(t *testing.T, change func(*disk.Options)) *machine {
	m := &machine{player: &player{t: t, disks: newDisks(), now: epoch, change: change}}
	m.start()
	t.Cleanup(func() { m.store.Close() })
	return m
}

func (m *machine) start() {
	m.t.Helper()
	var err error
	if m.store, err = m.open(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) do(steps ...step) {
	m.t.Helper()
	for _, st := range steps {
		var err error
		if st.request != nil {
			_, err = st.request(m.store, m.clock())
		} else {
			err = st.upkeep(m.store)
		}
		if err != nil {
			m.t.Fatalf("%s: %v", st.what, err)
		}
	}
}

// restart closes the store and opens it again, without its index if lost.
func (m *machine) restart(lost bool) {
	m.t.Helper()
	if err := m.store.Close(); err != nil {
		m.t.Fatal(err)
	}
	if lost {
		m.disks.index = index.NewMem()
	}
	m.start()
}

func (m *machine) holds(name, want string) {
	m.t.Helper()
	if got, err := content(m.store, name); err != nil || got != want {
		m.t.Fatalf("%s holds %.60q (%d bytes), %v; want %.60q (%d)", name, got, len(got), err, want, len(want))
	}
}

// infos reads the footers of the segments that are there.
func (m *machine) infos() (infos []segment.Info) {
	m.t.Helper()
	numbers, _, err := segment.List(m.disks.fs, "/data/segments")
	for _, n := range numbers {
		info, infoErr := segment.ReadInfo(m.disks.fs, "/data/segments", n)
		err = errors.Join(err, infoErr)
		infos = append(infos, info)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return infos
}

// Half of the streams end, in no order, by deletion or by expiry: half of the
// space comes back, with and without the index that knew them.
func TestMerge_givesSpaceBack(t *testing.T) {
	t.Parallel()
	for _, expiring := range []bool{false, true} {
		t.Run(fmt.Sprintf("expiring=%v", expiring), func(t *testing.T) {
			m := newMachine(t, nil)
			const streams, size = 200, 3000
			for i := range streams {
				change := withTTL(time.Hour)
				if i%2 == 0 {
					change = withTTL(time.Minute)
				}
				m.do(create(fmt.Sprint("s", i), text, long("x", size), change))
				if i%20 == 19 {
					m.do(checkpoint)
				}
			}
			m.do(merge, sweep)
			full := m.disks.fs.Used()
			if expiring {
				m.now = m.now.Add(10 * time.Minute)
				m.do(expire)
			}
			for i := 0; i < streams && !expiring; i += 2 {
				m.do(remove(fmt.Sprint("s", i)))
			}
			m.do(checkpoint, merge)
			if back := full - m.disks.fs.Used(); back < streams/2*size*8/10 {
				t.Errorf("%d bytes of %d came back", back, streams/2*size)
			}
			if st := m.store.Stats(); st.LiveBytes != streams/2*size {
				t.Errorf("%d bytes are said to live, want %d", st.LiveBytes, streams/2*size)
			}
			for _, lost := range []bool{false, true} {
				m.restart(lost)
				if st := m.store.Stats(); st.LiveBytes != streams/2*size {
					t.Errorf("index lost %v: %d bytes are said to live", lost, st.LiveBytes)
				}
				infos, err := m.store.List(bg, "", "", streams)
				if err != nil || len(infos) != streams/2 {
					t.Errorf("index lost %v: %d streams are left: %v", lost, len(infos), err)
				}
			}
			for i := 1; i < streams; i += 2 {
				m.holds(fmt.Sprint("s", i), long("x", size))
				m.do(remove(fmt.Sprint("s", i)))
			}
			m.do(checkpoint, merge, checkpoint)
			// Tombstones may wait for others to be merged with.
			for _, info := range m.infos() {
				if info.DataEnd > 64 || len(m.infos()) > 4 {
					t.Errorf("of nothing, %+v is left", info)
				}
			}
		})
	}
}

func TestMerge_realFiles(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	s := f.open()
	const streams, size = 100, 10000
	for i := range streams {
		f.run(s, create(fmt.Sprint("s", i), text, long("x", size)))
		if i%10 == 9 {
			f.run(s, checkpoint)
		}
	}
	f.run(s, merge)
	before := dirSize(t, filepath.Join(f.dir, "segments"))
	for i := 0; i < streams; i += 2 {
		f.run(s, remove(fmt.Sprint("s", i)))
	}
	f.run(s, checkpoint, merge)
	if after := dirSize(t, filepath.Join(f.dir, "segments")); after > before*6/10 {
		t.Errorf("of %d bytes %d are left, with half of the streams", before, after)
	}
	f.close(s)
}

func dirSize(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := eachFile(dir, func(_ string, size int64) error {
		sum += size
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return sum
}

// In whatever order streams come and go and segments are merged, a rebuild of the
// index brings nothing back, and in the end no tombstone is left.
func TestMerge_tombstones(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		m := newMachine(t, nil)
		want := make(map[string]string)
		for i := range 120 {
			name := names[rng.IntN(len(names))]
			switch rng.IntN(5) {
			case 0, 1:
				if _, ok := want[name]; ok {
					m.do(remove(name))
					delete(want, name)
					break
				}
				want[name] = fmt.Sprint(i, long("-", rng.IntN(3000)))
				m.do(create(name, text, want[name]))
			case 2:
				if _, ok := want[name]; ok {
					want[name] += fmt.Sprint(i)
					m.do(add(name, text, fmt.Sprint(i)))
				}
			case 3:
				m.do(checkpoint)
			case 4:
				if _, err := m.store.Merge(); err != nil {
					t.Fatal(err)
				}
			}
			if i%20 == 19 {
				m.restart(rng.IntN(2) == 0)
				for _, name := range names {
					if body, ok := want[name]; ok {
						m.holds(name, body)
					} else if _, err := m.store.Head(bg, name); err == nil {
						t.Fatalf("%s is back", name)
					}
				}
			}
		}
		m.store.Close()
	}
}

func TestMerge_slowReaders(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	var want []string
	var chunks []*store.Chunk
	for i := range 12 {
		name := fmt.Sprint("s", i)
		want = append(want, long(string(rune('a'+i)), 3000))
		m.do(create(name, text, want[i]), checkpoint, sweep)
		c, err := m.store.Read(bg, name, protocol.Start, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
	}
	m.do(merge)
	for i := range 12 {
		m.do(remove(fmt.Sprint("s", i)))
	}
	m.do(checkpoint, merge, checkpoint)
	held := m.disks.fs.Used()
	for i, c := range chunks {
		var b bytes.Buffer
		if err := errors.Join(c.WriteRange(&b, 0, c.Len()), c.Close()); err != nil || b.String() != want[i] {
			t.Errorf("reader %d got %.20q…, %v", i, b.String(), err)
		}
	}
	m.do(create("last", text, "x"), checkpoint)
	if left := m.disks.fs.Used(); left >= held-12*2000 {
		t.Errorf("of %d bytes %d are left without readers", held, left)
	}
	if err := m.store.CheckQuiet(); err != nil {
		t.Error(err)
	}
}

// Many checkpoints of few streams: a byte is rewritten a few times, and a stream's
// extents become few.
func TestMerge_amplification(t *testing.T) {
	t.Parallel()
	m := newMachine(t, func(o *disk.Options) { o.SegmentSize = 1 << 20 })
	const rounds, size = 300, 1000
	m.do(create("long", text, ""))
	for i := range rounds {
		m.do(add("long", text, long("l", size)), create(fmt.Sprint("s", i), text, long("s", size)), checkpoint)
		if _, err := m.store.Merge(); err != nil {
			t.Fatal(err)
		}
	}
	m.do(merge)
	st := m.store.Stats()
	if limit := uint64(rounds * 2 * size * 6); st.MergedBytes > limit {
		t.Errorf("%d bytes were rewritten for %d appended", st.MergedBytes, rounds*2*size)
	}
	if st.Merges == 0 || st.Segments > 20 {
		t.Errorf("%d segments after %d merges", st.Segments, st.Merges)
	}
	m.holds("long", long("l", rounds*size))
	m.restart(true)
	m.holds("long", long("l", rounds*size))
}

// Tombstones that are needed are not rewritten over and over.
func TestMerge_ends(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	gone := make(map[string]bool)
	for i := range 400 {
		m.do(create(fmt.Sprint(i), text, long("x", rng.IntN(2000))))
		if name := fmt.Sprint(rng.IntN(i + 1)); !gone[name] && rng.IntN(2) == 0 {
			m.do(remove(name))
			gone[name] = true
		}
		if rng.IntN(10) == 0 {
			m.do(checkpoint)
			for n := 0; ; n++ {
				merged, err := m.store.Merge()
				if err != nil {
					t.Fatal(err)
				}
				if !merged {
					break
				}
				if n == 50 {
					t.Fatalf("merges go on: %+v", m.infos())
				}
			}
		}
	}
}

// A damaged segment does not keep others from being merged.
func TestMerge_damage(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	s := f.open()
	for i := range 12 {
		f.run(s, create(fmt.Sprint("s", i), text, long("x", 1000)), checkpoint)
	}
	f.close(s)
	files := f.segments()
	slices.Sort(files)
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[500] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = f.open()
	if _, err := s.Merge(); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("merge: %v", err)
	}
	f.run(s, merge)
	if st := s.Stats(); st.Segments > 4 {
		t.Errorf("%d segments are left", st.Segments)
	}
	if _, err := content(s, "s0"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damaged stream: %v", err)
	}
	if got, err := content(s, "s7"); err != nil || got != long("x", 1000) {
		t.Errorf("another stream: %v", err)
	}
	f.close(s)
}
