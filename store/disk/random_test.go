package disk_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

var (
	randomSeed = flag.Uint64("disk.seed", 0, "run the simulation with this seed only")
	randomRuns = flag.Int("disk.runs", 0, "run the simulation with so many seeds")
)

// randomScript returns a script of n steps. Streams m and n have a TTL, f to l are
// JSON.
func randomScript(rng *rand.Rand, n int) (sc script) {
	typeOf := func(name string) string {
		if name >= "f" && name <= "l" {
			return json
		}
		return text
	}
	body := func(name string, i int) string {
		size := rng.IntN(50)
		if rng.IntN(6) == 0 {
			size = rng.IntN(9000)
		}
		if typeOf(name) == json {
			return fmt.Sprintf("[%d,%q],\n", i, long("-", size))
		}
		return fmt.Sprintf("%d%s;", i, long("-", size))
	}
	some := names[rng.IntN(4):]
	some = some[:3+rng.IntN(len(some)-3)]
	for i := range n {
		name := some[rng.IntN(len(some))]
		switch k := rng.IntN(40); {
		case k < 5 && name >= "m":
			sc = append(sc, create(name, text, body(name, i), withTTL(100*time.Second)))
		case k < 5:
			sc = append(sc, create(name, typeOf(name), body(name, i)))
		case k < 9 && name < "f":
			source, at := some[rng.IntN(len(some))], rng.IntN(20)
			if source >= "f" {
				source, at = name, 0
			}
			sc = append(sc, create(name, "", "", forkAt(source, at)))
		case k < 18:
			sc = append(sc, add(name, typeOf(name), body(name, i)))
		case k < 23:
			sc = append(sc, add(name, typeOf(name), body(name, i), by(fmt.Sprint(rng.IntN(2)), int64(rng.IntN(2)), int64(rng.IntN(3)))))
		case k < 24:
			sc = append(sc, add(name, typeOf(name), body(name, i), withSeq(fmt.Sprint(rng.IntN(10)))))
		case k < 25:
			sc = append(sc, add(name, typeOf(name), body(name, i), closing))
		case k < 29:
			sc = append(sc, remove(name))
		case k < 31:
			sc = append(sc, look(name))
		case k < 34:
			sc = append(sc, checkpoint)
		case k < 36:
			sc = append(sc, merge)
		case k < 37:
			sc = append(sc, sweep)
		case k < 38:
			sc = append(sc, reopen)
		case k < 39:
			sc = append(sc, expire)
		case rng.IntN(3) == 0:
			sc = append(sc, pass(1000*time.Second))
		default:
			sc = append(sc, pass(time.Second))
		}
	}
	return sc
}

// simulate runs a script of its own for each seed: to its end, from crashes of
// it, after which the index may be gone or an older one, and with a fault.
func simulate(t *testing.T, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	sc := randomScript(rng, 30+rng.IntN(50))
	p := &player{t: t, script: sc, want: sc.expect(t), rng: rng, disks: newDisks()}
	var crashes []crashed
	p.observe(p.recorder(20+rng.IntN(40), []vfs.CrashMode{vfs.CrashRandom, vfs.CrashLoseAll, vfs.CrashRandom, vfs.CrashKeepAll}, &crashes))
	s, err := p.open()
	if err != nil {
		return err
	}
	if s, err = p.play(s, 0); err != nil {
		return err
	}
	p.observe(nil)
	if err := s.CheckQuiet(); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	var olds []*index.Mem
	for _, c := range crashes {
		olds = append(olds, c.disks.index.CrashClone(nil))
	}
	for i, c := range crashes {
		what := "with its index"
		switch rng.IntN(4) {
		case 0:
			c.disks.index, what = index.NewMem(), "without index"
		case 1:
			old := rng.IntN(i + 1)
			c.disks.index, what = olds[old].CrashClone(nil), "with the index of "+crashes[old].what
		}
		again, err := p.again().survive(c, 10)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", c.what, what, err)
		}
		for _, cc := range again {
			if _, err := p.again().survive(cc, 0); err != nil {
				return fmt.Errorf("%s, %s, then %s: %w", c.what, what, cc.what, err)
			}
		}
	}
	q := p.again()
	q.disks = newDisks()
	if rng.IntN(2) == 0 {
		var n atomic.Int64
		fail := int64(rng.IntN(100))
		q.failIndex = func() error {
			if n.Add(1) == fail {
				return syscall.EIO
			}
			return nil
		}
	} else {
		q.disks.hook = vfs.OnWrites(vfs.FailNth(int64(rng.IntN(300)), &vfs.FailedSync{Err: syscall.EIO}))
	}
	if err := q.endure(); err != nil {
		return fmt.Errorf("with a fault: %w", err)
	}
	return nil
}

func TestRandom(t *testing.T) {
	t.Parallel()
	runs := 150
	if testing.Short() || raceEnabled {
		runs = 15
	}
	if *randomRuns > 0 {
		runs = *randomRuns
	}
	for range runs {
		seed := rand.Uint64()
		if *randomSeed != 0 {
			seed = *randomSeed
		}
		if err := simulate(t, seed); err != nil {
			t.Fatalf("repeat with -disk.seed=%d: %v", seed, err)
		}
		if *randomSeed != 0 {
			break
		}
	}
}
