package protocol_test

import (
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseRead_parameters(t *testing.T) {
	token := protocol.Offset(42).String()
	type query = map[string][]string
	for _, c := range []struct {
		clause string
		q      query
		want   protocol.ReadRequest
		code   protocol.Code
	}{
		{"none", nil, protocol.ReadRequest{}, 0},
		{"start", query{"offset": {"-1"}}, protocol.ReadRequest{}, 0},
		{"now", query{"offset": {"now"}}, protocol.ReadRequest{From: protocol.Now}, 0},
		{"token", query{"offset": {token}}, protocol.ReadRequest{From: 42}, 0},
		{"long-poll", query{"offset": {token}, "live": {"long-poll"}}, protocol.ReadRequest{From: 42, Live: protocol.LongPoll}, 0},
		{"sse", query{"offset": {"now"}, "live": {"sse"}}, protocol.ReadRequest{From: protocol.Now, Live: protocol.SSE}, 0},
		{"cursor", query{"offset": {token}, "live": {"long-poll"}, "cursor": {"17"}}, protocol.ReadRequest{From: 42, Live: protocol.LongPoll, Cursor: "17"}, 0},
		{"cursor that is none of ours", query{"cursor": {"abc"}}, protocol.ReadRequest{Cursor: "abc"}, 0},
		{"unknown parameter", query{"offset": {token}, "x": {"1", "2"}}, protocol.ReadRequest{From: 42}, 0},
		{"empty offset", query{"offset": {""}}, protocol.ReadRequest{}, protocol.InvalidOffset},
		{"offset twice", query{"offset": {token, token}}, protocol.ReadRequest{}, protocol.Malformed},
		{"sentinel and offset", query{"offset": {"-1", token}}, protocol.ReadRequest{}, protocol.Malformed},
		{"live twice", query{"offset": {token}, "live": {"sse", "sse"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"cursor twice", query{"cursor": {"1", "2"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"unknown live mode", query{"offset": {token}, "live": {"websocket"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"live mode in other case", query{"offset": {token}, "live": {"SSE"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"empty live mode", query{"offset": {token}, "live": {""}}, protocol.ReadRequest{}, protocol.Malformed},
		{"live=true", query{"offset": {token}, "live": {"true"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"long-poll without offset", query{"live": {"long-poll"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"sse without offset", query{"live": {"sse"}}, protocol.ReadRequest{}, protocol.Malformed},
		{"parameter in other case", query{"Offset": {"nonsense"}}, protocol.ReadRequest{}, 0},
	} {
		t.Run(c.clause, func(t *testing.T) {
			got, refusal := protocol.ParseRead(c.q, headers())
			wantCode(t, refusal, c.code)
			if c.code == 0 && (got.From != c.want.From || got.Live != c.want.Live || got.Cursor != c.want.Cursor) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	for _, s := range badOffsets {
		_, refusal := protocol.ParseRead(query{"offset": {s}}, headers())
		if refusal == nil || refusal.Code != protocol.InvalidOffset {
			t.Errorf("offset=%q: %v", s, refusal)
		}
	}
}

func TestParseRead_keepsIfNoneMatch(t *testing.T) {
	r, refusal := protocol.ParseRead(nil, headers("If-None-Match", `"a"`, "If-None-Match", `"b", "c"`))
	if refusal != nil || len(r.IfNoneMatch) != 2 {
		t.Errorf("got %q, %v", r.IfNoneMatch, refusal)
	}
}

func TestCheckReadOffset_pastTail(t *testing.T) {
	for _, c := range []struct {
		from, tail protocol.Offset
		want       protocol.Code
	}{
		{0, 0, 0},
		{5, 5, 0},
		{4, 5, 0},
		{1, 0, protocol.InvalidOffset},
		{6, 5, protocol.InvalidOffset},
		{protocol.MaxOffset, 5, protocol.InvalidOffset},
		{protocol.MaxOffset, protocol.MaxOffset, 0},
	} {
		wantCode(t, protocol.CheckReadOffset(c.from, c.tail), c.want)
	}
}

func TestMidMessage_isInvalidOffset(t *testing.T) {
	wantCode(t, protocol.MidMessage(3), protocol.InvalidOffset)
}
