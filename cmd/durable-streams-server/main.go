// Command durable-streams-server is Caddy with its standard modules and
// durable_streams. Its command dev serves streams without a config; all others
// are Caddy's own.
package main

import (
	"os"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-durable-streams/caddy-durable-streams"
)

const program = "durable-streams-server"

// gcPercent lets the heap grow to five times of what is live before it is
// collected. Little is live here and most requests leave garbage, so that saves
// about a fifth of the processor's time. The commands run and dev set a memory
// limit from the container or the machine, near which the collector works harder
// instead.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	caddy.CustomBinaryName = program
	if caddy.CustomVersion == "" {
		// Caddy's version follows it.
		caddy.CustomVersion = program + " " + version() + ", Caddy"
	}
	caddycmd.Main()
}

// version returns this module's version.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
