package disk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

var bg = context.Background()

// player plays a script on simulated disks, and takes crashes on the way.
type player struct {
	t      *testing.T
	script script
	want   expected
	rng    *rand.Rand
	disks  *disks
	change func(*disk.Options)

	mu   sync.Mutex
	now  time.Time
	next int // the step that is under way: all before it were answered
	// observer, if set, is called before each operation of the disks.
	observer func(what string)
	// failIndex, if set, is called before each operation of the index.
	failIndex func() error
}

// crashed is what a crash has left.
type crashed struct {
	disks *disks
	next  int
	what  string
}

func (p *player) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *player) observe(observer func(what string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observer = observer
}

// goTo says that step n begins.
func (p *player) goTo(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.now = n, p.script.at(n)
}

func (p *player) open() (*disk.Store, error) {
	opts := p.disks.options(p.t)
	opts.Logger = nil
	opts.Manual, opts.Now = true, p.clock
	opts.JournalFileSize, opts.CheckpointSize, opts.SegmentSize = 64<<10, 1<<20, 16<<10
	see := func(what string) {
		p.mu.Lock()
		observer := p.observer
		p.mu.Unlock()
		if observer != nil {
			observer(what)
		}
	}
	opts.FS = vfs.Inject(opts.FS, func(op vfs.Op) error {
		if op.Kind.Writes() {
			see(op.String())
		}
		return nil
	})
	openIndex := opts.OpenIndex
	opts.OpenIndex = func(dir string) (index.Index, error) {
		ix, err := openIndex(dir)
		p.disks.index.BeforeEach = func(i int) error {
			see(fmt.Sprintf("index operation %d", i))
			if p.failIndex != nil {
				return p.failIndex()
			}
			return nil
		}
		return ix, err
	}
	if p.change != nil {
		p.change(&opts)
	}
	return disk.Open(opts)
}

// play runs the script from step n on and compares the answers.
func (p *player) play(s *disk.Store, n int) (*disk.Store, error) {
	for ; n < len(p.script); n++ {
		p.goTo(n)
		st := p.script[n]
		switch {
		case st.request != nil:
			if got := answer(st.request(s, p.clock())); got != p.want.answers[n] {
				return s, fmt.Errorf("step %d, %s: %s, want %s", n, st.what, got, p.want.answers[n])
			}
		case st.upkeep != nil:
			if err := st.upkeep(s); err != nil {
				return s, fmt.Errorf("step %d, %s: %w", n, st.what, err)
			}
		case st.reopen:
			if err := s.Close(); err != nil {
				return s, err
			}
			var err error
			if s, err = p.open(); err != nil {
				return nil, fmt.Errorf("step %d: %w", n, err)
			}
		}
	}
	p.goTo(n)
	return s, nil
}

// recorder returns an observer that keeps every k-th crash.
func (p *player) recorder(k int, modes []vfs.CrashMode, out *[]crashed) func(string) {
	count := 0
	return func(what string) {
		p.disks.gate.Lock()
		defer p.disks.gate.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		count++
		if count%k != 0 {
			return
		}
		for i := range 2 {
			mode := modes[(2*count/k+i)%len(modes)]
			*out = append(*out, crashed{
				disks: p.disks.clone(p.rng, mode), next: p.next,
				what: fmt.Sprintf("step %d before %s, mode %d", p.next, what, mode),
			})
		}
	}
}

// survive opens what a crash has left, checks it, plays the script to its end,
// deletes everything, and returns crashes that may happen to the recovery.
func (p *player) survive(c crashed, nested int) (again []crashed, err error) {
	p.disks = c.disks
	p.goTo(c.next)
	if nested > 0 {
		p.observe(p.recorder(nested, []vfs.CrashMode{vfs.CrashRandom, vfs.CrashLoseAll, vfs.CrashKeepAll}, &again))
	}
	s, err := p.open()
	p.observe(nil)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { s.Close() }()
	got, err := dump(s)
	if err != nil {
		return nil, err
	}
	next := c.next
	if got != p.want.dumps[next] {
		next++
		if next == len(p.want.dumps) || got != p.want.dumps[next] {
			return nil, fmt.Errorf("holds\n%swant\n%s", got, p.want.dumps[c.next])
		}
	}
	if s, err = p.play(s, next); err != nil {
		return nil, err
	}
	if got, err = dump(s); err != nil || got != p.want.dumps[len(p.script)] {
		return nil, fmt.Errorf("at the end: %w, holds\n%swant\n%s", err, got, p.want.dumps[len(p.script)])
	}
	if err := s.CheckQuiet(); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if s, err = p.open(); err != nil {
		return nil, fmt.Errorf("open again: %w", err)
	}
	return again, p.deleteAll(s)
}

// deleteAll deletes all streams, after which no name may be blocked.
func (p *player) deleteAll(s *disk.Store) error {
	for _, name := range names {
		if got := answer("", s.Delete(bg, name)); strings.HasPrefix(got, "failed") {
			return fmt.Errorf("delete %s: %s", name, got)
		}
	}
	for _, name := range names {
		st := create(name, text, "free")
		if got := answer(st.request(s, p.clock())); got != fmt.Sprint(text, 4, false, true) && !strings.HasPrefix(got, text) {
			return fmt.Errorf("%s is not free: %s", name, got)
		}
	}
	return nil
}

// record plays the script and returns every k-th crash on the way, twice.
func record(t *testing.T, sc script, k int) (p *player, crashes []crashed) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p = &player{t: t, script: sc, want: sc.expect(t), rng: rand.New(rand.NewPCG(seed, 0)), disks: newDisks()}
	p.observe(p.recorder(k, []vfs.CrashMode{vfs.CrashRandom, vfs.CrashLoseAll, vfs.CrashRandom, vfs.CrashKeepAll}, &crashes))
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	if s, err = p.play(s, 0); err != nil {
		t.Fatal(err)
	}
	p.observe(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(crashes) < 500/k {
		t.Errorf("only %d crashes", len(crashes))
	}
	return p, crashes
}

// again returns a player of the same script.
func (p *player) again() *player {
	return &player{t: p.t, script: p.script, want: p.want, rng: p.rng}
}

// every is the share of operations at which crashes are taken.
func every() int {
	if testing.Short() || raceEnabled {
		return 11
	}
	return 1
}

func TestCrash_atEveryOperation(t *testing.T) {
	t.Parallel()
	p, crashes := record(t, life, every())
	second := 0
	for i, c := range crashes {
		nested := 0
		if i%10 == 0 {
			nested = 3
		}
		again, err := p.again().survive(c, nested)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		for _, cc := range again {
			second++
			if _, err := p.again().survive(cc, 0); err != nil {
				t.Fatalf("%s, then %s: %v", c.what, cc.what, err)
			}
		}
	}
	t.Logf("%d crashes, %d crashes after crashes", len(crashes), second)
	if second == 0 {
		t.Error("no crash after a crash")
	}
}

// The index is a cache: without it, or with any older state of it, every crash
// is survived as well.
func TestCrash_indexLost(t *testing.T) {
	t.Parallel()
	p, crashes := record(t, life, every())
	for i, c := range crashes {
		c.disks.index = index.NewMem()
		if _, err := p.again().survive(c, 0); err != nil {
			t.Fatalf("crash %d, %s: %v", i, c.what, err)
		}
	}
}

func TestCrash_indexOlder(t *testing.T) {
	t.Parallel()
	p, crashes := record(t, life, every())
	var olds []*index.Mem
	for _, c := range crashes {
		olds = append(olds, c.disks.index.CrashClone(nil))
	}
	for i, c := range crashes {
		old := p.rng.IntN(i + 1)
		c.disks.index = olds[old].CrashClone(nil)
		if _, err := p.again().survive(c, 0); err != nil {
			t.Fatalf("%s, with the index of: %s: %v", c.what, crashes[old].what, err)
		}
	}
}
