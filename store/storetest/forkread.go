package storetest

import (
	"fmt"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var forkReadTests = []test{
	{"stitchesAtEveryOffset", func(f *fixture) {
		f.create("a", streamOf(text, "0123456789"))
		f.fork("b", atOffset("a", 6))
		f.append("b", text, "abcdef")
		f.fork("c", atOffset("b", 9))
		f.append("c", text, "ABCDEF")
		content := "012345abcABCDEF"
		f.holds("c", content)
		for from := range len(content) + 1 {
			for maxBytes := 1; maxBytes <= len(content)+1; maxBytes++ {
				f.checkFragment("c", content, from, maxBytes)
			}
		}
	}},
	{"forkOfForkAtInheritedPosition", func(f *fixture) {
		f.create("a", streamOf(text, "0123456789"))
		f.fork("b", atOffset("a", 8))
		f.append("b", text, "bbbb")
		for at, want := range map[protocol.Offset]string{0: "", 3: "012", 8: "01234567", 9: "01234567b", 12: "01234567bbbb"} {
			name := fmt.Sprintf("c%d", at)
			f.fork(name, atOffset("b", at))
			f.holds(name, want)
			f.append(name, text, "+c")
			f.holds(name, want+"+c")
			f.fork("d"+name, atOffset(name, at/2))
			f.append("d"+name, text, "+d")
			f.holds("d"+name, want[:at/2]+"+d")
		}
		f.holds("b", "01234567bbbb")
	}},
	{"isolatesBothWays", func(f *fixture) {
		f.create("a", streamOf(text, "common"))
		f.fork("b", atTail("a"))
		f.fork("c", atTail("a"))
		for i := range 5 {
			f.append("a", text, fmt.Sprintf("-a%d", i))
			f.append("b", text, fmt.Sprintf("-b%d", i))
		}
		f.accepted("c", closing())
		f.append("a", text, "!")
		f.accepted("b", closing())
		f.holds("a", "common-a0-a1-a2-a3-a4!")
		f.holds("b", "common-b0-b1-b2-b3-b4")
		f.holds("c", "common")
	}},
	{"wholeMessagesAcrossBoundary", func(f *fixture) {
		f.create("a", streamOf(json, `[1, "two", {"three": 3}]`))
		f.fork("b", atSub("a", 0, 2))
		f.append("b", json, `[["four"], 5]`)
		f.fork("c", atSub("b", 3, 2))
		f.append("c", json, `"six"`)
		content := "1,\n\"two\",\n[\"four\"],\n\"six\",\n"
		f.holds("c", content)
		for from := range len(content) + 1 {
			for maxBytes := 1; maxBytes <= len(content)+1; maxBytes++ {
				f.checkMessages("c", content, from, maxBytes)
			}
		}
	}},
	{"unchangedByLifeOfSource", func(f *fixture) {
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atOffset("a", 2))
		f.append("a", text, strings.Repeat("x", 100_000))
		f.holds("b", "ab")
		f.accepted("a", closing())
		f.holds("b", "ab")
		f.delete("a")
		f.append("b", text, "!")
		f.holds("b", "ab!")
	}},
	{"offsetsPastForkPointAreItsOwn", func(f *fixture) {
		f.create("a", streamOf(text, "abcdef"))
		f.fork("b", atOffset("a", 3))
		_, err := readFragment(f.Context(), f.store, "b", 4, plenty)
		f.refused(err, protocol.InvalidOffset)
		if p := f.read("b", 3, plenty); len(p.data) != 0 || !p.atTail {
			f.Errorf("Read returned %+v", p)
		}
	}},
	{"chainOfThousand", forkChain},
	{"largeStitch", func(f *fixture) {
		want := strings.Repeat("0123456789", 20_000)
		f.create("s0", streamOf(binary, want))
		for i := 1; i <= 5; i++ {
			at := len(want) - 7777*i
			name := fmt.Sprintf("s%d", i)
			f.fork(name, atOffset(fmt.Sprintf("s%d", i-1), protocol.Offset(at)))
			body := strings.Repeat(string(rune('a'+i)), 30_000)
			f.append(name, binary, body)
			want = want[:at] + body
			f.holds(name, want)
		}
		for from := 0; from < len(want); from += 9973 {
			f.checkFragment("s5", want, from, 50_000)
		}
	}},
}

// forkChain reads through a thousand forks, then takes every other link away.
func forkChain(f *fixture) {
	const depth = 1000
	link := func(i int) string { return fmt.Sprintf("link/%d", i) }
	want := "0;"
	f.create(link(0), streamOf(text, want))
	for i := 1; i <= depth; i++ {
		f.fork(link(i), atTail(link(i-1)))
		body := fmt.Sprintf("%d;", i)
		f.append(link(i), text, body)
		want += body
	}
	last := link(depth)
	f.holds(last, want)
	for _, from := range []int{1, 2, len(want) / 2, len(want) - 1} {
		f.checkFragment(last, want, from, 10)
		f.checkFragment(last, want, from, plenty)
	}
	for i := 0; i < depth; i += 2 {
		f.delete(link(i))
	}
	f.holds(last, want)
	for i := 1; i < depth; i += 2 {
		f.delete(link(i))
	}
	f.holds(last, want)
	// The last fork held them all: with it the whole chain goes.
	f.delete(last)
	f.gone(last, protocol.NotFound)
	for i := range depth {
		f.eventually("the name "+link(i)+" is free", func() bool {
			_, created, _ := f.put(link(i), streamOf(text, ""))
			return created
		})
	}
}
