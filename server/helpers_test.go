package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

const (
	base     = "/v1/stream/"
	octets   = "application/octet-stream"
	jsonType = "application/json"
	text     = "text/plain"
)

// world is a handler over a store in memory.
type world struct {
	store   store.Store
	handler *server.Handler
	http    http.Handler
}

// clock is the time in a synctest bubble, in a year in which cursors count.
func clock() time.Time { return time.Now().AddDate(30, 0, 0) }

func newWorld(t testing.TB, cfg server.Config) *world {
	t.Helper()
	now := cfg.Now
	if now == nil {
		now = clock
	}
	st := memory.New(memory.Options{Now: now})
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return newWorldOn(t, st, cfg)
}

func newWorldOn(t testing.TB, st store.Store, cfg server.Config) *world {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = clock
	}
	if cfg.Report == nil {
		cfg.Report = func(r *http.Request, err error) { t.Errorf("%s %s: %v", r.Method, r.URL, err) }
	}
	h := server.New(st, cfg)
	return &world{st, h, h.HTTPHandler()}
}

// newRequest returns a request for a stream. Headers are given as name, value,
// name, value.
func newRequest(method, target, body string, headers ...string) *http.Request {
	if !strings.HasPrefix(target, "/") {
		target = base + target
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body string
}

// do carries out a request and checks what holds for every answer.
func (w *world) do(t testing.TB, r *http.Request) response {
	t.Helper()
	rec := httptest.NewRecorder()
	w.http.ServeHTTP(rec, r)
	return checkResponse(t, r.Method, rec.Result())
}

func (w *world) call(t testing.TB, method, target, body string, headers ...string) response {
	t.Helper()
	return w.do(t, newRequest(method, target, body, headers...))
}

// must is call for a request that prepares a test.
func (w *world) must(t testing.TB, method, target, body string, headers ...string) response {
	t.Helper()
	got := w.call(t, method, target, body, headers...)
	if got.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s", method, target, got.StatusCode, got.body)
	}
	return got
}

// checkResponse reads the body and checks what holds for every answer.
func checkResponse(t testing.TB, method string, r *http.Response) response {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("reading the body: %v", err)
	}
	got := response{r, string(body)}
	for name, value := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "cross-origin",
	} {
		if v := r.Header.Values(name); len(v) != 1 || v[0] != value {
			t.Errorf("%s = %q, want %q", name, v, value)
		}
	}
	if r.Header.Get("Access-Control-Expose-Headers") == "" {
		t.Error("no Access-Control-Expose-Headers")
	}
	switch {
	case r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified || method == http.MethodHead:
		if got.body != "" {
			t.Errorf("status %d to %s has the body %q", r.StatusCode, method, got.body)
		}
	case r.StatusCode >= 400 && r.StatusCode < 499:
		code, detail, ok := strings.Cut(strings.TrimSuffix(got.body, "\n"), ": ")
		if !ok || strings.ContainsAny(code, " \n") || len(detail) < 10 || strings.Contains(detail, "\n") || !strings.HasSuffix(got.body, "\n") {
			t.Errorf("status %d has the body %q, want a code and one sentence", r.StatusCode, got.body)
		}
		got.header(t, "Content-Type", "text/plain; charset=utf-8", "Cache-Control", "no-store")
	}
	return got
}

// header checks headers given as name, value; an empty value means absent.
func (r response) header(t testing.TB, headers ...string) {
	t.Helper()
	for i := 0; i < len(headers); i += 2 {
		name, want := headers[i], headers[i+1]
		switch v := r.Header.Values(name); {
		case want == "" && len(v) > 0:
			t.Errorf("%s = %q, want none", name, v)
		case want != "" && (len(v) != 1 || v[0] != want):
			t.Errorf("%s = %q, want %q", name, v, want)
		}
	}
}

// step is a request and what its answer must be.
type step struct {
	method, target, body string
	headers              []string
	status               int
	want                 []string // headers, as for response.header
	wantBody             string   // checked for successes
}

// scenario is a sequence of requests, named by the clause that it tests.
type scenario struct {
	name  string
	steps []step
}

// run carries out each scenario on a store of its own.
func run(t *testing.T, cfg server.Config, scenarios []scenario) {
	t.Helper()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			w := newWorld(t, cfg)
			for i, s := range sc.steps {
				got := w.call(t, s.method, s.target, s.body, s.headers...)
				if got.StatusCode != s.status {
					t.Fatalf("step %d, %s %s: status %d (%s), want %d", i, s.method, s.target, got.StatusCode, strings.TrimSpace(got.body), s.status)
				}
				got.header(t, s.want...)
				if s.status < 300 && got.body != s.wantBody {
					t.Errorf("step %d, %s %s: body %q, want %q", i, s.method, s.target, got.body, s.wantBody)
				}
			}
		})
	}
}

// h makes a list of headers.
func h(pairs ...string) []string { return pairs }

// at returns the token of a position below ten.
func at(digit string) string { return "000000000000000" + digit + "_0000000000000000" }
