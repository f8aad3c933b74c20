package durablestreams_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/caddy-durable-streams/caddy-durable-streams"

// layers are the packages of the module, each with those of its own that it may
// import. Imports point one way: cmd, root, server, store, protocol. A folder
// stands for all below it that has no line of its own.
var layers = map[string][]string{
	"cmd":                {"."},
	".":                  {"server", "store", "store/disk", "store/memory", "protocol"},
	"server":             {"store", "protocol"},
	"store":              {"protocol"},
	"store/storetest":    {"store", "protocol", "internal"},
	"store/memory":       {"store", "protocol"},
	"store/disk":         {"store", "protocol", "store/disk/journal", "store/disk/segment", "store/disk/index", "filepool", "internal"},
	"store/disk/journal": {"store", "protocol", "internal"},
	"store/disk/segment": {"store", "protocol", "filepool", "internal"},
	"store/disk/index":   {"store", "protocol", "internal"},
	"filepool":           {"internal"},
	"internal":           {"internal"},
	"protocol":           nil,
}

// pure are the standard packages that package protocol may import: its rules
// depend on nothing but their arguments.
var pure = []string{
	"bytes", "cmp", "encoding/base64", "encoding/binary", "encoding/json", "errors", "fmt", "hash/crc32", "iter",
	"maps", "math", "math/bits", "net/url", "regexp", "slices", "strconv", "strings", "time", "unicode", "unicode/utf8",
}

// impure are functions of pure packages that depend on more.
var impure = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"},
	"fmt":  {"Print", "Println", "Printf", "Scan", "Scanln", "Scanf"},
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case "testdata", "node_modules", ".git", "tools", "bin":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir := layerOf(path.Dir(filepath.ToSlash(file)))
		if dir == "" {
			t.Errorf("%s is in no layer", file)
			return nil
		}
		seen[dir] = true
		checkImports(t, file, dir)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", "cmd", "server", "store", "store/memory", "protocol"} {
		if !seen[dir] {
			t.Errorf("no file of %s was checked", dir)
		}
	}
}

// layerOf returns the layer to which a folder belongs, "" if there is none.
func layerOf(dir string) string {
	for ; ; dir = path.Dir(dir) {
		if _, ok := layers[dir]; ok {
			return dir
		}
		if dir == "." || !strings.Contains(dir, "/") {
			return ""
		}
	}
}

func checkImports(t *testing.T, file, layer string) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if problem := importProblem(layer, imported); problem != "" {
			t.Errorf("%s: %s %s", files.Position(spec.Pos()), layer, problem)
		}
	}
	if layer == "protocol" {
		checkPure(t, files, parsed)
	}
}

// importProblem says why a layer may not import a package, "" if it may.
func importProblem(layer, imported string) string {
	if own, ok := strings.CutPrefix(imported, module); ok {
		dir := layerOf(path.Clean("./" + own))
		if dir != layer && !slices.Contains(layers[layer], dir) {
			return "must not import " + dir
		}
		return ""
	}
	if strings.HasPrefix(imported, "github.com/caddyserver/") && layer != "." && layer != "cmd" {
		return "must not know of Caddy"
	}
	if layer == "protocol" && !slices.Contains(pure, imported) {
		return "must be pure; it must not import " + imported
	}
	if strings.HasPrefix(layer, "store") && strings.HasPrefix(imported, "net/http") || layer == "store" && imported == "os" {
		return "must not import " + imported
	}
	return ""
}

// checkPure reports uses of the clock and of standard streams.
func checkPure(t *testing.T, files *token.FileSet, parsed *ast.File) {
	ast.Inspect(parsed, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && slices.Contains(impure[pkg.Name], selector.Sel.Name) {
			t.Errorf("%s: protocol must be pure; it must not use %s.%s", files.Position(node.Pos()), pkg.Name, selector.Sel.Name)
		}
		return true
	})
}

func TestImports_problems(t *testing.T) {
	for _, test := range []struct {
		layer, imported string
		allowed         bool
	}{
		{"protocol", "strings", true},
		{"protocol", "net/http", false},
		{"protocol", "os", false},
		{"protocol", "sync", false},
		{"protocol", module + "/store", false},
		{"store", module + "/protocol", true},
		{"store", module + "/server", false},
		{"store", "net/http", false},
		{"store", "os", false},
		{"store/disk", "net/http", false},
		{"store/disk", "os", true},
		{"store/memory", module + "/store/disk", false},
		{"store/disk", module + "/internal/vfs", true},
		{"server", module + "/store/disk", false},
		{"server", module, false},
		{"server", "github.com/caddyserver/caddy/v2", false},
		{".", "github.com/caddyserver/caddy/v2/modules/caddyhttp", true},
		{".", module + "/cmd/durable-streams-server", false},
		{"cmd", module, true},
		{"cmd", module + "/server", false},
	} {
		if problem := importProblem(test.layer, test.imported); (problem == "") != test.allowed {
			t.Errorf("%s imports %s: %q", test.layer, test.imported, problem)
		}
	}
}
