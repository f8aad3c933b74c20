//go:build plugin

package durablestreams_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manifest is what xcaddy.json holds, in the form of xcaddy's Builder.
type manifest struct {
	CaddyVersion string `json:"caddy_version"`
	Plugins      []struct {
		ModulePath string `json:"module_path"`
		Version    string `json:"version"`
	} `json:"plugins"`
	Replacements []struct {
		Old string `json:"old"`
		New string `json:"new"`
	} `json:"replacements"`
}

// TestPlugin builds a Caddy with this module as xcaddy does, step by step, from
// this checkout instead of a published version, and without -trimpath, which would
// compile all of Caddy again.
func TestPlugin(t *testing.T) {
	const caddyModule = "github.com/caddyserver/caddy/v2"
	m := readManifest(t)
	checkout, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	imports := fmt.Sprintf("\tcaddycmd %q\n\t_ %q\n", caddyModule+"/cmd", caddyModule+"/modules/standard")
	for _, plugin := range m.Plugins {
		imports += fmt.Sprintf("\t_ %q\n", plugin.ModulePath)
	}
	program := "package main\n\nimport (\n" + imports + ")\n\nfunc main() { caddycmd.Main() }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}

	caddy := caddyModule + "@" + m.CaddyVersion
	run(t, dir, "go", "mod", "init", "caddy")
	for _, r := range m.Replacements {
		run(t, dir, "go", "mod", "edit", "-replace", strings.Replace(r.Old, " ", "@", 1)+"="+strings.Replace(r.New, " ", "@", 1))
	}
	run(t, dir, "go", "mod", "edit", "-replace", module+"="+checkout)
	run(t, dir, "go", "get", caddy)
	for _, plugin := range m.Plugins {
		if plugin.ModulePath == module {
			// go get would look for published versions, of which there need not be any.
			run(t, dir, "go", "mod", "edit", "-require", module+"@v0.0.0")
			continue
		}
		run(t, dir, "go", "get", strings.TrimSuffix(plugin.ModulePath+"@"+plugin.Version, "@"), caddy)
	}
	run(t, dir, "go", "get", ".", caddy)
	run(t, dir, "go", "mod", "tidy", "-e")
	run(t, dir, "go", "build", "-ldflags", "-w -s", "-o", "caddy", ".")

	built := filepath.Join(dir, "caddy")
	modules := strings.Fields(run(t, dir, built, "list-modules", "--skip-standard"))
	for _, want := range []string{
		"durable_streams",
		"http.handlers.durable_streams",
		"http.handlers.durable_streams.storage.disk",
		"http.handlers.durable_streams.storage.memory",
	} {
		if !slices.Contains(modules, want) {
			t.Errorf("the Caddy that was built has no module %s; it has %s", want, modules)
		}
	}
	if got := run(t, dir, built, "version"); !strings.HasPrefix(got, m.CaddyVersion+" ") {
		t.Errorf("built %s, want %s: this module needs a newer Caddy than xcaddy.json says", got, m.CaddyVersion)
	}
	t.Setenv("DOMAIN", "streams.example.com")
	run(t, dir, built, "validate", "--adapter", "caddyfile", "--config", filepath.Join(checkout, "Caddyfile.example"))
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	data, err := os.ReadFile("xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Plugins) == 0 || m.Plugins[0].ModulePath != module || m.CaddyVersion == "" {
		t.Fatalf("xcaddy.json names the plugins %v and the Caddy version %q", m.Plugins, m.CaddyVersion)
	}
	return m
}

// run runs a program and returns what it prints.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, output)
	}
	return string(output)
}
