package protocol_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestCursor_countsIntervals(t *testing.T) {
	epoch := time.Date(2024, 10, 9, 0, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]string{
		0: "0", 19 * time.Second: "0", 20 * time.Second: "1", time.Hour: "180", 365 * 24 * time.Hour: "1576800",
	} {
		got := protocol.Cursor("", epoch.Add(after), func(int) int { t.Error("there is nothing to avoid"); return 0 })
		if got != want {
			t.Errorf("%v after the epoch the cursor is %s, want %s", after, got, want)
		}
	}
}

func TestCursor_neverGoesBack(t *testing.T) {
	current, err := strconv.ParseInt(protocol.Cursor("", now, nil), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		clause string
		client int64
		ahead  bool
	}{
		{"behind", current - 1, false},
		{"long ago", 0, false},
		{"the same", current, true},
		{"ahead", current + 1, true},
		{"far ahead", current + 1_000_000, true},
		{"over 2^53", 1 << 60, true},
	} {
		t.Run(c.clause, func(t *testing.T) {
			for _, jitter := range []int{0, 1, 18, 19, 20, 3599} {
				text := protocol.Cursor(strconv.FormatInt(c.client, 10), now, func(n int) int {
					if n != 3600 {
						t.Errorf("the jitter is chosen from %d seconds", n)
					}
					return jitter
				})
				got, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if !c.ahead && got != current {
					t.Errorf("the cursor is %d, want the current interval %d", got, current)
				}
				if c.ahead && (got <= c.client || got > c.client+180) {
					t.Errorf("the cursor after %d is %d with a jitter of %d s", c.client, got, jitter+1)
				}
			}
		})
	}
}

func TestCursor_ignoresWhatIsNone(t *testing.T) {
	current := protocol.Cursor("", now, nil)
	for _, client := range []string{"abc", "-1", "+5", "1.5", " 1", "99999999999999999999999", strconv.Itoa(math.MaxInt64)} {
		if got := protocol.Cursor(client, now, func(int) int { return 0 }); got != current {
			t.Errorf("after %q the cursor is %s, want %s", client, got, current)
		}
	}
}
