package storetest

import (
	"fmt"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var deletionTests = []test{
	{"removesStream", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.delete("s")
		f.gone("s", protocol.NotFound)
	}},
	{"missingStream", func(f *fixture) {
		f.refused(f.store.Delete(f.Context(), "s"), protocol.NotFound)
	}},
	{"recreatedStreamIsAnother", func(f *fixture) {
		first := streamOf(text, "old bytes")
		first.Expiry = ttl(100)
		before := f.create("s", first)
		f.accepted("s", withSeq("m", by("p", 4, 0, appendOf(text, "more"))))
		f.accepted("s", closing())
		f.delete("s")
		after := f.create("s", streamOf(json, "1"))
		switch {
		case after.ID == before.ID:
			f.Errorf("the ID %d was used again", after.ID)
		case after.Closed || after.ContentType != json || !after.Expiry.None():
			f.Errorf("the new stream is %+v", after)
		}
		f.holds("s", "1,\n")
		// Neither producer, Stream-Seq nor closure are left over.
		f.accepted("s", withSeq("a", by("p", 0, 0, appendOf(json, "2"))))
		f.holds("s", "1,\n2,\n")
	}},
	{"longerStreamLeavesNothing", func(f *fixture) {
		for i := range 20 {
			body := strings.Repeat(fmt.Sprint(i%10), 3000-100*i)
			f.create("s", streamOf(text, body))
			f.append("s", text, "!")
			f.holds("s", body+"!")
			f.delete("s")
		}
	}},
	{"neighboursStay", func(f *fixture) {
		names := []string{"a", "a/", "a/b", "a/bc", "a//b", "b"}
		for _, name := range names {
			f.create(name, streamOf(text, name))
		}
		f.delete("a/b")
		for _, name := range names {
			if name != "a/b" {
				f.holds(name, name)
			}
		}
	}},
	{"heldChunkStaysItself", func(f *fixture) {
		f.create("s", streamOf(text, strings.Repeat("old ", 1000)))
		chunk, err := f.store.Read(f.Context(), "s", 0, plenty)
		if err != nil {
			f.Fatal(err)
		}
		f.delete("s")
		f.create("s", streamOf(text, strings.Repeat("new!", 1000)))
		var b strings.Builder
		// An in-flight read may end with an error (§5.4), but not with other bytes.
		if err := chunk.WriteRange(&b, 0, chunk.Len()); err == nil && b.String() != strings.Repeat("old ", 1000) {
			f.Errorf("the chunk turned into %s", clip(b.String()))
		}
		if err := chunk.Close(); err != nil {
			f.Error(err)
		}
	}},
	{"concurrentDeletionsRemoveOnce", func(f *fixture) {
		for range 30 {
			f.create("s", streamOf(text, "x"))
			deleted := make([]bool, 4)
			f.parallel(len(deleted), func(i int) error {
				err := f.store.Delete(f.Context(), "s")
				deleted[i] = err == nil
				if hasCode(err, protocol.NotFound) {
					return nil
				}
				return err
			})
			if n := strings.Count(fmt.Sprint(deleted), "true"); n != 1 {
				f.Fatalf("%d deletions of one stream succeeded", n)
			}
		}
	}},
}
