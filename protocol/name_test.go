package protocol_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseName_isPathBelowBase(t *testing.T) {
	long := strings.Repeat("n", 1024)
	for _, c := range []struct{ clause, path, base, want string }{
		{"simple", "/v1/stream/a", base, "a"},
		{"base with a slash", "/v1/stream/a", base + "/", "a"},
		{"segments", "/v1/stream/a/b/c", base, "a/b/c"},
		{"doubled slashes", "/v1/stream/gid://app/Room/1", base, "gid://app/Room/1"},
		{"leading slash of the name", "/v1/stream//a", base, "/a"},
		{"trailing slash", "/v1/stream/a/", base, "a/"},
		{"only a slash", "/v1/stream//", base, "/"},
		{"dots inside a segment", "/v1/stream/a..b/.c/d./...", base, "a..b/.c/d./..."},
		{"characters that mean something elsewhere", "/v1/stream/a b?c#d%2F\\:*", base, "a b?c#d%2F\\:*"},
		{"beyond ASCII", "/v1/stream/日本/ä", base, "日本/ä"},
		{"decomposed stays so", "/v1/stream/a\u0308", base, "a\u0308"},
		{"base within the name", "/v1/stream/v1/stream/a", base, "v1/stream/a"},
		{"reserved names can be read", "/v1/stream/__registry__", base, "__registry__"},
		{"control segment not first", "/v1/stream/a/__ds", base, "a/__ds"},
		{"control segment's name is longer", "/v1/stream/__dsx", base, "__dsx"},
		{"longest", "/v1/stream/" + long, base, long},
		{"other path", "/a/b", base, "a/b"},
		{"prefix of a segment is not below", "/v1/streams/a", base, "v1/streams/a"},
		{"no base", "/a", "", "a"},
		{"base is the root", "/a", "/", "a"},
	} {
		t.Run(c.clause, func(t *testing.T) {
			got, refusal := protocol.ParseName(c.path, c.base)
			if refusal != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, refusal, c.want)
			}
		})
	}
}

// badNames are paths below the base that name no stream.
var badNames = map[string]string{
	"empty":                    "",
	"dot":                      ".",
	"dots":                     "..",
	"dots first":               "../a",
	"dots in the middle":       "a/../b",
	"dots last":                "a/..",
	"dot in the middle":        "a/./b",
	"dots after doubled slash": "a//../b",
	"NUL":                      "a\x00b",
	"line feed":                "a\nb",
	"carriage return":          "a\rb",
	"tab":                      "a\tb",
	"escape":                   "a\x1bb",
	"DEL":                      "a\x7fb",
	"C1 control":               "a\u0085b",
	"invalid UTF-8":            "a\xffb",
	"overlong UTF-8":           "a\xc0\xafb",
	"surrogate":                "a\xed\xa0\x80b",
	"truncated UTF-8":          "a\xe6\x97",
	"1,025 bytes":              strings.Repeat("n", 1025),
	"2,000 bytes":              strings.Repeat("n", 2000),
	"1,026 bytes in runes":     strings.Repeat("日", 342),
}

func TestParseName_refused(t *testing.T) {
	for clause, name := range badNames {
		t.Run(clause, func(t *testing.T) {
			for _, base := range []string{base, base + "/", "/other", ""} {
				_, refusal := protocol.ParseName(strings.TrimSuffix(base, "/")+"/"+name, base)
				wantCode(t, refusal, protocol.InvalidName)
			}
		})
	}
	for _, base := range []string{base, base + "/"} {
		for _, path := range []string{"/v1/stream", "/v1/stream/"} {
			_, refusal := protocol.ParseName(path, base)
			wantCode(t, refusal, protocol.InvalidName)
		}
	}
	_, refusal := protocol.ParseName("/", "/")
	wantCode(t, refusal, protocol.InvalidName)
}

func TestParseName_controlAPIsAreNoStreams(t *testing.T) {
	for _, path := range []string{"/v1/stream/__ds", "/v1/stream/__ds/", "/v1/stream/__ds/subscriptions/a"} {
		_, refusal := protocol.ParseName(path, base)
		wantCode(t, refusal, protocol.NotFound)
	}
}

