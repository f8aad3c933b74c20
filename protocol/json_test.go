package protocol_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// maxDepth is how deep the values of a body may nest.
const maxDepth = 512

func TestFlattenJSON_messages(t *testing.T) {
	for _, c := range []struct{ clause, body, wire string }{
		// §9.1.2, examples
		{"object", `{"event": "created"}`, "{\"event\":\"created\"},\n"},
		{"array of objects", `[{"event": "a"}, {"event": "b"}]`, "{\"event\":\"a\"},\n{\"event\":\"b\"},\n"},
		{"one level is flattened", `[[1,2], [3,4]]`, "[1,2],\n[3,4],\n"},
		{"exactly one level", `[[[1,2,3]]]`, "[[1,2,3]],\n"},
		{"wrapped single value", `[{"x": 1}]`, "{\"x\":1},\n"},

		{"empty array", ` [ ] `, ""},
		{"empty array inside", `[[]]`, "[],\n"},
		{"scalars", `[1, "a", true, false, null]`, "1,\n\"a\",\ntrue,\nfalse,\nnull,\n"},
		{"scalar alone", ` null `, "null,\n"},
		{"string alone", `"a b"`, "\"a b\",\n"},
		{"empty containers", `[{}, [], ""]`, "{},\n[],\n\"\",\n"},
		{"white space everywhere", " \t\r\n[ \n{ \"a\" \r: [ 1 ,\t2 ] , \"b\" : { } } ,\n3 ]\n ", "{\"a\":[1,2],\"b\":{}},\n3,\n"},
		{"white space in strings", `[" \t a\u000a "]`, "\" \\t a\\u000a \",\n"},
		{"brackets in strings", `["]", "[", "\"", "\\", "},{"]`, "\"]\",\n\"[\",\n\"\\\"\",\n\"\\\\\",\n\"},{\",\n"},
		{"escapes stay", `["\u0041\/\b\f\n\r\t\"\\", "\uD83D\uDE00", "\ud800"]`, "\"\\u0041\\/\\b\\f\\n\\r\\t\\\"\\\\\",\n\"\\uD83D\\uDE00\",\n\"\\ud800\",\n"},
		{"UTF-8 stays", "[\"é日\U0001F600\u2028\u2029\ufeff\x7f\"]", "\"é日\U0001F600\u2028\u2029\ufeff\x7f\",\n"},
		{"numbers stay", `[0, -0, 1.0, 1.10, 1e5, 1E+05, 1e-005, -1.5E3]`, "0,\n-0,\n1.0,\n1.10,\n1e5,\n1E+05,\n1e-005,\n-1.5E3,\n"},
		{"numbers of any length", `[12345678901234567890123456789.0000000000000000000000000001, 1e999999]`, "12345678901234567890123456789.0000000000000000000000000001,\n1e999999,\n"},
		{"same key twice", `{"a":1,"a":2}`, "{\"a\":1,\"a\":2},\n"},
		{"HTML stays", `"<script>&</script>"`, "\"<script>&</script>\",\n"},
	} {
		t.Run(c.clause, func(t *testing.T) {
			wire, messages, refusal := protocol.FlattenJSON([]byte("before"), []byte(c.body))
			wantCode(t, refusal, 0)
			if string(wire) != "before"+c.wire {
				t.Errorf("got %q, want %q", wire, c.wire)
			}
			if want := strings.Count(c.wire, "\n"); messages != want {
				t.Errorf("%d messages, want %d", messages, want)
			}
		})
	}
}

// badJSON are bodies that are not JSON (§9.1.4).
var badJSON = map[string]string{
	"empty": "", "white space": " \n", "open array": "[", "open object": "{", "close only": "]", "wrong close": "[}", "wrong close of object": "{]",
	"trailing value": "1 2", "trailing array": "[1][2]", "trailing bracket": "[1]]", "trailing comma after": "1,", "trailing letter": "{}x",
	"trailing NUL": "1\x00", "wire bytes": "1,\n2,\n", "trailing comma in array": "[1,]", "leading comma": "[,1]", "two commas": "[1,,2]",
	"trailing comma inside": "[[1,]]", "trailing comma in object": `{"a":1,}`, "leading comma in object": `{,"a":1}`, "no comma": "[1 2]",
	"no colon": `{"a" 1}`, "no value": `{"a":}`, "no key": `{:1}`, "number as key": `{1:2}`, "bare key": `{a:1}`, "colon in array": `["a":1]`,
	"single quotes": "'a'", "open string": `"a`, "string with open escape": `"\`, "unknown escape": `"\x"`, "short unicode escape": `"\u123"`,
	"bad unicode escape": `"\u12g4"`, "cut unicode escape": `"\u12`, "raw newline in string": "\"a\nb\"", "raw tab in string": "\"\t\"",
	"NUL in string": "\"\x00\"", "leading zero": "01", "minus alone": "-", "plus": "+1", "point alone": ".5", "point at the end": "1.",
	"exponent alone": "1e", "exponent sign alone": "1e+", "hexadecimal": "0x1", "infinite": "Infinity", "not a number": "NaN",
	"literal cut": "tru", "literal long": "truee", "literal in other case": "True", "undefined": "undefined", "comment": "1 // a", "block comment": "/* */ 1",
	"form feed": "\f1", "no-break space": "\u00a01", "byte order mark": "\ufeff1",
	"invalid UTF-8": "\"\xff\"", "invalid UTF-8 outside": "\xff", "overlong UTF-8": "\"\xc0\xaf\"", "surrogate in UTF-8": "\"\xed\xa0\x80\"", "cut UTF-8": "\"\xe6\x97\"",
	"NDJSON": "{\"a\":1}\n{\"a\":2}",
}

