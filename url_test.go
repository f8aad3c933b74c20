package durablestreams

import (
	"net/http/httptest"
	"testing"
)

// A request of HTTP/1.0 may name no host.
func TestStreamURL_withoutHost(t *testing.T) {
	r := httptest.NewRequest("PUT", "/v1/stream/a%20b", nil)
	r.Host = ""
	if got := streamURL(r); got != "/v1/stream/a%20b" {
		t.Errorf("Location is %q", got)
	}
}
