package durablestreams_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// patience is how long a test waits for what must happen. It is no measure of how
// long that takes.
const patience = 60 * time.Second

// runAsCaddy makes this test's binary a Caddy, for tests that need processes.
const runAsCaddy = "DURABLE_STREAMS_TEST_RUN_AS_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(runAsCaddy) != "" {
		caddycmd.Main()
		return
	}
	// A connection that stays open may be closed by a reload just when it is used.
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	var err error
	if caddyHome, err = os.MkdirTemp("", "durable-streams-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(caddyHome) // Caddy may be writing to it still.
	os.Exit(code)
}

// caddyHome is where Caddy keeps what is its own.
var caddyHome string

var lastName atomic.Int64

// name returns a name that no test has used: stores in memory live on while a
// request of an earlier test runs.
func name() string { return "n" + strconv.FormatInt(lastName.Add(1), 10) }

// quietLogging drops all logs.
func quietLogging() *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}},
	}}
}

// instance is the Caddy in this process. There can be one at a time.
type instance struct {
	t *testing.T
	// addr is where the site listens.
	scheme, addr, log string
	// global are further lines of the global options.
	global string
}

func newInstance(t *testing.T) *instance {
	c := &instance{t: t, scheme: "http", addr: freeAddr(t), log: filepath.Join(t.TempDir(), "caddy.log")}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		if log := c.logged(); t.Failed() {
			t.Logf("the end of Caddy's log:\n%s", log[max(0, len(log)-8<<10):])
		}
	})
	return c
}

// start returns an instance that runs the site, given as the lines of its block.
func start(t *testing.T, site string) *instance {
	t.Helper()
	c := newInstance(t)
	c.load(site)
	return c
}

// caddyfile returns a Caddyfile with one site.
func (c *instance) caddyfile(site string) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	storage file_system %s
	log {
		output file %s
		level DEBUG
	}
	%s
}
%s://%s {
	%s
}
`, caddyHome, c.log, c.global, c.scheme, c.addr, site)
}

// load runs the site, in place of the one before.
func (c *instance) load(site string) {
	c.t.Helper()
	if err := c.tryLoad(site); err != nil {
		c.t.Fatal(err)
	}
}

func (c *instance) tryLoad(site string) error {
	c.t.Helper()
	config, err := adapt(c.caddyfile(site))
	if err != nil {
		c.t.Fatal(err)
	}
	return caddy.Load(config, true)
}

func (c *instance) url(path string) string { return c.scheme + "://" + c.addr + path }

func (c *instance) logged() string {
	data, err := os.ReadFile(c.log)
	if err != nil {
		c.t.Error(err)
	}
	return string(data)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answer is a response read to its end.
type answer struct {
	*http.Response
	body string
}

// header is a request's headers as "Name: value" lines.
type header []string

// send sends a request and reads the whole response.
func send(t *testing.T, client *http.Client, method, url, body string, lines header) answer {
	t.Helper()
	res := open(t, client, method, url, body, lines)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{res, string(data)}
}

// open sends a request and leaves the response's body to the caller. It tries
// again when the connection was reset: around a reload, the kernel gives connections
// to the socket of the old server too, and resets those that were not accepted
// when that socket is closed.
func open(t *testing.T, client *http.Client, method, url, body string, lines header) *http.Response {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		res, err := client.Do(newRequest(t, method, url, body, lines))
		if err == nil {
			return res
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) || time.Now().After(deadline) {
			t.Fatalf("%s %s: %v", method, url, err)
		}
	}
}

func newRequest(t *testing.T, method, url, body string, lines header) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	if (method == "PUT" || method == "POST") && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "text/plain")
	}
	return req
}

// status sends a request and fails the test unless the response has the status.
func status(t *testing.T, want int, method, url, body string, lines ...string) answer {
	t.Helper()
	res := send(t, http.DefaultClient, method, url, body, lines)
	if res.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d; body: %s", method, url, res.StatusCode, want, res.body)
	}
	return res
}

// event is a server-sent event.
type event struct{ name, data string }

// events sends the events of a response to a channel, which it closes at the end.
func events(res *http.Response) <-chan event {
	out := make(chan event)
	go func() {
		defer close(out)
		var e event
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ":")
			switch name {
			case "event":
				e.name = strings.TrimSpace(value)
			case "data":
				e.data += strings.TrimPrefix(value, " ")
			case "":
				if e.name != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	return out
}

// within receives from a channel. It fails the test if nothing comes for a long
// time; ok is false if the channel is closed.
func within[T any](t *testing.T, what string, from <-chan T) (value T, ok bool) {
	t.Helper()
	select {
	case value, ok = <-from:
		return value, ok
	case <-time.After(patience):
		t.Fatalf("nothing happened for %s: %s", patience, what)
		panic("unreachable")
	}
}

// drain receives until the channel is closed.
func drain[T any](t *testing.T, what string, from <-chan T) (all []T) {
	t.Helper()
	for {
		value, ok := within(t, what, from)
		if !ok {
			return all
		}
		all = append(all, value)
	}
}
