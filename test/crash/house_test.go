package crash

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
)

// house is a furnished server: streams of all sorts, each with what it must
// answer, whatever the server has been through.
type house struct {
	t       *testing.T
	srv     *server
	streams map[string]content
	// probes are requests that change nothing, and their answers.
	probes map[string]probe
	// headers are those of each stream as of mark.
	headers map[string]string
}

type probe struct {
	method, name string
	body         string
	headers      []string
	status       int
	// answer are headers that the response must have, as "Name: value" lines.
	answer []string
}

func newHouse(t *testing.T, srv *server) *house {
	return &house{t: t, srv: srv, streams: make(map[string]content), probes: make(map[string]probe)}
}

func (h *house) create(name, contentType string, body []byte, headers ...string) {
	h.t.Helper()
	r := h.srv.must(h.t, http.StatusCreated, "PUT", name, body, append(headers, "Content-Type: "+contentType)...)
	h.streams[name] = content{http.StatusOK, r.closed(), string(body)}
}

func (h *house) append(name string, body []byte, headers ...string) {
	h.t.Helper()
	r, o := h.srv.change("POST", name, body, headers...)
	s := h.streams[name]
	s.bytes += string(body)
	s.closed = r.closed()
	if o != acknowledged || r.next() != int64(len(s.bytes)) {
		h.t.Fatalf("append to %s: status %d at %d, want a 2xx at %d: %s", name, r.status, r.next(), len(s.bytes), short(r.body))
	}
	h.streams[name] = s
}

func (h *house) fork(name, source string, at int, body []byte, headers ...string) {
	h.t.Helper()
	h.srv.must(h.t, http.StatusCreated, "PUT", name, body,
		append(headers, "Stream-Forked-From: /v1/stream/"+source, "Stream-Fork-Offset: "+offset(int64(at)))...)
	h.streams[name] = content{status: http.StatusOK, bytes: h.streams[source].bytes[:at] + string(body)}
}

// delete deletes a stream, which from then on has the status.
func (h *house) delete(name string, status int) {
	h.t.Helper()
	h.srv.must(h.t, http.StatusNoContent, "DELETE", name, nil)
	h.streams[name] = content{status: status}
}

// probe makes a request that must have this answer now and later.
func (h *house) probe(p probe) {
	h.t.Helper()
	key := fmt.Sprint(p.method, p.name, p.headers)
	h.probes[key] = p
	h.ask(p)
}

func (h *house) ask(p probe) {
	h.t.Helper()
	r := h.srv.must(h.t, p.status, p.method, p.name, []byte(p.body), p.headers...)
	for _, line := range p.answer {
		if got := headerLine(r.header, line); got != line {
			h.t.Fatalf("%s %s: %q, want %q", p.method, p.name, got, line)
		}
	}
}

