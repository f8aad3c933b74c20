package crash

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestManyStreams restarts a server that has made very many small streams.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	n := orDefault(*streamsFlag, 100_000, 20_000)
	// A checkpoint then comes after some 7000 streams.
	srv := newServer(t, "segment_size 4MiB")
	srv.start()
	name := func(i int) string { return fmt.Sprintf("many/%d/%d", i%100, i) }
	body := func(i int) string { return fmt.Sprintf("stream %d %s", i, strings.Repeat("-", i%50)) }
	begin := time.Now()
	srv.each(t, n, func(i int) (string, string, string, string) {
		return "PUT", name(i), "", body(i)
	}, has(http.StatusCreated, ""))
	took := time.Since(begin)
	t.Logf("%d streams made in %v, %.0f a second", n, took, float64(n)/took.Seconds())
	srv.kill()

	// Each creation is one record of the journal.
	checkpoints := lines(srv.log(), says("checkpoint written"))
	if len(checkpoints) == 0 {
		t.Fatal("no checkpoint was written")
	}
	written := int(checkpoints[len(checkpoints)-1].LSN)
	srv.start()
	replays := lines(srv.log(), says("journal replayed"))
	if len(replays) != 1 || replays[0].Records > n-written {
		t.Errorf("the start replayed %+v, want at most %d records", replays, n-written)
	} else {
		t.Logf("start after the kill: %v, %d records replayed", srv.starts[1], replays[0].Records)
	}
	step := max(1, n/10_000)
	spread := func() {
		t.Helper()
		srv.each(t, n/step, func(i int) (string, string, string, string) {
			return "GET", name(i * step), "", ""
		}, func(i int) (int, string) { return http.StatusOK, body(i * step) })
		srv.each(t, 100, func(i int) (string, string, string, string) {
			return "GET", name(n + i), "", ""
		}, has(http.StatusNotFound, ""))
	}
	spread()

	// A stream that is there cannot be made again, and one that is not can.
	srv.each(t, n/step, func(i int) (string, string, string, string) {
		return "PUT", name(i * step), "", body(i * step)
	}, has(http.StatusOK, ""))
	srv.stop()
	srv.start()
	t.Logf("start after the stop: %v", srv.starts[2])
	if replays := lines(srv.log(), says("journal replayed")); len(replays) > 0 {
		t.Errorf("after a stop, the start replayed %+v", replays)
	}
	spread()
}
