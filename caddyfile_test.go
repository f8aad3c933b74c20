package durablestreams_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	durablestreams "github.com/caddy-durable-streams/caddy-durable-streams"
)

var update = flag.Bool("update", false, "write testdata/adapt/*.json anew")

// adapt returns the JSON config of a Caddyfile.
func adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	return config, err
}

func TestCaddyfile_adapt(t *testing.T) {
	t.Setenv("DATA", t.TempDir())
	files, err := filepath.Glob("testdata/adapt/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Caddyfiles in testdata/adapt: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfile"), func(t *testing.T) {
			input, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := adapt(string(input))
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".caddyfile")+".json", config)
			for _, handler := range handlersIn(t, config) {
				testRoundTrip(t, handler)
			}
			validate(t, config)
		})
	}
}

func compareGolden(t *testing.T, file string, config []byte) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s is out of date (go test -run Caddyfile_adapt . -update); now it is\n%s", file, &got)
	}
}

// handlersIn returns the durable_streams handlers in a config.
func handlersIn(t *testing.T, config []byte) []map[string]any {
	t.Helper()
	var root any
	if err := json.Unmarshal(config, &root); err != nil {
		t.Fatal(err)
	}
	var found []map[string]any
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if node["handler"] == "durable_streams" {
				found = append(found, node)
			}
			for _, child := range node {
				walk(child)
			}
		case []any:
			for _, child := range node {
				walk(child)
			}
		}
	}
	walk(root)
	if len(found) == 0 {
		t.Fatal("no durable_streams handler in the config")
	}
	return found
}

// testRoundTrip checks that decoding a handler's JSON loses nothing.
func testRoundTrip(t *testing.T, want map[string]any) {
	t.Helper()
	delete(want, "handler")
	config, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	handler := new(durablestreams.Handler)
	if err := caddy.StrictUnmarshalJSON(config, handler); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(handler)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	wantJSON, _ := json.Marshal(want)
	gotJSON, _ := json.Marshal(got)
	if !bytes.Equal(wantJSON, gotJSON) {
		t.Errorf("decoded and encoded again:\n%s\nwant\n%s", gotJSON, wantJSON)
	}
}

// validate does what `caddy validate` does.
func validate(t *testing.T, config []byte) {
	t.Helper()
	if err := tryValidate(config); err != nil {
		t.Error(err)
	}
}

func tryValidate(config []byte) error {
	var cfg *caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	cfg.Logging = quietLogging()
	return caddy.Validate(cfg)
}

const knownOptions = "its options are: base_path, data_dir, durability, long_poll_timeout, max_append_size, max_chunk_size, " +
	"max_file_handles, min_free_space, segment_size, sse_heartbeat, sse_reconnect_interval, storage"

func TestCaddyfile_refused(t *testing.T) {
	const block = ":8080 {\n\tdurable_streams {\n\t\t" // the first option is on line 3
	for _, test := range []struct{ name, block, want string }{
		{"unknown option", "data_dri /x", `durable_streams has no option "data_dri"; ` + knownOptions + ", at Caddyfile:3"},
		{"duplicate option", "data_dir /x\n\t\tlong_poll_timeout 1s\n\t\tdata_dir /y", `data_dir is set twice, first on line 3; ` + knownOptions + ", at Caddyfile:5"},
		{"missing value", "data_dir", "data_dir needs a value, at Caddyfile:3"},
		{"empty value", `data_dir ""`, `data_dir must not be ""`},
		{"surplus value", "data_dir /x y", `data_dir has a surplus argument "y"; quote a value that contains spaces, at Caddyfile:3`},
		{"block after a value", "data_dir /x {\n\t\t\tfoo\n\t\t}", "data_dir takes no block, at Caddyfile:4"},
		{"not a number", "max_file_handles many", `max_file_handles: "many" is not a whole number, at Caddyfile:3`},
		{"fraction", "max_file_handles 1.5", `max_file_handles: "1.5" is not a whole number`},
		{"negative number", "max_file_handles -1", "max_file_handles is -1; it must be at least 1 and at most 1000000, at Caddyfile:3"},
		{"zero", "max_file_handles 0", `max_file_handles must not be "0"; leave it out for its default`},
		{"not a duration", "long_poll_timeout 30", `long_poll_timeout: "30" is not a duration; write for example 500ms, 30s or 1m30s, at Caddyfile:3`},
		{"negative duration", "sse_heartbeat -1s", "sse_heartbeat is -1s; it must be at least 1ms and at most 24h0m0s"},
		{"long duration", "long_poll_timeout 1d", "long_poll_timeout is 24h0m0s; it must be at least 1ms and at most 1h0m0s"},
		{"not a size", "max_append_size big", `max_append_size: "big" is not a size; write a number of bytes or, for example, 512KiB, 16MiB or 2GiB, at Caddyfile:3`},
		{"negative size", "max_append_size -1", `"-1" is not a size`},
		{"great size", "max_chunk_size 2GiB", "max_chunk_size is 2GiB; it must be at least 1 and at most 1GiB"},
		{"overflowing size", "max_chunk_size 99EiB", `"99EiB" is not a size`},
		{"small segments", "data_dir /x\n\t\tsegment_size 4KiB", "segment_size is 4KiB; it must be at least 1MiB and at most 64GiB, at Caddyfile:4"},
		{"relative base path", "base_path streams", `base_path is "streams"; it must begin with /, at Caddyfile:3`},
		{"base path with a wildcard", "base_path /v1/stream/*", `base_path is "/v1/stream/*"; it is a plain path`},
		{"durability without a mode", "durability", `durability is either "sync", or "interval" with a duration such as 1s; it is ""`},
		{"unknown durability", "durability async", `it is "async", at Caddyfile:3`},
		{"sync with an interval", "durability sync 1s", `it is "sync 1s"`},
		{"interval without a duration", "durability interval", `it is "interval"`},
		{"interval that is none", "durability interval soon", `"soon" is not a duration`},
		{"short interval", "durability interval 1us", `durability: mode "interval" needs an interval of at least 1ms, for example 1s; it is 1µs, at Caddyfile:3`},
		{"interval of surplus arguments", "durability interval 1s 2s", `it is "interval 1s 2s"`},
		{"disk option in memory", "segment_size 1GiB", "segment_size is an option of the disk engine, and without data_dir streams are kept in memory; set data_dir, or remove segment_size, at Caddyfile:4"},
		{"durability in memory", "durability sync", "durability is an option of the disk engine"},
		{"data_dir and storage", "data_dir /x\n\t\tstorage memory", "data_dir and storage are both set; move data_dir into the storage block, at Caddyfile:5"},
		{"storage without an engine", "storage", "storage needs the name of an engine: disk, memory"},
		{"unknown engine", "storage tape", `there is no storage engine "tape"; the engines are: disk, memory`},
		{"disk engine without a folder", "storage disk {\n\t\t\tsegment_size 1GiB\n\t\t}", "the disk engine needs data_dir, the folder in which it keeps streams, at Caddyfile:5"},
		{"disk engine without a block", "storage disk", "the disk engine needs data_dir, the folder in which it keeps streams, at Caddyfile:3"},
		{"argument of an engine", "storage disk /x", `disk takes no argument "/x"; its options are: data_dir, durability, max_file_handles, min_free_space, segment_size, at Caddyfile:3`},
		{"unknown option of an engine", "storage disk {\n\t\t\tname x\n\t\t}", `disk has no option "name"; its options are: data_dir, durability, max_file_handles, min_free_space, segment_size, at Caddyfile:4`},
		{"disk option of memory", "storage memory {\n\t\t\tdata_dir /x\n\t\t}", `memory has no option "data_dir"; its options are: name`},
		{"bad value of an engine", "storage disk {\n\t\t\tdata_dir /x\n\t\t\tsegment_size 1\n\t\t}", "segment_size is 1; it must be at least 1MiB and at most 64GiB, at Caddyfile:5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := adapt(block + test.block + "\n\t}\n}\n")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestCaddyfile_argument(t *testing.T) {
	_, err := adapt(":8080 {\n\tdurable_streams data\n}\n")
	want := `durable_streams takes no argument "data"; ` + knownOptions + ", at Caddyfile:2"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestCaddyfile_placeholderInEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STREAMS", dir)
	config, err := adapt(":8080 {\n\tdurable_streams {\n\t\tdata_dir {$STREAMS}/a\n\t}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := handlersIn(t, config)[0]["data_dir"], dir+"/a"; got != want {
		t.Errorf("data_dir is %v, want %s", got, want)
	}
}

