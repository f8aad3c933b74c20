package durablestreams

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// streamURL returns the URL under which the client knows the request's stream:
// that of the request before any rewrite. What a proxy says about the client's
// request counts only if the server's trusted_proxies include that proxy.
func streamURL(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		u.Path, u.RawPath = original.URL.Path, original.URL.RawPath
	}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		switch proto := forwarded(r, "X-Forwarded-Proto"); proto {
		case "http", "https":
			u.Scheme = proto
		}
		if host := forwarded(r, "X-Forwarded-Host"); isHost(host) {
			u.Host = host
		}
	}
	if u.Host == "" {
		u.Scheme = "" // HTTP/1.0 knows no host: the path is all there is
	}
	return u.String()
}

// stripped returns what routes, such as handle_path, took from the front of the
// path that the client sent.
func stripped(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return ""
	}
	prefix, ok := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !ok {
		return "" // rewritten in another way
	}
	return prefix
}

// forwarded returns the header's first value, which the proxy next to the client
// has set.
func forwarded(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}

// isHost reports whether s can be the host of a URL, with or without a port.
func isHost(s string) bool {
	u, err := url.Parse("http://" + s)
	return err == nil && s != "" && u.Host == s
}
