package durablestreams

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const directive = "durable_streams"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseCaddyfile)
	// Like respond and reverse_proxy, the handler answers every request that
	// reaches it. It comes before them, so that a site may combine streams behind
	// a matcher with one of them for everything else, and after all that restricts
	// access or changes requests, abort and error included.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "respond")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	durable_streams [<matcher>] {
//	    data_dir               <path>
//	    base_path              <path>
//	    max_file_handles       <number>
//	    long_poll_timeout      <duration>
//	    sse_reconnect_interval <duration>
//	    sse_heartbeat          <duration>
//	    max_append_size        <size>
//	    max_chunk_size         <size>
//	    segment_size           <size>
//	    min_free_space         <size>
//	    durability             sync | interval <duration>
//	    storage                <engine> {
//	        ...
//	    }
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	opts := h.DiskOptions.caddyfileOptions()
	opts["base_path"] = stringOption(&h.BasePath)
	opts["long_poll_timeout"] = durationOption(&h.LongPollTimeout)
	opts["sse_reconnect_interval"] = durationOption(&h.SSEReconnectInterval)
	opts["sse_heartbeat"] = durationOption(&h.SSEHeartbeat)
	opts["max_append_size"] = sizeOption(&h.MaxAppendSize)
	opts["max_chunk_size"] = sizeOption(&h.MaxChunkSize)
	opts["storage"] = h.unmarshalStorage
	if err := opts.unmarshal(d, h.check); err != nil {
		return err
	}
	if err := h.checkEngine(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// unmarshalStorage reads the engine's name and hands its block to its module.
func (h *Handler) unmarshalStorage(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("storage needs the name of an engine: %s", strings.Join(engines(), ", "))
	}
	engine := d.Val()
	if !slices.Contains(engines(), engine) {
		return d.Errf("there is no storage engine %q; the engines are: %s", engine, strings.Join(engines(), ", "))
	}
	module, err := caddyfile.UnmarshalModule(d, storageNamespace+"."+engine)
	if err != nil {
		return err
	}
	h.StorageRaw = caddyconfig.JSONModuleObject(module, "engine", engine, nil)
	return nil
}

// engines returns the names of the storage engines in this build, sorted.
func engines() []string {
	var names []string
	for _, module := range caddy.GetModules(storageNamespace) {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return names
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	disk {
//	    data_dir         <path>
//	    max_file_handles <number>
//	    segment_size     <size>
//	    min_free_space   <size>
//	    durability       sync | interval <duration>
//	}
func (d *Disk) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	if err := d.caddyfileOptions().unmarshal(disp, d.check); err != nil {
		return err
	}
	if d.DataDir == "" {
		return disp.WrapErr(errNoDataDir)
	}
	return nil
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	memory {
//	    name <name>
//	}
func (m *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return caddyfileOptions{"name": stringOption(&m.Name)}.unmarshal(d, nil)
}

func (o *DiskOptions) caddyfileOptions() caddyfileOptions {
	return caddyfileOptions{
		"data_dir":         stringOption(&o.DataDir),
		"max_file_handles": intOption(&o.MaxFileHandles),
		"segment_size":     sizeOption(&o.SegmentSize),
		"min_free_space":   sizeOption(&o.MinFreeSpace),
		"durability":       o.unmarshalDurability,
	}
}

// unmarshalDurability reads a mode and, if it has one, its interval.
func (o *DiskOptions) unmarshalDurability(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == SyncMode:
		o.Durability = &Durability{Mode: SyncMode}
		return nil
	case len(args) == 2 && args[0] == IntervalMode:
		interval, err := parseDuration(args[1])
		if err != nil {
			return d.WrapErr(err)
		}
		o.Durability = &Durability{Mode: IntervalMode, Interval: interval}
		return nil
	}
	return d.Errf("durability is either %q, or %q with a duration such as 1s; it is %q",
		SyncMode, IntervalMode, strings.Join(args, " "))
}

// caddyfileOptions are the options of a block by name. Each reads its arguments
// from the dispenser, whose token is the option's name.
type caddyfileOptions map[string]func(*caddyfile.Dispenser) error

// unmarshal reads a segment: a name, no arguments, and a block of options, each at
// most once. After each option it calls check, if there is one, so that an error
// has the option's line.
func (opts caddyfileOptions) unmarshal(d *caddyfile.Dispenser, check func() error) error {
	d.Next() // the block's name
	block := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no argument %q; %s", block, d.Val(), opts.known())
	}
	seen := make(map[string]int)
	for d.NextBlock(0) {
		name, line := d.Val(), d.Line()
		read, ok := opts[name]
		if !ok {
			return d.Errf("%s has no option %q; %s", block, name, opts.known())
		}
		if before, ok := seen[name]; ok {
			return d.Errf("%s is set twice, first on line %d; %s", name, before, opts.known())
		}
		seen[name] = line
		if err := read(d); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("%s has a surplus argument %q; quote a value that contains spaces", name, d.Val())
		}
		if d.NextBlock(1) {
			return d.Errf("%s takes no block", name)
		}
		if check == nil {
			continue
		}
		if err := check(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

// known lists the options.
func (opts caddyfileOptions) known() string {
	return "its options are: " + strings.Join(slices.Sorted(maps.Keys(opts)), ", ")
}

func stringOption(field *string) func(*caddyfile.Dispenser) error {
	return valueOption(field, func(text string) (string, error) { return text, nil })
}

func sizeOption(field *Size) func(*caddyfile.Dispenser) error {
	return valueOption(field, ParseSize)
}

func durationOption(field *caddy.Duration) func(*caddyfile.Dispenser) error {
	return valueOption(field, parseDuration)
}

func intOption(field *int) func(*caddyfile.Dispenser) error {
	return valueOption(field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, caddyfileValueError{text, "a whole number"}
		}
		return n, nil
	})
}

func parseDuration(text string) (caddy.Duration, error) {
	duration, err := caddy.ParseDuration(text)
	if err != nil {
		return 0, caddyfileValueError{text, "a duration; write for example 500ms, 30s or 1m30s"}
	}
	return caddy.Duration(duration), nil
}

// valueOption reads one argument. In a Caddyfile the zero value is refused: an
// option that is left out has its default, and no option has a use for zero.
func valueOption[T comparable](field *T, parse func(string) (T, error)) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if !d.NextArg() {
			return d.Errf("%s needs a value", name)
		}
		value, err := parse(d.Val())
		if err != nil {
			return d.Errf("%s: %w", name, err)
		}
		var zero T
		if value == zero {
			return d.Errf("%s must not be %q; leave it out for its default", name, d.Val())
		}
		*field = value
		return nil
	}
}

// caddyfileValueError says what a value should have been.
type caddyfileValueError struct{ text, want string }

func (e caddyfileValueError) Error() string { return strconv.Quote(e.text) + " is not " + e.want }

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Disk)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
)
