package server

import (
	"net/http"
	"strconv"
	"time"
)

// maxAge is how long caches keep data of a stream that does not end before (§10.1).
const maxAge = 60 * time.Second

// cacheControl returns how long caches may keep data of a stream that ends at
// expires, or never if that is the zero time. Bytes at a position never change,
// so the bound is not freshness but life: no cache should outlive the stream
// (§5.6). A request with credentials gets what only its sender may keep.
func cacheControl(request http.Header, expires, now time.Time) string {
	scope := "public"
	if request["Authorization"] != nil || request["Cookie"] != nil {
		scope = "private"
	}
	if expires.IsZero() || expires.Sub(now) >= maxAge {
		if scope == "private" {
			return "private, max-age=60, stale-while-revalidate=300"
		}
		return "public, max-age=60, stale-while-revalidate=300"
	}
	seconds := int64(expires.Sub(now) / time.Second)
	if seconds <= 0 {
		return noStore
	}
	return scope + ", max-age=" + strconv.FormatInt(seconds, 10)
}
