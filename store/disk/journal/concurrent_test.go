package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Everything at once, until somebody closes the journal or it fails.
func TestConcurrent_untilTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Journal, *gate) error{
		"close": func(j *Journal, _ *gate) error { return j.Close() },
		"failure": func(j *Journal, g *gate) error {
			g.close() // its matches fail
			<-j.done
			if err := j.Close(); !errors.Is(err, vfs.ErrInjected) {
				return errors.Join(errors.New("close after a failure"), err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMem(t, vfs.MemOptions{})
			g := newGate(isBatch)
			fs := vfs.Inject(m, func(op vfs.Op) error {
				g.mu.Lock()
				defer g.mu.Unlock()
				if g.shut && g.match(op) {
					return vfs.ErrInjected
				}
				return nil
			})
			j, _ := mustOpen(t, fs, testOptions(), 0)
			var (
				mu     sync.Mutex
				acked  = map[uint64][]byte{}
				work   sync.WaitGroup
				begun  = make(chan struct{}, 1000)
				random = func(w, i int) int { return (w*7919 + i*104729) % 5000 }
			)
			for w := range 8 {
				work.Go(func() {
					for i := 0; ; i++ {
						record := content(w, uint64(i), 1+random(w, i))
						r, err := j.Reserve(context.Background(), len(record), i%5 == 0)
						if err == nil && i%11 == 0 {
							j.Cancel(r)
							continue
						}
						p, o := &Pending{Body: record}, newOutcome()
						p.Target = o
						if err == nil {
							err = j.Submit(p, r)
						}
						if err == nil {
							if err = o.wait(); err == nil {
								mu.Lock()
								acked[p.LSN()] = record
								mu.Unlock()
							}
						}
						if err != nil {
							if !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
								t.Errorf("writer %d: %v", w, err)
							}
							return
						}
						select {
						case begun <- struct{}{}:
						default:
						}
					}
				})
			}
			work.Go(func() {
				for i := 0; j.Err() == nil; i++ {
					j.SetSyncInterval(time.Duration(i%3) * time.Millisecond)
					if s := j.Stats(); s.Files < 1 || s.Records > 0 && s.Batches == 0 {
						t.Errorf("stats %+v", s)
					}
					o := newOutcome()
					if err := j.Submit(&Pending{Target: o}, Reservation{}); err == nil {
						if err := o.wait(); err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
							t.Error(err)
						}
					}
					j.Release(0)
				}
			})
			for range 300 {
				<-begun
			}
			if err := end(j, g); err != nil {
				t.Error(err)
			}
			work.Wait()
			g.release()
			j, got := mustOpen(t, m, testOptions(), 0)
			last := uint64(len(got.records))
			for lsn, record := range acked {
				if lsn > last || string(got.records[lsn-1]) != string(record) {
					t.Errorf("record %d of %d was acknowledged", lsn, last)
				}
			}
			mustClose(t, j)
		})
	}
}
