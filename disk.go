package durablestreams

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
)

// Defaults of the disk engine's options.
const (
	defaultMaxFileHandles = 100
	defaultSegmentSize    = 256 * MiB
	defaultMinFreeSpace   = 512 * MiB
)

// DiskOptions are the options of the disk engine.
type DiskOptions struct {
	// The folder in which streams are kept. It is made if it does not exist.
	// One process at a time can use it; within the process, blocks with the same
	// folder share its streams. A relative path starts at the working directory
	// of the server. Placeholders such as `{env.HOME}` are replaced once, when the
	// config loads.
	DataDir string `json:"data_dir,omitempty"`

	// How many files with sealed data are held open at most, besides a handful for
	// the journal and the index. A value below the number of files that are read at
	// the same time costs an open per read. 0 means the default, `100`.
	MaxFileHandles int `json:"max_file_handles,omitempty"`

	// The size in bytes up to which streams share one file of sealed data. A number
	// or a string such as `"256MiB"`. 0 means the default, `256MiB`.
	SegmentSize Size `json:"segment_size,omitempty"`

	// How many bytes of the file system stay free. Below it, requests that need
	// space are answered with 507 until there is room again; reads go on. A number
	// or a string such as `"512MiB"`. 0 means the default, `512MiB`.
	MinFreeSpace Size `json:"min_free_space,omitempty"`

	// What an acknowledgement promises. Absent means mode `sync`.
	Durability *Durability `json:"durability,omitempty"`
}

// Disk keeps streams in a folder. What it acknowledges survives a crash of the
// process and of the machine, as its durability says.
type Disk struct {
	DiskOptions
}

// CaddyModule returns the Caddy module information.
func (*Disk) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  storageNamespace + ".disk",
		New: func() caddy.Module { return new(Disk) },
	}
}

var errNoDataDir = errors.New("the disk engine needs data_dir, the folder in which it keeps streams")

// Provision fills in defaults and resolves the folder's path.
func (d *Disk) Provision(caddy.Context) error {
	if d.DataDir == "" {
		return errNoDataDir
	}
	dir, err := caddy.NewReplacer().ReplaceOrErr(d.DataDir, true, true)
	if err != nil {
		return fmt.Errorf("data_dir %q: %w", d.DataDir, err)
	}
	if d.DataDir, err = resolveDir(dir); err != nil {
		return fmt.Errorf("data_dir %q: %w", dir, err)
	}
	setDefault(&d.MaxFileHandles, defaultMaxFileHandles)
	setDefault(&d.SegmentSize, defaultSegmentSize)
	setDefault(&d.MinFreeSpace, defaultMinFreeSpace)
	if d.Durability == nil {
		d.Durability = new(Durability)
	}
	setDefault(&d.Durability.Mode, SyncMode)
	return nil
}

// Validate says which option is out of range.
func (d *Disk) Validate() error { return d.check() }

// check says which option is out of range; 0, for the default, never is.
func (o *DiskOptions) check() error {
	return firstError(
		checkRange("max_file_handles", o.MaxFileHandles, 1, 1_000_000),
		checkRange("segment_size", o.SegmentSize, MiB, 64*GiB),
		checkRange("min_free_space", o.MinFreeSpace, 1, 1024*1024*GiB),
		o.Durability.validate(),
	)
}

// used returns the name of an option that is set, "" if none is.
func (o *DiskOptions) used() string {
	switch {
	case o.DataDir != "":
		return "data_dir"
	case o.MaxFileHandles != 0:
		return "max_file_handles"
	case o.SegmentSize != 0:
		return "segment_size"
	case o.MinFreeSpace != 0:
		return "min_free_space"
	case o.Durability != nil:
		return "durability"
	}
	return ""
}

// StoreKey returns the folder's resolved path.
func (d *Disk) StoreKey() string { return d.DataDir }

// OpenStore opens the folder, and recovers what a crash left of it.
func (d *Disk) OpenStore(opts StoreOptions) (store.Store, error) {
	return disk.Open(d.options(opts))
}

// ReconfigureStore applies the options that can change while the folder is open.
func (d *Disk) ReconfigureStore(st store.Store, opts StoreOptions) error {
	if err := st.(*disk.Store).Reconfigure(d.options(opts)); err != nil {
		return fmt.Errorf("data_dir %s: %w", d.DataDir, err)
	}
	return nil
}

func (d *Disk) options(opts StoreOptions) disk.Options {
	return disk.Options{
		Dir:            d.DataDir,
		MaxFileHandles: d.MaxFileHandles,
		SegmentSize:    int64(d.SegmentSize),
		MinFreeSpace:   int64(d.MinFreeSpace),
		SyncInterval:   time.Duration(d.Durability.Interval),
		MaxAppendSize:  int64(opts.MaxAppendSize),
		Logger:         opts.Logger,
	}
}

// Interface guards
var (
	_ caddy.Provisioner = (*Disk)(nil)
	_ caddy.Validator   = (*Disk)(nil)
)
