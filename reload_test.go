package durablestreams_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	durablestreams "github.com/caddy-durable-streams/caddy-durable-streams"
)

// engineBlocks are blocks of durable_streams for each storage engine.
func engineBlocks(t *testing.T) map[string]string {
	return map[string]string{
		"memory": "storage memory {\n\t\tname " + name() + "\n\t}",
		"disk":   "data_dir " + t.TempDir() + "\n\tmin_free_space 1MiB",
	}
}

func TestReload_keepsStreams(t *testing.T) {
	for engine, block := range engineBlocks(t) {
		t.Run(engine, func(t *testing.T) {
			c := start(t, "durable_streams {\n\t"+block+"\n\tlong_poll_timeout 1s\n}")
			url := c.url("/v1/stream/a")
			status(t, http.StatusCreated, "PUT", url, "one")
			for i := range 3 {
				c.load(fmt.Sprintf("log\nhandle_path /v%d/* {\n\tdurable_streams {\n\t\t%s\n\t\tlong_poll_timeout %ds\n\t}\n}", i, block, i+2))
				url := c.url(fmt.Sprintf("/v%d/a", i))
				status(t, http.StatusNoContent, "POST", url, "two")
				if got, want := status(t, http.StatusOK, "GET", url, "").body, "one"+strings.Repeat("two", i+1); got != want {
					t.Fatalf("after reload %d: %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestReload_underLoad(t *testing.T) {
	const writers, reloads = 4, 10
	for engine, block := range engineBlocks(t) {
		t.Run(engine, func(t *testing.T) {
			site := func(i int) string {
				return fmt.Sprintf("durable_streams {\n\t%s\n\tlong_poll_timeout %ds\n}", block, i+1)
			}
			c := start(t, site(0))
			stop := make(chan struct{})
			acked := make([]int, writers)
			var running sync.WaitGroup
			for w := range writers {
				url := c.url(fmt.Sprintf("/v1/stream/load-%d", w))
				status(t, http.StatusCreated, "PUT", url, "")
				running.Go(func() { acked[w] = produce(t, url, stop) })
			}
			for i := range reloads {
				c.load(site(i + 1))
			}
			close(stop)
			running.Wait()
			for w, n := range acked {
				var want strings.Builder
				for i := range n {
					fmt.Fprintf(&want, "%d\n", i)
				}
				if got := status(t, http.StatusOK, "GET", c.url(fmt.Sprintf("/v1/stream/load-%d", w)), "").body; got != want.String() {
					t.Errorf("writer %d: %d bytes read, %d bytes acknowledged", w, len(got), want.Len())
				}
			}
		})
	}
}

// produce appends numbered lines as an idempotent producer until stop is closed,
// at least one, and returns how many were acknowledged.
func produce(t *testing.T, url string, stop <-chan struct{}) (n int) {
	for {
		for {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(fmt.Sprintf("%d\n", n)))
			if err != nil {
				t.Error(err)
				return n
			}
			req.Header.Set("Content-Type", "text/plain")
			req.Header.Set("Producer-Id", "p")
			req.Header.Set("Producer-Epoch", "0")
			req.Header.Set("Producer-Seq", fmt.Sprint(n))
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				continue // The connection's server was replaced.
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent {
				break
			}
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("append %d: status %d: %s", n, res.StatusCode, body)
				return n
			}
		}
		n++
		select {
		case <-stop:
			return n
		default:
		}
	}
}

// TestReload_endsReaders has readers that would stay for a day.
func TestReload_endsReaders(t *testing.T) {
	site := func(i int) string {
		return fmt.Sprintf("durable_streams {\n\tlong_poll_timeout 1h\n\tsse_reconnect_interval 24h\n\tsse_heartbeat %dh\n}", i)
	}
	c := start(t, site(1))
	url := c.url("/v1/stream/" + name())
	next := status(t, http.StatusCreated, "PUT", url, "one").Header.Get("Stream-Next-Offset")
	sse := open(t, http.DefaultClient, "GET", url+"?offset="+next+"&live=sse", "", nil)
	defer sse.Body.Close()
	live := events(sse)
	within(t, "first control event", live)
	c.load(site(2))
	ended := drain(t, "end of the SSE response", live)
	if len(ended) == 0 || ended[len(ended)-1].name != "control" {
		t.Errorf("the SSE response ended with %+v, want a control event", ended)
	}
	if got := status(t, http.StatusOK, "GET", url, "").body; got != "one" {
		t.Errorf("after the reload: %q", got)
	}
}

func testSite(key, mode string) string {
	return "durable_streams {\n\tstorage test_engine " + key + " " + mode + "\n}\n"
}

func TestReload_appliesOptions(t *testing.T) {
	key := name()
	c := start(t, testSite(key, "first"))
	st := openTestStore(key)
	c.load(testSite(key, "second"))
	if openTestStore(key) != st {
		t.Fatal("the store was opened again")
	}
	if got := st.currentMode(); got != "second" {
		t.Errorf("mode is %q, want second", got)
	}
	// The store must take what any of its handlers accepts.
	c.load("handle_path /a/* {\n" + testSite(key, "second") + "}\nhandle {\n" +
		strings.Replace(testSite(key, "second"), "storage", "max_append_size 64MiB\n\tstorage", 1) + "}")
	if st.maxAppendSize != 64*durablestreams.MiB {
		t.Errorf("the greatest append is %s, want 64MiB", st.maxAppendSize)
	}
	c.load("respond gone")
	if openTestStore(key) != nil {
		t.Error("the store is open, and no config uses it")
	}
}

func TestReload_refusesOptions(t *testing.T) {
	key := name()
	c := start(t, testSite(key, "first"))
	st := openTestStore(key)
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream/a"), "one")
	err := c.tryLoad(testSite(key, failLive))
	want := "mode cannot become fail_reconfigure while " + key + " is open"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	if openTestStore(key) != st || st.currentMode() != "first" {
		t.Errorf("the store is in mode %q or another one", st.currentMode())
	}
	if got := status(t, http.StatusOK, "GET", c.url("/v1/stream/a"), "").body; got != "one" {
		t.Errorf("the config before serves %q", got)
	}
}

func TestReload_diskOptions(t *testing.T) {
	dir := t.TempDir()
	site := func(options string) string {
		return "durable_streams {\n\tdata_dir " + dir + "\n\tmin_free_space 1MiB\n\t" + options + "\n}"
	}
	c := start(t, site("max_file_handles 10"))
	url := c.url("/v1/stream/a")
	status(t, http.StatusCreated, "PUT", url, "one")
	c.load(site("max_file_handles 20\n\tdurability interval 10ms\n\tsegment_size 1GiB"))
	status(t, http.StatusNoContent, "POST", url, "two")
	err := c.tryLoad(site("max_append_size 1GiB"))
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "restart the server") {
		t.Errorf("a greater max_append_size got %v", err)
	}
	status(t, http.StatusNoContent, "POST", url, "three")
	c.load("durable_streams {\n\tdata_dir " + dir + "\n\tmin_free_space 1048576GiB\n}")
	status(t, http.StatusInsufficientStorage, "POST", url, "four")
	c.load(site(""))
	status(t, http.StatusNoContent, "POST", url, "five")
	if got := status(t, http.StatusOK, "GET", url, "").body; got != "onetwothreefive" {
		t.Errorf("read %q", got)
	}
}

// TestReload_takesOptionsBack loads a config whose second store does not open,
// after its options were applied to the first.
func TestReload_takesOptionsBack(t *testing.T) {
	key := name()
	c := start(t, testSite(key, "first"))
	st := openTestStore(key)
	err := c.tryLoad("handle /a/* {\n" + testSite(key, "second") + "}\nhandle {\n" + testSite(key+"/other", failOpen) + "}")
	if err == nil || !strings.Contains(err.Error(), errTestEngine.Error()) {
		t.Fatalf("got %v, want the engine's error", err)
	}
	if openTestStore(key) != st {
		t.Fatal("the store was opened again")
	}
	if got := st.currentMode(); got != "first" {
		t.Errorf("mode is %q, want first", got)
	}
	c.load(testSite(key, "third"))
	if got := st.currentMode(); got != "third" {
		t.Errorf("mode is %q, want third", got)
	}
}

func TestStart_failsWithTheStore(t *testing.T) {
	key := name()
	c := newInstance(t)
	err := c.tryLoad(testSite(key, failOpen))
	if err == nil || !strings.Contains(err.Error(), errTestEngine.Error()) {
		t.Fatalf("got %v, want the engine's error", err)
	}
	c.load(testSite(key, ""))
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream/a"), "one")
}

// TestReload_requestOutlivesItsConfig has an append that is still sending its
// body when its store disappears from the config.
func TestReload_requestOutlivesItsConfig(t *testing.T) {
	key := name()
	c := start(t, testSite(key, ""))
	url := c.url("/v1/stream/a")
	status(t, http.StatusCreated, "PUT", url, "")
	body, writer := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: patience}}
	defer client.CloseIdleConnections()
	statuses := make(chan int, 1)
	go func() {
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			statuses <- 0
			return
		}
		_ = res.Body.Close()
		statuses <- res.StatusCode
	}()
	// The transport reads the body only once the handler asks for it.
	if _, err := writer.Write([]byte("begun, ")); err != nil {
		t.Fatal(err)
	}
	st := openTestStore(key)
	c.load("respond gone")
	if openTestStore(key) != st {
		t.Fatal("the store was closed under a request")
	}
	if _, err := writer.Write([]byte("ended")); err != nil {
		t.Error(err)
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
	if got, _ := within(t, "append", statuses); got != http.StatusNoContent {
		t.Errorf("the append got status %d", got)
	}
	for deadline := time.Now().Add(patience); openTestStore(key) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the store stays open after its last request")
		}
	}
}

// TestReload_logsFollowTheConfig checks that a store does not go on writing to
// the log of the config that opened it.
func TestReload_logsFollowTheConfig(t *testing.T) {
	key := name()
	c := start(t, testSite(key, "first"))
	before := c.logged()
	if want := `"msg":"opened","store":"` + key + `"`; !strings.Contains(before, want) {
		t.Errorf("no %s in the log:\n%s", want, before)
	}
	old := c.log
	c.log += ".new"
	c.load(testSite(key, "second"))
	openTestStore(key).log.Warn("repaired")
	if !strings.Contains(c.logged(), `"msg":"repaired","store":"`+key+`"`) {
		t.Error("the store does not log where the new config wants it")
	}
	c.log = old
	if strings.Contains(c.logged(), "repaired") {
		t.Error("the store logs where the old config wanted it")
	}
}