func TestFlattenJSON_invalid(t *testing.T) {
	for clause, body := range badJSON {
		t.Run(clause, func(t *testing.T) {
			wire, messages, refusal := protocol.FlattenJSON([]byte("before"), []byte(body))
			wantCode(t, refusal, protocol.InvalidJSON)
			if messages != 0 || !bytes.HasPrefix(wire, []byte("before")) {
				t.Errorf("%d messages, %q", messages, wire)
			}
			if !utf8.ValidString(refusal.Detail) || len(refusal.Detail) > 200 {
				t.Errorf("the detail is %q", refusal.Detail)
			}
		})
	}
}

func TestFlattenJSON_depth(t *testing.T) {
	nested := func(open, inner, closing string, depth int) string {
		return strings.Repeat(open, depth) + inner + strings.Repeat(closing, depth)
	}
	for _, c := range []struct {
		clause string
		body   string
		ok     bool
	}{
		{"arrays", nested("[", "1", "]", maxDepth), true},
		{"arrays too deep", nested("[", "1", "]", maxDepth+1), false},
		{"objects", nested(`{"a":`, "1", "}", maxDepth), true},
		{"objects too deep", nested(`{"a":`, "1", "}", maxDepth+1), false},
		{"batch counts", "[" + nested(`{"a":`, "1", "}", maxDepth-1) + "]", true},
		{"batch too deep", "[" + nested(`{"a":`, "1", "}", maxDepth) + "]", false},
		{"alternating", nested(`[{"a":`, "[]", "}]", maxDepth/2-1), true},
		{"depth does not add up", "[" + strings.Repeat(nested("[", "", "]", maxDepth-1)+",", 9) + "1]", true},
		{"a million brackets", strings.Repeat("[", 1_000_000), false},
	} {
		t.Run(c.clause, func(t *testing.T) {
			_, _, refusal := protocol.FlattenJSON(nil, []byte(c.body))
			if c.ok {
				wantCode(t, refusal, 0)
			} else {
				wantCode(t, refusal, protocol.InvalidJSON)
			}
		})
	}
}

func TestFlattenJSON_fillsGivenBuffer(t *testing.T) {
	body := []byte(`[ {"n": 1, "s": "abc", "a": [true, null, {"b": -1.5e3}]}, "\u0041", [] ]`)
	dst := make([]byte, 0, len(body)+protocol.SeparatorLen)
	allocs := testing.AllocsPerRun(100, func() {
		if _, _, refusal := protocol.FlattenJSON(dst, body); refusal != nil {
			t.Fatal(refusal)
		}
	})
	if allocs != 0 {
		t.Errorf("it allocates %v times", allocs)
	}
}

func FuzzFlattenJSON(f *testing.F) {
	for _, body := range badJSON {
		f.Add([]byte(body))
	}
	for _, body := range []string{
		`[{"a": [1, 2.50, -0e+1]}, "\u0041\n", [], {}, null, true, false]`, ` {"a" : {"b" : [ ] } } `, `[[[]]]`, "[\"\u2028é\"]",
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		wire, messages, refusal := protocol.FlattenJSON(nil, body)
		valid := json.Valid(body) && utf8.Valid(body) && depth(body) <= maxDepth
		if valid != (refusal == nil) {
			t.Fatalf("refused with %v; it is JSON: %v", refusal, valid)
		}
		if !valid {
			return
		}
		var want []json.RawMessage
		if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '[' {
			want = []json.RawMessage{trimmed}
		} else if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		for _, message := range want {
			if err := json.Compact(&compact, message); err != nil {
				t.Fatal(err)
			}
			compact.WriteString(",\n")
		}
		if !bytes.Equal(wire, compact.Bytes()) {
			t.Fatalf("got %q, want %q", wire, compact.Bytes())
		}
		if messages != len(want) || bytes.Count(wire, []byte{'\n'}) != messages {
			t.Fatalf("%d messages, %d lines, want %d", messages, bytes.Count(wire, []byte{'\n'}), len(want))
		}
		if messages == 0 {
			return
		}
		// What a response carries is JSON, and the same messages again.
		response := append(append([]byte{'['}, wire[:len(wire)-protocol.SeparatorLen]...), ']')
		again, count, refusal := protocol.FlattenJSON(nil, response)
		if depth(response) <= maxDepth && (refusal != nil || count != messages || !bytes.Equal(again, wire)) {
			t.Fatalf("the response %q becomes %q, %v", response, again, refusal)
		}
	})
}

// depth returns how deep a JSON text nests.
func depth(body []byte) (deepest int) {
	level := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			level++
			deepest = max(deepest, level)
		case ']', '}':
			level--
		}
	}
	return deepest
}
