package durablestreams_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks returns the code blocks of a language.
func blocks(text, language string) []string {
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

func TestDocs_options(t *testing.T) {
	_, list, _ := strings.Cut(knownOptions, ": ")
	for _, file := range []string{"README.md", "docs/configuration.md"} {
		text := read(t, file)
		for _, option := range strings.Split(list, ", ") {
			if !strings.Contains(text, "| `"+option+"` |") && !strings.Contains(text, "- **"+option+"** is ") && !strings.Contains(text, "- **"+option+"** names ") {
				t.Errorf("%s does not explain %s", file, option)
			}
		}
	}
}

// TestDocs_examples validates the configs in the documentation.
func TestDocs_examples(t *testing.T) {
	t.Setenv("DOMAIN", "streams.example.com")
	t.Setenv("DATA_DIR", t.TempDir())
	caddyfiles := []string{read(t, "Caddyfile.example")}
	for _, file := range []string{"README.md", "docs/configuration.md"} {
		for _, block := range blocks(read(t, file), "caddyfile") {
			if strings.Contains(block, "example.com {") {
				caddyfiles = append(caddyfiles, block)
			}
		}
	}
	if len(caddyfiles) != 4 {
		t.Errorf("there are %d Caddyfiles in the documentation, want 4", len(caddyfiles))
	}
	for _, caddyfile := range caddyfiles {
		config, err := adapt(caddyfile)
		if err != nil {
			t.Errorf("%v\n%s", err, caddyfile)
			continue
		}
		validate(t, config)
	}
	handlers := blocks(read(t, "docs/configuration.md"), "json")
	if len(handlers) != 2 {
		t.Errorf("there are %d JSON handlers in the documentation, want 2", len(handlers))
	}
	for _, handler := range handlers {
		fields := strings.TrimSuffix(strings.TrimSpace(handler), "}")
		_, fields, _ = strings.Cut(fields, `"handler": "durable_streams",`)
		validate(t, oneHandler(fields))
	}
}

// TestDocs_metrics compares the documentation with what a server shows.
func TestDocs_metrics(t *testing.T) {
	c := start(t, "metrics /metrics\ndurable_streams /v1/stream/* {\n\tdata_dir "+t.TempDir()+"\n}")
	text := read(t, "docs/operations.md")
	var names int
	for _, match := range regexp.MustCompile(`(?m)^# TYPE durable_streams_(?:disk_)?(\w+) `).FindAllStringSubmatch(send(t, http.DefaultClient, "GET", c.url("/metrics"), "", nil).body, -1) {
		names++
		if !strings.Contains(text, "`"+match[1]+"`") {
			t.Errorf("docs/operations.md does not explain %s", match[1])
		}
	}
	if names < 20 {
		t.Errorf("the server shows %d metrics", names)
	}
}
