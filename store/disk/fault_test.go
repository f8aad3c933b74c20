package disk_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

// refusedAsPromised reports whether an error is one that the contract has for
// disks that fail.
func refusedAsPromised(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknownOutcome) ||
		errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrBusy)
}

// brave plays the script although operations fail. It stops at the first request
// whose outcome is open or that is refused; upkeep is tried again once and then
// left. It returns the store, nil if it is not open, and the step it stopped at.
func (p *player) brave(s *disk.Store) (*disk.Store, int, error) {
	for n := range p.script {
		p.goTo(n)
		st := p.script[n]
		switch {
		case st.request != nil:
			result, err := st.request(s, p.clock())
			if refusedAsPromised(err) || failedRead(st, err) {
				return s, n, p.readsGoOn(s, n, err)
			}
			if got := answer(result, err); got != p.want.answers[n] {
				return s, n, fmt.Errorf("step %d, %s: %s, want %s", n, st.what, got, p.want.answers[n])
			}
		case st.upkeep != nil:
			if st.upkeep(s) != nil {
				if err := st.upkeep(s); err != nil && !refusedAsPromised(err) {
					return s, n, fmt.Errorf("step %d, %s again: %w", n, st.what, err)
				}
			}
		case st.reopen:
			_ = s.Close() // an error says that the next start takes longer
			var err error
			if s, err = p.open(); err != nil {
				if s, err = p.open(); err != nil {
					return nil, n, fmt.Errorf("step %d: open again: %w", n, err)
				}
			}
		}
	}
	p.goTo(len(p.script))
	return s, len(p.script), nil
}

// failedRead: what fails once while a file is opened or read may be answered with
// that error.
func failedRead(st step, err error) bool {
	return (errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC)) && strings.HasPrefix(st.what, "read")
}

// readsGoOn checks that reads answer as before a request that failed, or after.
func (p *player) readsGoOn(s *disk.Store, n int, cause error) error {
	got, err := dump(s)
	if err != nil {
		return fmt.Errorf("step %d: after %w: read: %w", n, cause, err)
	}
	if got != p.want.dumps[n] && got != p.want.dumps[n+1] {
		return fmt.Errorf("step %d: after %w: holds\n%swant\n%s", n, cause, got, p.want.dumps[n])
	}
	return nil
}

// Each operation of the file system fails once, in each way.
func TestFault_fileSystem(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC,
		"short": &vfs.ShortWrite{N: 700, Err: syscall.ENOSPC}, "sync": &vfs.FailedSync{Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := life.expect(t)
			for i := int64(0); ; i += int64(every()) {
				var n atomic.Int64
				hook := vfs.All(vfs.Count(&n), vfs.FailNth(i, fault))
				switch fault.(type) {
				case *vfs.ShortWrite:
					hook = vfs.OnKinds(hook, vfs.OpWriteAt)
				case *vfs.FailedSync:
					hook = vfs.OnKinds(hook, vfs.OpSync)
				}
				p := &player{t: t, script: life, want: want, disks: newDisks()}
				p.disks.hook = hook
				if err := p.endure(); err != nil {
					t.Fatalf("operation %d: %v", i, err)
				}
				if n.Load() <= i {
					break
				}
			}
		})
	}
}

// Each operation of the index fails once.
func TestFault_index(t *testing.T) {
	t.Parallel()
	want := life.expect(t)
	for i := 0; ; i += every() {
		n := 0
		p := &player{t: t, script: life, want: want, disks: newDisks()}
		p.failIndex = func() error {
			if n++; n-1 == i {
				return syscall.EIO
			}
			return nil
		}
		if err := p.endure(); err != nil {
			t.Fatalf("operation %d: %v", i, err)
		}
		if n <= i {
			break
		}
	}
}

// endure plays the script while something fails, and then sees what is left of
// it after a restart.
func (p *player) endure() error {
	s, err := p.open()
	if err != nil {
		if s, err = p.open(); err != nil {
			return fmt.Errorf("open again: %w", err)
		}
	}
	s, n, err := p.brave(s)
	if s != nil {
		if quiet := s.CheckQuiet(); err == nil {
			err = quiet
		}
		_ = s.Close() // of a store that may have failed
	}
	if err != nil {
		return err
	}
	p.disks.gate.Lock()
	p.disks.hook = nil
	p.disks.gate.Unlock()
	p.failIndex = nil
	if n == len(p.script) {
		s, err := p.open()
		if err != nil {
			return err
		}
		defer s.Close()
		if got, err := dump(s); err != nil || got != p.want.dumps[n] {
			return fmt.Errorf("at the end: %w, holds\n%swant\n%s", err, got, p.want.dumps[n])
		}
		return p.deleteAll(s)
	}
	_, err = p.survive(crashed{disks: p.disks, next: n}, 0)
	return err
}

