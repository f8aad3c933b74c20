package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestCodes_haveNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, code := range protocol.Codes() {
		name := code.String()
		if name == "" || seen[name] || strings.ContainsAny(name, " ()") || name != strings.ToLower(name) {
			t.Errorf("the code %d has the name %q", code, name)
		}
		seen[name] = true
	}
	if len(seen) == 0 || seen[protocol.Code(0).String()] || seen[protocol.Code(255).String()] {
		t.Error("what is no code has the name of one")
	}
}

func TestRefusal_isFoundInErrors(t *testing.T) {
	refusal := protocol.CheckReadOffset(2, 1)
	var found *protocol.Refusal
	if err := fmt.Errorf("read: %w", refusal); !errors.As(err, &found) || found != refusal {
		t.Errorf("found %v", found)
	}
	if got := refusal.Error(); !strings.HasPrefix(got, "invalid_offset: ") {
		t.Errorf("the text is %q", got)
	}
}
