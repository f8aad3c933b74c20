package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

var listTests = []test{
	{"describesStreams", func(f *fixture) {
		f.create("a", lasting(ttl(60), "abc"))
		f.create("b", streamOf(json, "[1,2]"))
		f.accepted("b", closing())
		f.fork("c", atTail("a"))
		infos, err := f.store.List(f.Context(), "", "", 10)
		if err != nil || len(infos) != 3 {
			f.Fatalf("List returned %+v, %v", infos, err)
		}
		for _, info := range infos {
			if head := f.head(info.Name); !sameInfo(head, info) {
				f.Errorf("List returned %+v, Head %+v", info, head)
			}
		}
	}},
	{"emptyStore", func(f *fixture) {
		if infos, err := f.store.List(f.Context(), "", "", 10); err != nil || len(infos) != 0 {
			f.Errorf("List returned %+v, %v", infos, err)
		}
	}},
	{"pages", func(f *fixture) {
		var names []string
		for i := range 150 {
			names = append(names, fmt.Sprintf("n/%d", i*7919%1000))
		}
		names = append(names, "n", "n/", "n//", "n0", "m", "o", "ä", "n/\x7e", "N/1", "日/本")
		for _, name := range names {
			f.create(name, streamOf(text, ""))
		}
		for _, prefix := range []string{"", "n", "n/", "n/1", "n/100", "x", "ä", "日"} {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, prefix) {
					want = append(want, name)
				}
			}
			slices.Sort(want)
			for _, limit := range []int{1, 7, len(names), 10_000} {
				if got := f.listAll(prefix, limit); !slices.Equal(got, want) {
					f.Fatalf("List(%q) by %d returned %q, want %q", prefix, limit, got, want)
				}
			}
		}
		// The name to continue after need not exist, nor have the prefix.
		for _, after := range []string{"n/1", "n/10x", "A", "n/\xff", "z"} {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, "n/") && name > after {
					want = append(want, name)
				}
			}
			slices.Sort(want)
			infos, err := f.store.List(f.Context(), "n/", after, 10_000)
			if err != nil || !slices.Equal(namesOf(infos), want) {
				f.Fatalf("List after %q returned %q, %v; want %q", after, namesOf(infos), err, want)
			}
		}
	}},
	{"followsCreationAndDeletion", func(f *fixture) {
		for _, name := range []string{"a", "b", "c", "d"} {
			f.create(name, streamOf(text, ""))
		}
		f.delete("b")
		if got := f.listAll("", 2); !slices.Equal(got, []string{"a", "c", "d"}) {
			f.Errorf("List returned %q", got)
		}
		f.create("b", streamOf(text, ""))
		if got := f.listAll("", 2); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
			f.Errorf("List returned %q", got)
		}
	}},
}

// listAll lists by pages of at most limit streams.
func (f *fixture) listAll(prefix string, limit int) []string {
	f.Helper()
	var names []string
	for after := ""; ; {
		infos, err := f.store.List(f.Context(), prefix, after, limit)
		if err != nil || len(infos) > limit {
			f.Fatalf("List(%q, %q, %d) returned %d streams, %v", prefix, after, limit, len(infos), err)
		}
		if len(infos) == 0 {
			return names
		}
		names = append(names, namesOf(infos)...)
		after = names[len(names)-1]
	}
}

func namesOf(infos []store.Info) []string {
	names := make([]string, 0, len(infos))
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return names
}
