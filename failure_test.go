package durablestreams_test

import (
	"net/http"
	"strings"
	"testing"
)

func failingSite() string { return testSite(name(), failRead) }

// failures are the statuses of readErrors.
var failures = []struct {
	stream string
	status int
	retry  bool
	text   string
}{
	{"broken", 500, false, "the server could not carry out the request"},
	{"corrupt", 500, false, "the server could not carry out the request"},
	{"busy", 503, true, "the server cannot carry out the request now; try again later"},
	{"full", 507, false, "the server has no space left for data"},
}

func TestFailure_status(t *testing.T) {
	c := start(t, failingSite())
	for _, want := range failures {
		got := status(t, want.status, "GET", c.url("/v1/stream/"+want.stream), "")
		checkFailure(t, got, want.retry)
		if got.body != "" {
			t.Errorf("%s: body %q", want.stream, got.body)
		}
	}
	logged := c.logged()
	for _, part := range []string{`"msg":"request failed"`, errTestEngine.Error(), "/secret/path is damaged at byte 1", `"status":507`} {
		if !strings.Contains(logged, part) {
			t.Errorf("the log has no %s", part)
		}
	}
}

func TestFailure_handleErrors(t *testing.T) {
	c := start(t, failingSite()+"handle_errors {\n\theader X-Handled yes\n\trespond \"{err.status_code}: {err.message}\"\n}")
	for _, want := range failures {
		got := status(t, want.status, "GET", c.url("/v1/stream/"+want.stream), "")
		checkFailure(t, got, want.retry)
		if got.Header.Get("X-Handled") != "yes" || !strings.HasSuffix(got.body, want.text) {
			t.Errorf("%s: X-Handled %q, body %q; want one that ends with %q", want.stream, got.Header.Get("X-Handled"), got.body, want.text)
		}
	}
	// What a client did wrong is answered by the handler itself.
	if got := status(t, http.StatusNotFound, "GET", c.url("/v1/stream/"+name()), ""); got.Header.Get("X-Handled") != "" || got.body == "" {
		t.Errorf("a 404 went through handle_errors, body %q", got.body)
	}
}

// checkFailure checks what every failed response has, whoever writes it.
func checkFailure(t *testing.T, got answer, retry bool) {
	t.Helper()
	if has := got.Header.Get("Retry-After") != ""; has != retry {
		t.Errorf("status %d: Retry-After is %q", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if got.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("status %d: scripts of other origins cannot read it", got.StatusCode)
	}
	if got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d: Cache-Control is %q", got.StatusCode, got.Header.Get("Cache-Control"))
	}
	for name, values := range got.Header {
		if strings.Contains(strings.Join(values, " "), "secret") {
			t.Errorf("status %d: %s tells the cause: %q", got.StatusCode, name, values)
		}
	}
	if strings.Contains(got.body, "secret") {
		t.Errorf("status %d: the body tells the cause: %q", got.StatusCode, got.body)
	}
}