func TestJSON_refused(t *testing.T) {
	for _, test := range []struct{ name, handler, want string }{
		{"unknown field", `"data_dri": "/x"`, `unknown field "data_dri"`},
		{"negative number", `"data_dir": "/x", "max_file_handles": -5`, "max_file_handles is -5; it must be at least 1"},
		{"negative size", `"max_append_size": -5`, "max_append_size is -5; it must be at least 1"},
		{"not a size", `"max_append_size": "lots"`, `"lots" is not a size`},
		{"size of another type", `"max_append_size": true`, "cannot unmarshal bool"},
		{"base path", `"base_path": "x"`, `base_path is "x"; it must begin with /`},
		{"unknown durability", `"data_dir": "/x", "durability": {"mode": "eventual"}`, `durability: mode is "eventual"; use "sync" or "interval"`},
		{"interval without a duration", `"data_dir": "/x", "durability": {"mode": "interval"}`, `needs an interval of at least 1ms, for example 1s; it is 0s`},
		{"interval without its mode", `"data_dir": "/x", "durability": {"interval": "1s"}`, `an interval needs mode "interval"`},
		{"disk option in memory", `"min_free_space": "1GiB"`, "min_free_space is an option of the disk engine"},
		{"option beside storage", `"min_free_space": "1GiB", "storage": {"engine": "memory"}`, "min_free_space and storage are both set; move min_free_space into the storage block"},
		{"no folder", `"storage": {"engine": "disk"}`, "the disk engine needs data_dir"},
		{"unknown engine", `"storage": {"engine": "tape"}`, "unknown module: http.handlers.durable_streams.storage.tape"},
		{"unknown placeholder", `"data_dir": "{env.SURELY_UNSET_VARIABLE}/x"`, "SURELY_UNSET_VARIABLE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := tryValidate(oneHandler(test.handler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestJSON_differentOptionsForOneStore(t *testing.T) {
	dir := t.TempDir()
	err := tryValidate(oneHandler(`"data_dir": "`+dir+`"`, `"data_dir": "`+dir+`/../`+filepath.Base(dir)+`", "max_file_handles": 7`))
	want := `two durable_streams blocks use the store "` + dir + `" with different options: max_file_handles is 100 in one and 7 in the other`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	validate(t, oneHandler(`"data_dir": "`+dir+`", "long_poll_timeout": "1s"`, `"data_dir": "`+dir+`/", "max_file_handles": 100`))
}

// oneHandler returns a config with a route for each handler, given as the fields
// of its JSON.
func oneHandler(handlers ...string) []byte {
	var routes []string
	for _, fields := range handlers {
		routes = append(routes, `{"handle": [{"handler": "durable_streams", `+fields+`}]}`)
	}
	return []byte(`{"apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:8080"], "routes": [` + strings.Join(routes, ",") + `]}}}}}`)
}
