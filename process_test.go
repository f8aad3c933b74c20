package durablestreams_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a Caddy in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output lockedBuffer
	exit   chan error // receives once what Wait returns
}

// lockedBuffer is a buffer that one goroutine may read while another writes.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// spawn runs Caddy with a Caddyfile.
func spawn(t *testing.T, command, caddyfile string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	file := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, exit: make(chan error, 1)}
	p.cmd = exec.Command(program, command, "--config", file, "--adapter", "caddyfile")
	p.cmd.Env = append(os.Environ(), runAsCaddy+"=1", "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exit <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // It has ended, or a test failed.
		if t.Failed() {
			t.Logf("output of %s:\n%s", command, p.output.String())
		}
	})
	return p
}

// serve runs a site in a process, and returns when it answers.
func serve(t *testing.T, site string) (*process, *instance) {
	t.Helper()
	// What the instance has is a Caddyfile; it runs nothing.
	c := &instance{t: t, scheme: "http", addr: freeAddr(t), log: filepath.Join(t.TempDir(), "caddy.log")}
	p := spawn(t, "run", c.caddyfile(site))
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Head(c.url("/v1/stream/" + name()))
		if err == nil {
			_ = res.Body.Close()
			return p, c
		}
		if time.Now().After(deadline) || len(p.exit) > 0 {
			t.Fatalf("no answer: %v", err)
		}
	}
}

// stop ends the process as a service manager does, and waits for it.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		p.t.Errorf("the process ended with %v", err)
	}
}

// wait waits for the end of the process.
func (p *process) wait() error {
	p.t.Helper()
	err, _ := within(p.t, "end of the process", p.exit)
	return err
}

// TestProcess_stopsWithIdleReaders has readers that would stay for a day.
func TestProcess_stopsWithIdleReaders(t *testing.T) {
	p, c := serve(t, "durable_streams {\n\tlong_poll_timeout 1h\n\tsse_reconnect_interval 24h\n\tsse_heartbeat 24h\n}")
	url := c.url("/v1/stream/a")
	next := status(t, http.StatusCreated, "PUT", url, "one").Header.Get("Stream-Next-Offset")
	var readers []<-chan event
	for range 20 {
		sse := open(t, http.DefaultClient, "GET", url+"?offset="+next+"&live=sse", "", nil)
		defer sse.Body.Close()
		live := events(sse)
		within(t, "first control event", live)
		readers = append(readers, live)
	}
	p.stop()
	for _, live := range readers {
		ended := drain(t, "end of the SSE response", live)
		if len(ended) == 0 || ended[len(ended)-1].name != "control" {
			t.Errorf("an SSE response ended with %+v, want a control event", ended)
		}
	}
}

func diskSite(dir string) string {
	return "durable_streams {\n\tdata_dir " + dir + "\n\tmin_free_space 1MiB\n}\n"
}

func TestProcess_restarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by the server")
	site := diskSite(`"` + dir + `"`)
	want := ""
	for i, end := range []func(*process){
		(*process).stop,
		func(p *process) { // as the kernel does when memory runs out
			if err := p.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			if err := p.wait(); err == nil {
				t.Error("a killed process ended well")
			}
		},
		(*process).stop,
	} {
		p, c := serve(t, site)
		url := c.url("/v1/stream/a")
		if i == 0 {
			status(t, http.StatusCreated, "PUT", url, "")
		}
		for j := range 10 {
			text := fmt.Sprintf("%d-%d,", i, j)
			status(t, http.StatusNoContent, "POST", url, text)
			want += text
		}
		if got := status(t, http.StatusOK, "GET", url, "").body; got != want {
			t.Fatalf("start %d: read %q, want %q", i, got, want)
		}
		end(p)
	}
	_, c := serve(t, site)
	if got := status(t, http.StatusOK, "GET", c.url("/v1/stream/a"), "").body; got != want {
		t.Errorf("at the end: read %q, want %q", got, want)
	}
}

// TestProcess_validateBesideARunningServer checks that validating a config leaves
// the folder of the server that runs with it alone.
func TestProcess_validateBesideARunningServer(t *testing.T) {
	dir := t.TempDir()
	_, c := serve(t, diskSite(dir))
	url := c.url("/v1/stream/a")
	status(t, http.StatusCreated, "PUT", url, "one")
	before := files(t, dir)
	p := spawn(t, "validate", c.caddyfile(diskSite(dir)))
	if err := p.wait(); err != nil || !strings.Contains(p.output.String(), "Valid configuration") {
		t.Fatalf("validate ended with %v and wrote:\n%s", err, p.output.String())
	}
	for file, content := range files(t, dir) {
		if before[file] != content {
			t.Errorf("%s was changed", file)
		}
	}
	status(t, http.StatusNoContent, "POST", url, "two")
	if got := status(t, http.StatusOK, "GET", url, "").body; got != "onetwo" {
		t.Errorf("after validate: %q", got)
	}
}

func TestProcess_oneFolderTwoServers(t *testing.T) {
	dir := t.TempDir()
	first, c := serve(t, diskSite(dir))
	other := &instance{t: t, scheme: "http", addr: freeAddr(t), log: filepath.Join(t.TempDir(), "caddy.log")}
	second := spawn(t, "run", other.caddyfile(diskSite(dir)))
	if err := second.wait(); err == nil {
		t.Fatal("the second server ended well")
	}
	logged := second.output.String() + other.logged()
	for _, want := range []string{dir, fmt.Sprintf("process %d", first.cmd.Process.Pid)} {
		if !strings.Contains(logged, want) {
			t.Errorf("the second server's error does not name %q:\n%s", want, logged)
		}
	}
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream/a"), "one")
}

// TestValidate_touchesNothing validates a config whose folder does not exist.
func TestValidate_touchesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	config, err := adapt(":8080 {\n" + diskSite(dir) + "}")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, config)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v; validation must not make it", dir, err)
	}
}

// files returns the names and contents of the files below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
