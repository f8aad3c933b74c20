package protocol_test

import (
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestETag_differsInEveryPart(t *testing.T) {
	seen := make(map[string]bool)
	for _, id := range []uint64{1, 11, 1<<64 - 1} {
		for _, start := range []protocol.Offset{0, 1, 11} {
			for _, end := range []protocol.Offset{1, 11, protocol.MaxOffset} {
				for _, closed := range []bool{false, true} {
					tag := protocol.ETag(id, start, end, closed)
					if seen[tag] {
						t.Errorf("%s names two ranges", tag)
					}
					seen[tag] = true
					if tag[0] != '"' || tag[len(tag)-1] != '"' || len(tag) < 5 {
						t.Errorf("%s is no entity tag", tag)
					}
					if tag != protocol.ETag(id, start, end, closed) {
						t.Errorf("%s is not stable", tag)
					}
				}
			}
		}
	}
}

func TestMatchETag_lists(t *testing.T) {
	tag := protocol.ETag(7, 0, 42, false)
	closed := protocol.ETag(7, 0, 42, true)
	for _, c := range []struct {
		clause string
		values []string
		want   bool
	}{
		{"none", nil, false},
		{"same", []string{tag}, true},
		{"weak", []string{"W/" + tag}, true},
		{"star", []string{"*"}, true},
		{"in a list", []string{`"x", ` + tag + `,"y"`}, true},
		{"in the second header", []string{`"x"`, tag}, true},
		{"without spaces", []string{`"x",` + tag}, true},
		{"closed meanwhile", []string{closed}, false},
		{"unquoted", []string{tag[1 : len(tag)-1]}, false},
		{"prefix", []string{tag[:len(tag)-1]}, false},
		{"empty", []string{""}, false},
		{"other", []string{`"x", "y"`}, false},
	} {
		if got := protocol.MatchETag(c.values, tag); got != c.want {
			t.Errorf("%s: %q matches: %v", c.clause, c.values, got)
		}
	}
	if protocol.MatchETag([]string{tag}, closed) {
		t.Error("the open stream's tag matches the closed stream's, which hides the end")
	}
}