// A full disk refuses what needs space and nothing else, and takes appends again
// when there is room, without being opened again.
func TestFault_fullDisk(t *testing.T) {
	t.Parallel()
	p := &player{t: t, disks: newDisks(), now: epoch}
	p.change = func(o *disk.Options) { o.CheckpointSize = 16 << 10 }
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must := func(st step) {
		t.Helper()
		if _, err := st.request(s, epoch); err != nil {
			t.Fatalf("%s: %v", st.what, err)
		}
	}
	must(create("a", text, long("a", 20000)))
	must(create("b", text, "b"))
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	p.disks.fs.SetCapacity(p.disks.fs.Used())
	acknowledged := 1
	for i := 0; ; i++ {
		if i == 1000 {
			t.Fatal("a full disk took a thousand appends")
		}
		_, err := add("b", text, long("b", 1000)).request(s, epoch)
		if err == nil {
			acknowledged += 1000
			if err := s.Checkpoint(); err != nil && !vfs.IsNoSpace(err) {
				t.Fatal(err)
			}
			continue
		}
		if errors.Is(err, store.ErrNoSpace) {
			break
		}
		t.Fatal(err)
	}
	if _, err := add("b", text, "x").request(s, epoch); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("an append to a full disk: %v", err)
	}
	if got, err := content(s, "b"); err != nil || len(got) != acknowledged {
		t.Errorf("%d bytes are left of %d: %v", len(got), acknowledged, err)
	}
	if err := s.Checkpoint(); !vfs.IsNoSpace(err) {
		t.Errorf("a checkpoint on a full disk: %v", err)
	}
	must(remove("a"))
	p.disks.fs.SetCapacity(0)
	if err := s.Checkpoint(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	must(add("b", text, "c"))
	if got, err := content(s, "b"); err != nil || len(got) != acknowledged+1 {
		t.Errorf("%d bytes are left of %d: %v", len(got), acknowledged+1, err)
	}
}

// Below the minimum of free space writes are refused, deletions are not, and what
// they set free comes back although the disk is short of space.
func TestFault_minFreeSpace(t *testing.T) {
	t.Parallel()
	const minimum = 1 << 20
	p := &player{t: t, disks: newDisks(), now: epoch}
	p.disks.fs.SetCapacity(4 << 20)
	p.change = func(o *disk.Options) { o.MinFreeSpace = minimum }
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	for ; ; n++ {
		_, err := create(fmt.Sprint(n), text, long("x", 20000)).request(s, epoch)
		if errors.Is(err, store.ErrNoSpace) {
			break
		}
		if err == nil {
			err = s.Checkpoint()
		}
		if err != nil || n == 1000 {
			t.Fatalf("creation %d: %v", n, err)
		}
	}
	if free, err := p.disks.fs.FreeSpace("/"); err != nil || free < minimum/2 || free > minimum {
		t.Errorf("%d bytes are free when writes are refused, want about %d: %v", free, minimum, err)
	}
	for i := range n {
		if err := s.Delete(bg, fmt.Sprint(i)); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if err := errors.Join(s.Checkpoint(), merge.upkeep(s), s.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := create("new", text, "x").request(s, epoch); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if free, err := p.disks.fs.FreeSpace("/"); err != nil || free < 3<<20 {
		t.Errorf("%d bytes are free after all was deleted: %v", free, err)
	}
}

// A checkpoint that the index could not take is finished later, however often it
// fails, and streams that were deleted meanwhile stay so.
func TestFault_indexFailsAgain(t *testing.T) {
	t.Parallel()
	p := &player{t: t, disks: newDisks(), now: epoch, want: expected{}}
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []step{create("a", text, "a"), create("b", text, "b"), add("b", text, "c", by("p", 0, 0))} {
		if _, err := st.request(s, epoch); err != nil {
			t.Fatal(err)
		}
	}
	failing := true
	p.failIndex = func() error {
		if failing {
			return syscall.EIO
		}
		return nil
	}
	for range 3 {
		if err := s.Checkpoint(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("checkpoint: %v", err)
		}
	}
	if err := s.Delete(bg, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := add("b", text, "d").request(s, epoch); err != nil {
		t.Fatal(err)
	}
	failing = false
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckQuiet(); err != nil {
		t.Error(err)
	}
	for _, lost := range []bool{false, true} {
		after := p.disks.crash(nil, vfs.CrashLoseAll)
		_ = s.Close() // on the disks of before
		p.disks = after
		if lost {
			p.disks.index = index.NewMem()
		}
		if s, err = p.open(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Head(bg, "a"); !strings.HasPrefix(answer("", err), "refused") {
			t.Errorf("a deleted stream is back: %v", err)
		}
		if got, err := content(s, "b"); got != "bcd" || err != nil {
			t.Errorf("b is %q, %v", got, err)
		}
		if got, err := add("b", text, "x", by("p", 0, 0)).request(s, epoch); err != nil || !strings.HasPrefix(got, "2") {
			t.Errorf("a producer's repetition: %q, %v", got, err)
		}
	}
	s.Close()
}
