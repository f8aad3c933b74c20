package storetest

import (
	"errors"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

var closeTests = []test{
	{"endsEverything", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		if err := f.store.Close(); err != nil {
			f.Fatalf("Close: %v", err)
		}
		for name, call := range map[string]func() error{
			"Create": func() error { _, _, err := f.put("s", streamOf(text, "abc")); return err },
			"new":    func() error { _, _, err := f.put("t", streamOf(text, "")); return err },
			"Append": func() error { _, err := f.post("s", appendOf(text, "x")); return err },
			"Read":   func() error { _, err := f.store.Read(f.Context(), "s", 0, plenty); return err },
			"Head":   func() error { _, err := f.store.Head(f.Context(), "s"); return err },
			"Delete": func() error { return f.store.Delete(f.Context(), "s") },
			"List":   func() error { _, err := f.store.List(f.Context(), "", "", 1); return err },
		} {
			if err := call(); !errors.Is(err, store.ErrClosed) {
				f.Errorf("%s on a closed store: %v", name, err)
			}
		}
	}},
	{"wakesWatchers", func(f *fixture) {
		f.create("s", lasting(ttl(10), "abc"))
		changed, stop := f.store.Watch("s")
		if err := f.store.Close(); err != nil {
			f.Fatalf("Close: %v", err)
		}
		f.woken(changed)
		stop()
		// A reader that comes too late learns it from its next Read.
		_, stop = f.store.Watch("s")
		stop()
	}},
	{"whileWorking", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		started := make(chan struct{}, 4)
		f.parallel(5, func(i int) error {
			if i == 4 {
				for range 4 {
					<-started
				}
				return f.store.Close()
			}
			for n := 0; ; n++ {
				_, err := f.post("s", appendOf(text, "x"))
				if n == 10 {
					started <- struct{}{}
				}
				switch {
				case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnknownOutcome):
					return nil
				case err != nil:
					return err
				}
			}
		})
	}},
	{"twice", func(f *fixture) {
		if err := f.store.Close(); err != nil {
			f.Fatalf("Close: %v", err)
		}
		if err := f.store.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			f.Errorf("the second Close: %v", err)
		}
	}},
}
