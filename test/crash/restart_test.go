package crash

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestRestart restarts a server that has streams of all sorts.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(*server)
	}{{"stopped", (*server).stop}, {"killed", (*server).kill}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, "segment_size 1MiB")
			restart := func() {
				t.Helper()
				test.end(srv)
				srv.start()
			}
			srv.start()
			h := newHouse(t, srv)
			h.furnish("one")
			h.mark()
			restart()
			h.check()
			restart() // also without a change
			h.check()
			h.headers = nil
			h.rearrange("one")
			h.furnish("two")
			h.mark()
			restart()
			h.check()
			h.headers = nil
			h.vacate("one")
			h.mark()
			restart()
			h.check()
			if got := srv.warnings(); len(got) > 0 {
				t.Errorf("the last start logged %+v", got)
			}
		})
	}
}

// TestRestart_expiry has streams whose time ends while no server runs.
func TestRestart_expiry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(*server)
	}{{"stopped", (*server).stop}, {"killed", (*server).kill}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			srv.start()
			const ttl = 3 * time.Second
			var ends time.Time // by then all that expire are over
			over := []string{"ttl", "ttl/read", "ttl/appended", "at", "ttl/closed"}
			create := func(name string, headers ...string) {
				srv.must(t, http.StatusCreated, "PUT", name, []byte("in time"), headers...)
			}
			seconds := fmt.Sprintf("Stream-TTL: %d", ttl/time.Second)
			first := time.Now()
			create("ttl", seconds)
			create("ttl/read", seconds)
			create("ttl/appended", seconds)
			create("ttl/closed", seconds, "Stream-Closed: true")
			at := first.Add(ttl).UTC()
			create("at", "Stream-Expires-At: "+at.Format(time.RFC3339Nano))
			create("ttl/long", "Stream-TTL: 600")
			create("at/long", "Stream-Expires-At: "+first.Add(10*time.Minute).UTC().Format(time.RFC3339Nano))
			create("fork/source", seconds)
			srv.must(t, http.StatusCreated, "PUT", "fork", []byte(" too"), "Stream-Forked-From: /v1/stream/fork/source", "Stream-TTL: 600")

			// A restart takes nothing from a stream's time.
			test.end(srv)
			srv.start()
			alive := func(name, want string) {
				t.Helper()
				asked := time.Now()
				r, err := srv.do("GET", name, nil)
				if err != nil {
					t.Fatal(err)
				}
				if answered := time.Now(); r.status == http.StatusNotFound && answered.Sub(first) >= ttl {
					t.Skipf("this machine took %v, so %s may be over", answered.Sub(first), name)
				}
				if r.status != http.StatusOK || string(r.body) != want {
					t.Fatalf("%s: status %d and %s after %v", name, r.status, short(r.body), asked.Sub(first))
				}
			}
			for _, name := range over {
				if name != "ttl" { // which nobody reads
					alive(name, "in time")
				}
			}
			srv.must(t, http.StatusNoContent, "POST", "ttl/appended", []byte(" and more"))
			alive("ttl/appended", "in time and more")
			test.end(srv)
			// A recovered stream may live a tenth of its TTL longer.
			ends = time.Now().Add(ttl + ttl/10)
			time.Sleep(time.Until(ends)) // its time has to pass
			srv.start()
			for _, name := range over {
				for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
					srv.must(t, http.StatusNotFound, method, name, []byte("late"))
				}
				create(name) // the name is free
			}
			for _, name := range []string{"ttl/long", "at/long"} {
				srv.expect(t, name, "in time")
			}
			srv.expect(t, "fork", "in time too")
			test.end(srv)
			srv.start()
			srv.expect(t, "fork", "in time too")
			for _, name := range over {
				srv.expect(t, name, "in time")
			}
		})
	}
}

// expect reads an open stream that must hold want.
func (s *server) expect(t *testing.T, name, want string) {
	t.Helper()
	if got := s.read(t, name); got != (content{http.StatusOK, false, want}) {
		t.Fatalf("%s: %s\nwant %s", name, got, short([]byte(want)))
	}
}