func TestCheckWritable_serversNames(t *testing.T) {
	for name, want := range map[string]protocol.Code{
		"__registry__": protocol.Reserved, "__": protocol.Reserved, "__a/b": protocol.Reserved,
		"_a": 0, "a__": 0, "a/__b": 0,
	} {
		wantCode(t, protocol.CheckWritable(name), want)
	}
}

func TestParseForkSource_isDecodedPath(t *testing.T) {
	for value, want := range map[string]string{
		"/v1/stream/a":                "a",
		"/v1/stream/a%20b":            "a b",
		"/v1/stream/a%2Fb":            "a/b",
		"/v1/stream/gid:%2F%2Fapp//1": "gid://app//1",
		"/v1/stream/%E6%97%A5":        "日",
		"/v1/stream/a+b":              "a+b",
		"/elsewhere":                  "",
		"/v1/stream/%2e%2e%2Fx":       "",
		"/v1/stream/a%00":             "",
		"/v1/stream/a%0Ab":            "",
		"/v1/stream/%FF":              "",
		"/v1/stream/%":                "",
		"/v1/stream/%zz":              "",
		"/v1/stream/":                 "",
		"":                            "",
		"a":                           "",
		"v1/stream/a":                 "",
		"http://host/v1/stream/a":     "",
		"/v1/stream/" + strings.Repeat("n", 2000): "",
	} {
		got, refusal := protocol.ParseForkSource(value, "", base)
		if (refusal == nil) != (want != "") || got != want {
			t.Errorf("%q names %q, %v; want %q", value, got, refusal, want)
		}
	}
}

func TestParseForkSource_stripped(t *testing.T) {
	for value, want := range map[string]string{
		"/api/a":           "a",
		"/api%2Fa":         "a",
		"/api/api/a":       "api/a",
		"/api/v1/stream/a": "a",
		"/a":               "",
		"/v1/stream/a":     "a",
		"/apiary":          "",
		"/api":             "",
		"/api/":            "",
		"/api/../a":        "",
		"/api/__ds/a":      "",
	} {
		got, refusal := protocol.ParseForkSource(value, "/api", base)
		if (refusal == nil) != (want != "") || got != want {
			t.Errorf("%q names %q, %v; want %q", value, got, refusal, want)
		}
	}
}

// A stream that had two paths would escape access rules that know one (§12.2).
func TestParsePath_onePath(t *testing.T) {
	for _, test := range []struct{ path, stripped, base, want string }{
		{"/v1/stream/a", "", "/v1/stream", "a"},
		{"/a", "", "/v1/stream", ""},
		{"/v1/streams/a", "", "/v1/stream", ""},
		{"/V1/stream/a", "", "/v1/stream", ""},
		{"/a", "/s", "/v1/stream", "a"},
		{"/a", "", "/", "a"},
		{"/a", "/s", "/", "a"},
	} {
		got, refusal := protocol.ParsePath(test.path, test.stripped, test.base)
		if (refusal == nil) != (test.want != "") || got != test.want {
			t.Errorf("%+v: %q, %v", test, got, refusal)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, name := range badNames {
		f.Add(base+"/"+name, base)
	}
	f.Add("/v1/stream/gid://app/Room/1", "/v1/stream/")
	f.Add("//", "/")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, path, base string) {
		name, refusal := protocol.ParseName(path, base)
		if refusal != nil {
			if name != "" {
				t.Fatalf("the refused path %q has the name %q", path, name)
			}
			return
		}
		if !strings.HasSuffix(path, name) {
			t.Fatalf("the name %q of %q is not taken byte for byte", name, path)
		}
		if name == "" || len(name) > 1024 || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n\t\x7f") {
			t.Fatalf("%q is a name", name)
		}
		if segments := strings.Split(name, "/"); slices.Contains(segments, "..") || slices.Contains(segments, ".") || segments[0] == "__ds" {
			t.Fatalf("%q is a name", name)
		}
		// What Location says about a stream leads back to it.
		root := strings.TrimSuffix(base, "/")
		if again, refusal := protocol.ParseName(root+"/"+name, base); refusal != nil || again != name {
			t.Fatalf("%q below %q is %q, %v", name, base, again, refusal)
		}
		source, refusal := protocol.ParseForkSource("/"+(&url.URL{Path: name}).EscapedPath(), "", "")
		if refusal != nil || source != name {
			t.Fatalf("%q as a fork's source is %q, %v", name, source, refusal)
		}
	})
}
