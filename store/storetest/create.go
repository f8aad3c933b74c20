package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var createTests = []test{
	{"describesNewStream", func(f *fixture) {
		r := streamOf("Text/Plain; charset=utf-8", "hello")
		r.Expiry = ttl(60)
		info := f.create("s", r)
		switch {
		case info.Name != "s" || info.ID == 0 || info.ContentType != "Text/Plain; charset=utf-8",
			info.Tail != 5 || info.Closed || !info.Expiry.Equal(ttl(60)),
			!info.ExpiresAt.Equal(f.clock.Now().Add(time.Minute)):
			f.Errorf("Create returned %+v", info)
		}
		if head := f.head("s"); !sameInfo(head, info) {
			f.Errorf("Head returned %+v, Create %+v", head, info)
		}
		f.holds("s", "hello")
	}},
	{"defaultsContentType", func(f *fixture) {
		if got := f.create("s", protocol.CreateRequest{}).ContentType; got != protocol.DefaultContentType {
			f.Errorf("the content type is %q", got)
		}
	}},
	{"flattensJSONBody", func(f *fixture) {
		f.create("s", streamOf(json, ` [ {"a" : 1} , [2, 3] ] `))
		f.holds("s", "{\"a\":1},\n[2,3],\n")
		f.create("empty", streamOf(json, "[]"))
		f.holds("empty", "")
	}},
	{"closedWithBodyIsComplete", func(f *fixture) {
		r := streamOf(text, "all of it")
		r.Closed = true
		if info := f.create("s", r); !info.Closed || info.Tail != 9 {
			f.Errorf("Create returned %+v", info)
		}
		if p := f.read("s", 0, plenty); string(p.data) != "all of it" || !p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
		_, err := f.post("s", appendOf(text, "more"))
		f.refused(err, protocol.StreamClosed)
	}},
	{"repeatedFindsSameStream", func(f *fixture) {
		first := f.create("s", streamOf(text, "once"))
		f.append("s", text, " more")
		again, created, err := f.put("s", streamOf(text, "once"))
		if err != nil || created || again.ID != first.ID || again.Tail != 9 {
			f.Errorf("the second Create returned %+v, %v, %v", again, created, err)
		}
		f.holds("s", "once more")
	}},
	{"matchesConfiguration", createMatch},
	{"refusedBodyCreatesNothing", func(f *fixture) {
		_, _, err := f.put("s", streamOf(json, `{"a":`))
		f.refused(err, protocol.InvalidJSON)
		f.gone("s", protocol.NotFound)
		f.create("s", streamOf(text, ""))
	}},
	{"keepsNamesByteForByte", func(f *fixture) {
		names := []string{
			"a", "A", "a/", "a/b", "a//b", "a/b/", "a b", "ä", "a\u0308", "日本", "gid://app/Room/1/messages",
			"%2F", "a?b", "a\\b", "__registry__", ".a", "a.", "..a", strings.Repeat("n", 1024), strings.Repeat("n", 1023),
		}
		for _, name := range names {
			f.create(name, streamOf(text, name))
		}
		for _, name := range names {
			f.holds(name, name)
		}
	}},
	{"concurrentCreatesOneStream", func(f *fixture) {
		const workers = 8
		for round := range 20 {
			name := fmt.Sprintf("s%d", round)
			ids := make([]uint64, workers)
			created := make([]bool, workers)
			f.parallel(workers, func(i int) error {
				info, ok, err := f.put(name, streamOf(text, "body"))
				ids[i], created[i] = info.ID, ok
				return err
			})
			made := 0
			for i := range workers {
				if ids[i] != ids[0] {
					f.Fatalf("creations of one stream returned the IDs %v", ids)
				}
				if created[i] {
					made++
				}
			}
			if made != 1 {
				f.Fatalf("%d of %d concurrent creations made the stream", made, workers)
			}
			f.holds(name, "body")
		}
	}},
	{"neverRepeatsID", func(f *fixture) {
		seen := make(map[uint64]bool)
		for i := range 100 {
			name := fmt.Sprintf("s%d", i%10)
			id := f.create(name, streamOf(text, "")).ID
			if seen[id] {
				f.Fatalf("the ID %d was used twice", id)
			}
			seen[id] = true
			f.delete(name)
		}
	}},
}

// createMatch is the table of §5.1: a repeated PUT succeeds exactly if content
// type, expiry and closure are the existing stream's.
func createMatch(f *fixture) {
	at := f.clock.Now().Add(time.Hour)
	plain := protocol.CreateRequest{ContentType: text}
	with := func(e protocol.Expiry) protocol.CreateRequest {
		return protocol.CreateRequest{ContentType: text, Expiry: e}
	}
	closed := protocol.CreateRequest{ContentType: text, Closed: true}
	expires := with(protocol.Expiry{At: at})
	for i, c := range []struct {
		clause        string
		first, second protocol.CreateRequest
		matches       bool
	}{
		{"same", plain, plain, true},
		{"type without parameters", plain, protocol.CreateRequest{ContentType: "text/plain;charset=utf-8"}, true},
		{"type in other case", plain, protocol.CreateRequest{ContentType: "TEXT/Plain"}, true},
		{"other type", plain, protocol.CreateRequest{ContentType: "text/html"}, false},
		{"omitted type is the default", protocol.CreateRequest{}, protocol.CreateRequest{ContentType: binary}, true},
		{"omitted type is not any type", plain, protocol.CreateRequest{}, false},
		{"same TTL", with(ttl(60)), with(ttl(60)), true},
		{"other TTL", with(ttl(60)), with(ttl(61)), false},
		{"TTL added", plain, with(ttl(60)), false},
		{"TTL omitted", with(ttl(60)), plain, false},
		{"TTL against expiry", with(ttl(3600)), expires, false},
		{"same expiry", expires, expires, true},
		{"same instant in another zone", expires, with(protocol.Expiry{At: at.In(time.FixedZone("", 3600))}), true},
		{"other expiry", expires, with(protocol.Expiry{At: at.Add(time.Second)}), false},
		{"expiry omitted", expires, plain, false},
		{"closed both times", closed, closed, true},
		{"closed at first only", closed, plain, false},
		{"closed the second time only", plain, closed, false},
	} {
		f.sub(c.clause, func(f *fixture) {
			name := fmt.Sprintf("s%d", i)
			id := f.create(name, c.first).ID
			info, created, err := f.put(name, c.second)
			if !c.matches {
				f.refused(err, protocol.ConfigMismatch)
			} else if err != nil || created || info.ID != id {
				f.Fatalf("Create returned %+v, %v, %v", info, created, err)
			}
			if got := f.head(name).ID; got != id {
				f.Errorf("the stream was replaced: ID %d, was %d", got, id)
			}
		})
	}
	f.sub("closed since by POST", func(f *fixture) {
		f.create("later", plain)
		f.accepted("later", closing())
		_, _, err := f.put("later", plain)
		f.refused(err, protocol.ConfigMismatch)
		if _, created, err := f.put("later", closed); created || err != nil {
			f.Errorf("Create of the closed stream: %v, %v", created, err)
		}
	})
}
