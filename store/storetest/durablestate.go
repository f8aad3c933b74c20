package storetest

import (
	"fmt"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const codeSeqRegression = protocol.SeqRegression

func durableBytes(f *durableFixture) {
	want := map[string]*strings.Builder{}
	add := func(name, contentType, body string) {
		f.append(name, contentType, body)
		want[name].WriteString(body)
	}
	for _, name := range []string{"small", "large", "many", "empty"} {
		want[name] = &strings.Builder{}
		f.create(name, streamOf(binary, ""))
	}
	f.create("json", streamOf(json, `[1, {"a": "b"}]`))
	f.create("body", streamOf(text, strings.Repeat("body", 10_000)))
	check := func() {
		f.Helper()
		for name, b := range want {
			f.holds(name, b.String())
		}
		f.holds("json", "1,\n{\"a\":\"b\"},\n")
		f.holds("body", strings.Repeat("body", 10_000))
	}
	for round := range 3 {
		add("small", binary, "\x00\xff\r\n")
		add("large", binary, strings.Repeat(string(rune('a'+round)), 400_000))
		for i := range 300 {
			add("many", binary, fmt.Sprintf("%d.%d ", round, i))
		}
		f.restart()
		check()
	}
	content := want["large"].String()
	for from := 0; from < len(content); from += 99_991 {
		f.checkFragment("large", content, from, 70_000)
	}
	f.checkMessages("json", "1,\n{\"a\":\"b\"},\n", 3, 1)
	f.checkMessages("json", "1,\n{\"a\":\"b\"},\n", 4, 1)
}

func durableDescriptions(f *durableFixture) {
	names := []string{"a", "a/", "a//b", "ä", "a b", "gid://app/Room/1/messages", strings.Repeat("n", 1024)}
	infos := make(map[string]store.Info)
	for i, name := range names {
		r := streamOf("Text/Plain; charset=utf-8", strings.Repeat("x", i))
		if i%3 == 1 {
			r.Expiry = ttl(1000 * i)
		}
		if i%3 == 2 {
			r.Expiry = protocol.Expiry{At: f.clock.Now().Add(1000 * second).Add(1)}
		}
		r.Closed = i%2 == 1
		infos[name] = f.create(name, r)
	}
	infos["default"] = f.create("default", protocol.CreateRequest{})
	f.restart()
	for _, info := range infos {
		got := f.head(info.Name)
		info.ExpiresAt = got.ExpiresAt // with a TTL it may be later: see "ttl"
		f.same(info)
	}
	for i, name := range names {
		f.holds(name, strings.Repeat("x", i))
	}
	// A repeated creation still finds its stream (§5.1).
	if _, created, err := f.put("default", protocol.CreateRequest{}); created || err != nil {
		f.Errorf("Create: %v, %v", created, err)
	}
	// Neither old nor new streams share an ID.
	seen := make(map[uint64]string)
	for _, info := range infos {
		seen[info.ID] = info.Name
	}
	for i := range 20 {
		info := f.create(fmt.Sprintf("new%d", i), streamOf(text, ""))
		if other, taken := seen[info.ID]; taken {
			f.Fatalf("%q has the ID %d of %q", info.Name, info.ID, other)
		}
		seen[info.ID] = info.Name
		if i%5 == 0 {
			f.restart()
		}
	}
}

func durableProducers(f *durableFixture) {
	long := strings.Repeat("é", 128)
	f.create("s", streamOf(text, ""))
	f.create("t", streamOf(text, ""))
	f.accepted("s", by("p", 0, 0, appendOf(text, "a")))
	f.accepted("s", by("p", 0, 1, appendOf(text, "b")))
	f.accepted("s", by(long, maxProducerInt, 0, appendOf(text, "c")))
	f.accepted("s", by("q", 3, 0, appendOf(text, "d")))
	f.accepted("s", by("q", 4, 0, appendOf(text, "e")))
	check := func() {
		f.Helper()
		f.duplicate("s", by("p", 0, 1, appendOf(text, "b")), 0, 1)
		f.duplicate("s", by("p", 0, 0, appendOf(text, "a")), 0, 1)
		f.duplicate("s", by(long, maxProducerInt, 0, appendOf(text, "c")), maxProducerInt, 0)
		if r := f.refusedAppend("s", by("q", 3, 1, appendOf(text, "x")), protocol.StaleEpoch); r.Epoch != 4 {
			f.Fatalf("the refusal names the epoch %d", r.Epoch)
		}
		if r := f.refusedAppend("s", by("p", 0, 3, appendOf(text, "x")), protocol.SequenceGap); r.Expected != 2 {
			f.Fatalf("the refusal expects %d", r.Expected)
		}
		f.refusedAppend("t", by("p", 0, 2, appendOf(text, "x")), protocol.SequenceGap)
		f.holds("s", "abcde")
	}
	f.restart()
	check()
	f.restart()
	check()
	f.accepted("s", by("p", 0, 2, appendOf(text, "f")))
	// Many producers, of which a few go on after each restart.
	const producers = 300
	for i := range producers {
		f.accepted("t", by(fmt.Sprint(i), 0, 0, appendOf(text, "x")))
	}
	for round := range int64(3) {
		f.restart()
		for i := 0; i < producers; i += 30 {
			f.accepted("t", by(fmt.Sprint(i), 0, round+1, appendOf(text, "y")))
		}
	}
	f.restart()
	for i := range producers {
		seq := int64(0)
		if i%30 == 0 {
			seq = 3
		}
		f.duplicate("t", by(fmt.Sprint(i), 0, seq, appendOf(text, "x")), 0, seq)
	}
	f.duplicate("s", by("p", 0, 2, appendOf(text, "f")), 0, 2)
	f.holds("t", strings.Repeat("x", producers)+strings.Repeat("y", 3*producers/30))
}

func durableClosure(f *durableFixture) {
	f.create("plain", streamOf(text, "abc"))
	f.accepted("plain", closing())
	f.create("deduplicated", streamOf(text, ""))
	last := by("p", 1, 0, appendOf(text, "abc"))
	last.Close = true
	f.accepted("deduplicated", last)
	complete := streamOf(text, "abc")
	complete.Closed = true
	f.create("complete", complete)
	f.create("empty", protocol.CreateRequest{ContentType: text, Closed: true})
	for range 2 {
		f.restart()
		for _, name := range []string{"plain", "deduplicated", "complete"} {
			if p := f.read(name, 0, plenty); string(p.data) != "abc" || !p.atEnd {
				f.Fatalf("%q: Read returned %+v", name, p)
			}
			f.refusedAppend(name, appendOf(text, "x"), protocol.StreamClosed)
			if res, err := f.post(name, closing()); err != nil || res.Outcome != protocol.AlreadyClosed {
				f.Fatalf("%q: Append returned %+v, %v", name, res, err)
			}
			refusal := f.refusedAppend(name, by("p", 1, 1, appendOf(text, "x")), protocol.StreamClosed)
			if refusal.Tail != 3 || !refusal.Closed {
				f.Fatalf("%q: the refusal is %+v", name, refusal)
			}
		}
		f.duplicate("deduplicated", last, 1, 0)
		f.refusedAppend("plain", last, protocol.StreamClosed)
		if p := f.read("empty", 0, plenty); !p.atEnd {
			f.Fatalf("Read returned %+v", p)
		}
	}
}

func durableDeletion(f *durableFixture) {
	f.create("gone", streamOf(text, "old"))
	old := f.create("replaced", streamOf(text, "old content"))
	f.accepted("replaced", by("p", 5, 0, closing()))
	f.delete("gone")
	f.delete("replaced")
	f.create("replaced", streamOf(json, "1"))
	f.create("twice", streamOf(text, "x"))
	f.restart()
	f.gone("gone", protocol.NotFound)
	f.holds("replaced", "1,\n")
	if info := f.head("replaced"); info.ID == old.ID || info.Closed || info.ContentType != json {
		f.Errorf("the new stream is %+v", info)
	}
	f.accepted("replaced", by("p", 0, 0, appendOf(json, "2")))
	f.delete("twice")
	f.create("twice", streamOf(text, "yz"))
	f.restart()
	f.gone("gone", protocol.NotFound)
	f.holds("replaced", "1,\n2,\n")
	f.holds("twice", "yz")
	f.create("gone", streamOf(text, "new"))
	f.restart()
	f.holds("gone", "new")
}
