package protocol_test

import (
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestContentType_modes(t *testing.T) {
	for contentType, want := range map[string]struct {
		json, text bool
		enc        protocol.SSEEncoding
	}{
		"application/json":                 {true, true, protocol.SSEJSON},
		"Application/JSON":                 {true, true, protocol.SSEJSON},
		"application/json; charset=utf-8":  {true, true, protocol.SSEJSON},
		"application/json ;charset=utf-8":  {true, true, protocol.SSEJSON},
		" application/json ":               {true, true, protocol.SSEJSON},
		"text/plain":                       {false, true, protocol.SSEText},
		"TEXT/HTML;q=1":                    {false, true, protocol.SSEText},
		"text/":                            {false, false, protocol.SSEBase64},
		"textual/plain":                    {false, false, protocol.SSEBase64},
		"application/ndjson":               {false, false, protocol.SSEBase64},
		"application/vnd.api+json":         {false, false, protocol.SSEBase64},
		"application/jsonp":                {false, false, protocol.SSEBase64},
		"application/octet-stream":         {false, false, protocol.SSEBase64},
		"image/png; note=application/json": {false, false, protocol.SSEBase64},
		"application/octet-stream; text/x": {false, false, protocol.SSEBase64},
		"":                                 {false, false, protocol.SSEBase64},
	} {
		if got := protocol.IsJSON(contentType); got != want.json {
			t.Errorf("IsJSON(%q) is %v", contentType, got)
		}
		if got := protocol.IsText(contentType); got != want.text {
			t.Errorf("IsText(%q) is %v", contentType, got)
		}
		if got := protocol.SSEEncodingFor(contentType); got != want.enc {
			t.Errorf("SSEEncodingFor(%q) is %v", contentType, got)
		}
	}
}

func TestSameContentType_ignoresCaseAndParameters(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"text/plain", "text/plain", true},
		{"text/plain", "Text/PLAIN; charset=utf-8", true},
		{"text/plain;a=b", "text/plain ; c=d", true},
		{"text/plain", "text/html", false},
		{"text/plain", "text/plain2", false},
		{"text/plain", "", false},
		{"application/json", "application/ndjson", false},
	} {
		if protocol.SameContentType(c.a, c.b) != c.want || protocol.SameContentType(c.b, c.a) != c.want {
			t.Errorf("%q and %q: want %v", c.a, c.b, c.want)
		}
	}
}

func TestParseCreate_contentTypeForm(t *testing.T) {
	for contentType, ok := range map[string]bool{
		"a/b": true, "application/vnd.api+json": true, "x-!#$%&'*+-.^_`|~/y": true, "a/b;": true, "a/b; c": true, " a/b ": true,
		"a/b; c=\"d;e\"": true, "a/" + strings.Repeat("b", 510): true,
		"a": false, "/": false, "a/": false, "/b": false, "a/b/c": false, "a b/c": false, "a/b c": false, ";": false, "; a/b": false,
		"a/b, c/d": false, "a/\x00": false, "a/é": false, "*/*": true, "a/b\n": true, "a\n/b": false, "(a)/b": false,
		"a/" + strings.Repeat("b", 511): false,
	} {
		_, refusal := protocol.ParseCreate(headers("Content-Type", contentType), "", base)
		if (refusal == nil) != ok {
			t.Errorf("Content-Type %q: %v", contentType, refusal)
		}
	}
}
