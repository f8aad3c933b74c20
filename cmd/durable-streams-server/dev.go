package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"github.com/spf13/cobra"

	durablestreams "github.com/caddy-durable-streams/caddy-durable-streams"
)

// defaultListen is a loopback address because dev asks nobody who they are.
const defaultListen = "127.0.0.1:4437"

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "dev",
		Usage: "[--listen <addr>] [--data-dir <dir> | --memory]",
		Short: "Serves streams for development, without a config",
		Long: `
Serves streams at http://` + defaultListen + `/v1/stream/ by plain HTTP, to
everybody who can connect, with no config and no administration endpoint.

Streams are kept in a folder and are there again after a restart: the one given
with --data-dir, or else durable-streams/dev in the user's data folder. With
--memory they are gone when the command ends.

For production, write a Caddyfile and use the command run.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().StringP("listen", "l", defaultListen, "The address to listen on")
			cmd.Flags().StringP("data-dir", "d", "", "The folder in which to keep streams")
			cmd.Flags().BoolP("memory", "m", false, "Keep streams in memory")
			cmd.Args = cobra.NoArgs
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(dev)
		},
	})
}

func dev(flags caddycmd.Flags) (int, error) {
	caddy.TrapSignals()
	// As in Caddy's run. Where no limit is known, the collector does without.
	_, _ = memlimit.Set(memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))

	base, err := baseURL(flags.String("listen"))
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	dir, err := dataDir(flags.String("data-dir"), flags.Bool("memory"))
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := checkFree(flags.String("listen")); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := caddy.Run(devConfig(flags.String("listen"), dir)); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	greet(os.Stdout, base, dir, flags.String("data-dir") == "")
	select {}
}

// baseURL returns the URL of the streams of a server that listens there.
func baseURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--listen %q: %w; write host:port, for example %s", listen, err, defaultListen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("--listen %q: the port must be a number from 1 to 65535", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/v1/stream/", nil
}

// checkFree says so if the address is in use. Caddy's listeners do not: to be able
// to take over from a process before them, they share an address with it, and
// every connection would reach either of the two.
func checkFree(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w; choose another address, or end the program that listens there", listen, err)
	}
	return l.Close()
}

// dataDir returns the absolute path of the folder to keep streams in, "" for
// memory.
func dataDir(dir string, memory bool) (string, error) {
	switch {
	case memory && dir != "":
		return "", errors.New("--memory and --data-dir exclude each other; give one of them")
	case memory:
		return "", nil
	case dir == "":
		// Caddy's folder is one of several in the user's data folder.
		dir = filepath.Join(filepath.Dir(caddy.AppDataDir()), "durable-streams", "dev")
	}
	return filepath.Abs(dir)
}

// devConfig returns a config with one server and one handler. It has no
// administration endpoint, so that several can run side by side.
func devConfig(listen, dir string) *caddy.Config {
	handler := new(durablestreams.Handler)
	if dir == "" {
		handler.StorageRaw = json.RawMessage(`{"engine":"memory"}`)
	}
	// Braces would begin a placeholder.
	handler.DataDir = strings.ReplaceAll(dir, "{", `\{`)
	elsewhere := caddyhttp.StaticResponse{StatusCode: "404", Body: "there are no streams here; they are below /v1/stream/\n"}
	http := caddyhttp.App{Servers: map[string]*caddyhttp.Server{"dev": {
		Listen:    []string{listen},
		Protocols: []string{"h1", "h2c"},
		AutoHTTPS: &caddyhttp.AutoHTTPSConfig{Disabled: true},
		Routes: caddyhttp.RouteList{{
			MatcherSetsRaw: []caddy.ModuleMap{{"path": caddyconfig.JSON(caddyhttp.MatchPath{"/v1/stream/*"}, nil)}},
			HandlersRaw:    []json.RawMessage{caddyconfig.JSONModuleObject(handler, "handler", "durable_streams", nil)},
		}, {
			// Caddy answers what no route handles with an empty 200, which a client
			// would take for a stream created.
			HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(elsewhere, "handler", "static_response", nil)},
		}},
	}}}
	keep := false
	encoder := &logging.ConsoleEncoder{LogEncoderConfig: logging.LogEncoderConfig{LevelFormat: "upper"}}
	return &caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &keep}},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {
			BaseLog: caddy.BaseLog{EncoderRaw: caddyconfig.JSONModuleObject(encoder, "format", "console", nil)},
			Exclude: []string{"admin", "tls", "http.auto_https"},
		}}},
		AppsRaw: caddy.ModuleMap{"http": caddyconfig.JSON(http, nil)},
	}
}

// greet says where streams are, how to begin, and what remains of them.
func greet(w io.Writer, base, dir string, isDefault bool) {
	data := "in memory; gone when this command ends"
	if dir != "" {
		data = dir
	}
	if dir != "" && isDefault {
		data += " (choose another folder with --data-dir, or --memory)"
	}
	fmt.Fprintf(w, `
Streams:  %[1]s
Data:     %[2]s
Try:      curl -i -X PUT -H 'Content-Type: text/plain' -d 'hello' %[1]sfirst
          curl %[1]sfirst
`, base, data)
}