// furnish makes streams of all sorts below a folder of names.
func (h *house) furnish(folder string) {
	h.t.Helper()
	in := func(name string) string { return folder + "/" + name }
	text := func(name string, size int) []byte { return payload(typeText, in(name), size) }
	for i := range 30 {
		name := in(fmt.Sprintf("plain/%d", i))
		h.create(name, typeText, text(name, 100*i))
		for j := range i % 4 {
			h.append(name, payload(typeText, fmt.Sprint(name, j), 1+700*j))
		}
	}
	h.create(in("bytes"), typeBinary, payload(typeBinary, in("bytes"), 300<<10))
	h.append(in("bytes"), payload(typeBinary, in("more"), 100<<10), "Content-Type: "+typeBinary)
	h.create(in("empty"), typeText, nil)

	h.create(in("json"), typeJSON, nil)
	body, stored := batch(in("json"), 5, 100)
	r := h.srv.must(h.t, http.StatusNoContent, "POST", in("json"), body, "Content-Type: "+typeJSON)
	h.streams[in("json")] = content{status: http.StatusOK, bytes: string(stored)}
	if r.next() != int64(len(stored)) {
		h.t.Fatalf("a batch was acknowledged at %d, want %d", r.next(), len(stored))
	}

	h.create(in("closed/at-once"), typeText, text("c1", 2000), "Stream-Closed: true")
	h.create(in("closed/empty"), typeText, nil)
	h.append(in("closed/empty"), nil, "Stream-Closed: true")
	h.create(in("closed/later"), typeText, text("c2", 10))
	h.append(in("closed/later"), text("c3", 900), "Stream-Closed: true")
	for _, name := range []string{"closed/at-once", "closed/empty", "closed/later"} {
		h.probe(probe{method: "POST", name: in(name), body: "more", status: http.StatusConflict, answer: []string{"Stream-Closed: true"}})
		h.probe(probe{method: "POST", name: in(name), headers: []string{"Stream-Closed: true"}, status: http.StatusNoContent})
	}

	h.create(in("seq"), typeText, nil)
	h.append(in("seq"), text("s1", 50), "Stream-Seq: b")
	h.probe(probe{method: "POST", name: in("seq"), body: "again", headers: []string{"Stream-Seq: b"}, status: http.StatusConflict})
	h.probe(probe{method: "POST", name: in("seq"), body: "no", headers: []string{"If-Match: " + offset(1)}, status: http.StatusPreconditionFailed})

	h.create(in("produced"), typeText, nil)
	producer := func(id string, epoch, seq int) []string {
		return []string{"Producer-Id: " + id, fmt.Sprintf("Producer-Epoch: %d", epoch), fmt.Sprintf("Producer-Seq: %d", seq)}
	}
	for i := range 5 {
		for _, id := range []string{"a", "b", "c"} {
			h.append(in("produced"), text(fmt.Sprint("p", id, i), 30*i), producer(id, 2, i)...)
		}
	}
	h.append(in("produced"), text("epoch 3", 30), producer("a", 3, 0)...)
	h.probe(probe{method: "POST", name: in("produced"), body: "again", headers: producer("a", 3, 0), status: http.StatusNoContent, answer: []string{"Producer-Seq: 0"}})
	h.probe(probe{method: "POST", name: in("produced"), body: "again", headers: producer("b", 2, 3), status: http.StatusNoContent, answer: []string{"Producer-Seq: 4"}})
	h.probe(probe{method: "POST", name: in("produced"), body: "late", headers: producer("a", 2, 5), status: http.StatusForbidden, answer: []string{"Producer-Epoch: 3"}})
	h.probe(probe{method: "POST", name: in("produced"), body: "early", headers: producer("c", 2, 7), status: http.StatusConflict, answer: []string{"Producer-Expected-Seq: 5"}})
	h.create(in("produced-and-closed"), typeText, nil)
	h.append(in("produced-and-closed"), text("last", 40), append(producer("a", 0, 0), "Stream-Closed: true")...)
	h.probe(probe{method: "POST", name: in("produced-and-closed"), body: "again", headers: append(producer("a", 0, 0), "Stream-Closed: true"), status: http.StatusNoContent})

	h.create(in("ttl"), typeText, text("ttl", 60), "Stream-TTL: 3600")
	h.probe(probe{method: "HEAD", name: in("ttl"), status: http.StatusOK, answer: []string{"Stream-TTL: 3600"}})
	h.create(in("expires"), typeText, text("expires", 60), "Stream-Expires-At: 2100-01-01T00:00:00Z")
	h.probe(probe{method: "HEAD", name: in("expires"), status: http.StatusOK, answer: []string{"Stream-Expires-At: 2100-01-01T00:00:00Z"}})

	// a <- b <- c <- d, of which b and c are deleted.
	h.create(in("fork/a"), typeText, text("fa", 5000))
	h.fork(in("fork/b"), in("fork/a"), 4000, text("fb", 1000))
	h.append(in("fork/b"), text("fb2", 1000))
	h.fork(in("fork/c"), in("fork/b"), 4500, text("fc", 100))
	h.fork(in("fork/d"), in("fork/c"), 4555, text("fd", 100))
	h.fork(in("fork/e"), in("fork/a"), 0, nil)
	h.append(in("fork/a"), text("fa2", 1000)) // which no fork has
	h.delete(in("fork/b"), http.StatusGone)
	h.delete(in("fork/c"), http.StatusGone)
	for _, name := range []string{"fork/b", "fork/c"} {
		h.probe(probe{method: "PUT", name: in(name), status: http.StatusConflict})
		h.probe(probe{method: "POST", name: in(name), body: "x", status: http.StatusGone})
		h.probe(probe{method: "DELETE", name: in(name), status: http.StatusGone})
		h.probe(probe{
			method: "PUT", name: in("fork/of-a-deleted-one"), headers: []string{"Stream-Forked-From: /v1/stream/" + in(name)},
			status: http.StatusConflict,
		})
	}

	for i := range 10 {
		name := in(fmt.Sprintf("deleted/%d", i))
		h.create(name, typeText, text(name, 300))
		h.delete(name, http.StatusNotFound)
		if i%2 == 0 {
			h.create(name, typeJSON, []byte("[]"))
			h.streams[name] = content{status: http.StatusOK}
		}
	}
}

