package storetest

import (
	"fmt"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func durableForks(f *durableFixture) {
	f.create("a", streamOf(text, "0123456789"))
	f.fork("b", atOffset("a", 6))
	f.append("b", text, "bbb")
	f.restart()
	f.fork("c", atSub("b", 6, 1))
	f.fork("inherited", atOffset("b", 3))
	f.append("a", text, "aaa")
	f.append("c", text, "ccc")
	f.accepted("b", closing())
	f.create("json", streamOf(json, "[1,2,3]"))
	f.forkWith("jsonfork", atSub("json", 3, 1), protocol.CreateRequest{}, `"own"`)
	for range 2 {
		f.restart()
		f.holds("a", "0123456789aaa")
		f.holds("b", "012345bbb")
		f.holds("c", "012345bccc")
		f.holds("inherited", "012")
		f.holds("jsonfork", "1,\n2,\n\"own\",\n")
		for from := range len("012345bccc") + 1 {
			f.checkFragment("c", "012345bccc", from, 4)
		}
		// Repeated creations find the fork as it was asked for.
		for name, from := range map[string]forkOf{"b": atOffset("a", 6), "c": atSub("b", 6, 1), "jsonfork": atSub("json", 3, 1)} {
			_, created, err := f.putFork(name, from, protocol.CreateRequest{Closed: name == "b"}, "")
			if created || err != nil {
				f.Fatalf("the repeated fork %q: %v, %v", name, created, err)
			}
		}
		_, _, err := f.putFork("c", atOffset("b", 7), protocol.CreateRequest{}, "")
		f.refused(err, protocol.ConfigMismatch)
	}
	// A chain, lengthened after every restart.
	want := "0;"
	f.create("chain0", streamOf(text, want))
	for i := 1; i <= 60; i++ {
		name := fmt.Sprintf("chain%d", i)
		f.fork(name, atTail(fmt.Sprintf("chain%d", i-1)))
		f.append(name, text, fmt.Sprintf("%d;", i))
		want += fmt.Sprintf("%d;", i)
		if i%20 == 0 {
			f.restart()
			f.holds(name, want)
		}
	}
}

func durableReferences(f *durableFixture) {
	names := []string{"a", "b", "c", "d"}
	f.create("a", streamOf(text, "a"))
	for i, name := range names[1:] {
		f.fork(name, atTail(names[i]))
		f.append(name, text, name)
		f.restart()
	}
	for _, name := range names[:3] {
		f.delete(name)
		f.restart()
		f.blocked(name)
	}
	f.holds("d", "abcd")
	if names := f.listAll("", 10); len(names) != 1 {
		f.Fatalf("List returned %q", names)
	}
	f.fork("e", atOffset("d", 2))
	f.delete("d")
	f.restart()
	f.blocked("d")
	f.blocked("a")
	f.holds("e", "ab")
	f.delete("e")
	f.restart()
	for _, name := range names {
		f.free(name)
		f.holds(name, "new")
	}
	// A fork that goes first leaves nothing behind.
	f.fork("f", atTail("a"))
	f.delete("f")
	f.restart()
	f.delete("a")
	f.create("a", streamOf(text, "again"))
	f.restart()
	f.holds("a", "again")
}
