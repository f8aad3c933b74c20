package protocol_test

import (
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestOffset_token(t *testing.T) {
	for _, c := range []struct {
		offset protocol.Offset
		want   string
	}{
		{protocol.Start, "0000000000000000_0000000000000000"},
		{1, "0000000000000001_0000000000000000"},
		{1234567890, "0000001234567890_0000000000000000"},
		{protocol.MaxOffset, "9999999999999999_0000000000000000"},
	} {
		got := c.offset.String()
		if got != c.want {
			t.Errorf("the token of %d is %q, want %q", c.offset, got, c.want)
		}
		// §8: short, and without what separates query parameters or looks like a sentinel.
		if strings.ContainsAny(got, ",&=?/") || got == "-1" || got == "now" {
			t.Errorf("%q is not allowed as a token", got)
		}
		if back, refusal := protocol.ParseOffset(got); refusal != nil || back != c.offset {
			t.Errorf("%q was parsed as %d, %v", got, back, refusal)
		}
	}
}

func TestOffset_appendToKeepsPrefix(t *testing.T) {
	if got := string(protocol.Offset(7).AppendTo([]byte("at "))); got != "at 0000000000000007_0000000000000000" {
		t.Errorf("got %q", got)
	}
}

func TestOffset_sentinelHasNoToken(t *testing.T) {
	for _, offset := range []protocol.Offset{protocol.Now, -1, protocol.MaxOffset + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d has a token", int64(offset))
				}
			}()
			_ = offset.String()
		}()
	}
}

// badOffsets are what no server ever returned.
var badOffsets = []string{
	"", "0", "00", "1", "-2", "-0", "+1", " -1", "-1 ", "NOW", "Now", "start", "null", "undefined", "NaN", "1e3", "0x10",
	"0000000000000000",
	"0000000000000000_",
	"_0000000000000000",
	"0000000000000000_000000000000000",
	"0000000000000000_00000000000000000",
	"000000000000000_00000000000000000",
	"00000000000000000_0000000000000000",
	"00000000000000000000000000000000_",
	"0000000000000000-0000000000000000",
	"000000000000000a_0000000000000000",
	"0000000000000000_000000000000000a",
	"-000000000000001_0000000000000000",
	"+000000000000001_0000000000000000",
	" 000000000000001_0000000000000000",
	"0000000000000001_0000000000000000 ",
	"0000000000000001_0000000000000000\n",
	"0000000000000001_0000000000000000,0000000000000001_0000000000000000",
	"0000000000000\xd9\xa1_0000000000000000",
	"../../../etc/passwd",
	"%00",
	strings.Repeat("9", 1000),
}

func TestParseOffset_malformedOrForged(t *testing.T) {
	for _, s := range badOffsets {
		if _, refusal := protocol.ParseOffset(s); refusal == nil || refusal.Code != protocol.InvalidOffset {
			t.Errorf("%q: %v", s, refusal)
		}
		if _, refusal := protocol.ParseReadOffset(s); refusal == nil || refusal.Code != protocol.InvalidOffset {
			t.Errorf("as the offset of a read, %q: %v", s, refusal)
		}
	}
}

func TestParseOffset_secondNumberNamesSamePosition(t *testing.T) {
	for _, s := range []string{
		"0000000000000042_0000000000000000", "0000000000000042_0000000000000001", "0000000000000042_9999999999999999",
	} {
		if got, refusal := protocol.ParseOffset(s); refusal != nil || got != 42 {
			t.Errorf("%q was parsed as %d, %v", s, got, refusal)
		}
	}
}

func TestParseReadOffset_sentinels(t *testing.T) {
	for s, want := range map[string]protocol.Offset{"-1": protocol.Start, "now": protocol.Now} {
		if got, refusal := protocol.ParseReadOffset(s); refusal != nil || got != want {
			t.Errorf("%q was parsed as %d, %v", s, got, refusal)
		}
		_, refusal := protocol.ParseOffset(s)
		if refusal == nil {
			t.Errorf("%q is a position", s)
		} else if strings.Contains(refusal.Detail, "or now") {
			t.Errorf("%q is refused and recommended: %s", s, refusal.Detail)
		}
	}
	if _, refusal := protocol.ParseReadOffset("x"); !strings.HasSuffix(refusal.Detail, ", -1 or now") {
		t.Errorf("a read does not learn of the sentinels: %s", refusal.Detail)
	}
}

func FuzzOffset(f *testing.F) {
	for _, n := range []int64{0, 1, 9, 10, 99, 1 << 40, int64(protocol.MaxOffset)} {
		f.Add(n, n+1, "0000000000000000_0000000000000000")
	}
	for _, s := range badOffsets {
		f.Add(int64(len(s)), int64(0), s)
	}
	f.Fuzz(func(t *testing.T, a, b int64, s string) {
		const positions = int64(protocol.MaxOffset) + 1
		x, y := protocol.Offset((a%positions+positions)%positions), protocol.Offset((b%positions+positions)%positions)
		if back, refusal := protocol.ParseReadOffset(x.String()); refusal != nil || back != x {
			t.Fatalf("%v was parsed as %d, %v", x, back, refusal)
		}
		// Tokens sort like positions (§8).
		if (x < y) != (x.String() < y.String()) || (x == y) != (x.String() == y.String()) {
			t.Fatalf("the tokens of %d and %d sort as %q and %q", x, y, x, y)
		}
		offset, refusal := protocol.ParseOffset(s)
		if refusal != nil {
			return
		}
		if again := offset.String(); again[:17] != s[:17] {
			t.Fatalf("%q names %d, whose token is %q", s, offset, again)
		}
	})
}
