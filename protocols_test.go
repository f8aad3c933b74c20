package durablestreams_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// TestHTTPVersions reads and appends over TLS with each version of HTTP, while
// one reader of each waits for events.
func TestHTTPVersions(t *testing.T) {
	c := newInstance(t)
	c.scheme = "https"
	c.load("tls " + certificate(t) + "\nlog\nencode\ndurable_streams")
	// Each transport changes its own.
	trustAll := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
	h1, h2 := new(http.Protocols), new(http.Protocols)
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	h3 := &http3.Transport{TLSClientConfig: trustAll()}
	defer h3.Close()
	clients := []struct {
		proto     string
		transport http.RoundTripper
	}{
		{"HTTP/1.1", &http.Transport{TLSClientConfig: trustAll(), Protocols: h1}},
		{"HTTP/2.0", &http.Transport{TLSClientConfig: trustAll(), Protocols: h2}},
		{"HTTP/3.0", h3},
	}
	url := c.url("/v1/stream/" + name())
	created := send(t, &http.Client{Transport: clients[0].transport}, "PUT", url, "", nil)
	if created.StatusCode != http.StatusCreated || created.Header.Get("Location") != url {
		t.Fatalf("PUT: status %d, Location %q", created.StatusCode, created.Header.Get("Location"))
	}
	readers := make(map[string]<-chan event)
	for _, version := range clients {
		sse := open(t, &http.Client{Transport: version.transport}, "GET", url+"?offset=-1&live=sse", "", nil)
		defer sse.Body.Close()
		readers[version.proto] = events(sse)
		within(t, "first control event", readers[version.proto])
	}
	var want strings.Builder
	for _, version := range clients {
		text := "by " + version.proto
		want.WriteString(text)
		client := &http.Client{Transport: version.transport}
		if res := send(t, client, "POST", url, text, nil); res.StatusCode != http.StatusNoContent || res.Proto != version.proto {
			t.Fatalf("POST: status %d over %s, want 204 over %s", res.StatusCode, res.Proto, version.proto)
		}
		if res := send(t, client, "GET", url, "", nil); res.body != want.String() {
			t.Errorf("%s: read %q, want %q", version.proto, res.body, &want)
		}
		for proto, live := range readers {
			for _, expect := range []event{{"data", text}, {"control", ""}} {
				if e, _ := within(t, "event over "+proto, live); e.name != expect.name || expect.data != "" && e.data != expect.data {
					t.Errorf("%s: event %+v, want %+v", proto, e, expect)
				}
			}
		}
	}
}

// certificate returns the names of two files, with a certificate and its key.
func certificate(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pair.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file + " " + file
}