// rearrange changes what furnish has made.
func (h *house) rearrange(folder string) {
	h.t.Helper()
	in := func(name string) string { return folder + "/" + name }
	for i := range 30 {
		name := in(fmt.Sprintf("plain/%d", i))
		switch i % 5 {
		case 0:
			h.delete(name, http.StatusNotFound)
		case 1: // the same name, and the same length, but other bytes
			size := len(h.streams[name].bytes)
			h.delete(name, http.StatusNotFound)
			h.create(name, typeText, payload(typeText, "again", max(size, 10))[:size])
		case 2:
			h.append(name, payload(typeText, name+"later", 500))
		case 3:
			h.append(name, payload(typeText, name+"last", 5), "Stream-Closed: true")
		}
	}
	for i := range 10 {
		name := in(fmt.Sprintf("deleted/%d", i))
		if i%2 == 0 {
			h.delete(name, http.StatusNotFound)
		} else {
			h.create(name, typeText, payload(typeText, name, 70))
		}
	}
	h.append(in("bytes"), payload(typeBinary, in("even more"), 50<<10), "Content-Type: "+typeBinary)
	h.delete(in("fork/a"), http.StatusGone)
	h.append(in("fork/e"), payload(typeText, in("fe"), 50))
}

// vacate ends the forks: what was deleted before them goes with them.
func (h *house) vacate(folder string) {
	h.t.Helper()
	in := func(name string) string { return folder + "/" + name }
	for key, p := range h.probes {
		if slices.Contains([]string{in("fork/b"), in("fork/c"), in("fork/of-a-deleted-one")}, p.name) {
			delete(h.probes, key)
		}
	}
	h.delete(in("fork/d"), http.StatusNotFound)
	h.streams[in("fork/b")] = content{status: http.StatusNotFound}
	h.streams[in("fork/c")] = content{status: http.StatusNotFound}
	h.check()
	h.create(in("fork/b"), typeText, payload(typeText, in("new b"), 77))
	h.check()
}

// mark notes the streams' headers, which must not change by themselves.
func (h *house) mark() {
	h.t.Helper()
	h.check()
	h.headers = h.read()
}

// check asks the server for everything.
func (h *house) check() {
	h.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(h.streams)) {
		if got, want := h.srv.read(h.t, name), h.streams[name]; got != want {
			h.t.Fatalf("%s: %s\nwant %s\n%s", name, got, want, difference([]byte(got.bytes), []byte(want.bytes)))
		}
	}
	for _, p := range h.probes {
		h.ask(p)
	}
	if h.headers == nil {
		return
	}
	for name, got := range h.read() {
		if want := h.headers[name]; got != want {
			h.t.Fatalf("%s:\n%s\nwas\n%s", name, got, want)
		}
	}
}

// read returns the status and headers of all streams.
func (h *house) read() map[string]string {
	h.t.Helper()
	all := make(map[string]string)
	for name := range h.streams {
		r, err := h.srv.do("GET", name, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		r.header.Del("Date")
		r.header.Del("Cache-Control") // which says how long the stream may live
		all[name] = fmt.Sprint(r.status, r.header)
	}
	return all
}
