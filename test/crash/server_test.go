package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// server is a data folder and the processes that serve it one after the other.
// Its clients may run while processes end and start.
type server struct {
	t       *testing.T
	dir     string // data_dir
	home    string // of everything else
	options string // further lines of the directive
	client  *http.Client
	base    atomic.Pointer[string] // URL of the process now
	proc    *process
	starts  []time.Duration // from exec to the first answer
}

// process is one run of the server.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	logFrom int64 // where its log begins in the log file
	exit    chan struct{}
	err     error // of Wait, once exit is closed
}

func newServer(t *testing.T, options ...string) *server {
	t.Helper()
	s := &server{
		t: t, home: t.TempDir(), options: strings.Join(options, "\n\t\t"),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}},
	}
	s.dir = filepath.Join(s.home, "data")
	t.Logf("-crash.seed=%d", *seedFlag)
	t.Cleanup(func() {
		if s.proc != nil {
			_ = s.proc.cmd.Process.Kill() // It may have ended.
			<-s.proc.exit
		}
		s.client.CloseIdleConnections()
		if t.Failed() {
			t.Logf("what the server logged last:\n%s", s.story())
		}
	})
	return s
}

func (s *server) logFile() string { return filepath.Join(s.home, "log") }

func (s *server) wholeLog() []byte {
	log, err := os.ReadFile(s.logFile())
	if err != nil && !os.IsNotExist(err) {
		s.t.Error(err)
	}
	return log
}

// story returns the last lines of the log that are about streams, or not in JSON.
func (s *server) story() string {
	var told []string
	for line := range bytes.Lines(s.wholeLog()) {
		var l logLine
		if json.Unmarshal(line, &l) != nil || l.Level == "error" || strings.Contains(l.Logger, "durable_streams") {
			told = append(told, string(line))
		}
	}
	return strings.Join(told[max(0, len(told)-50):], "")
}

// launch starts a process and does not wait for anything.
func (s *server) launch() {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		s.t.Fatal(err)
	}
	config := filepath.Join(s.home, "Caddyfile")
	err = os.WriteFile(config, fmt.Appendf(nil, `{
	admin off
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	storage file_system "%s"
	log {
		level DEBUG
	}
}
http://%s {
	durable_streams {
		data_dir "%s"
		min_free_space 1MiB
		long_poll_timeout 1s
		sse_heartbeat 1s
		max_chunk_size 1MiB
		%s
	}
}
`, s.home, addr, s.dir, s.options), 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	fi, err := log.Stat()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{exit: make(chan struct{}), logFrom: fi.Size()}
	p.cmd = exec.Command(program, "run", "--config", config, "--adapter", "caddyfile")
	p.cmd.Env = append(os.Environ(), "HOME="+s.home, "XDG_DATA_HOME="+s.home, "XDG_CONFIG_HOME="+s.home)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = diesWithTest()
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.proc = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.exit)
	}()
	s.client.CloseIdleConnections()
	base := "http://" + addr + "/v1/stream/"
	s.base.Store(&base)
}

// start starts a process and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	for {
		s.launch()
		if s.ready() {
			return
		}
		if !bytes.Contains(s.log(), []byte("address already in use")) {
			s.t.Fatalf("the server ended with %v before it answered", s.proc.err)
		}
		// Somebody else has got the port. Try the next one.
	}
}

// ready waits until the process answers; false if it ends before.
func (s *server) ready() bool {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		r, err := s.do("HEAD", "none", nil)
		switch {
		case err != nil, r.status == http.StatusServiceUnavailable: // not yet
		case r.status != http.StatusNotFound:
			s.t.Fatalf("a stream that never was: status %d", r.status)
		default:
			s.starts = append(s.starts, time.Since(s.proc.started))
			return true
		}
		select {
		case <-s.proc.exit:
			return false
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no answer: %v", err)
		}
	}
}

// url returns the URL of a stream's name and query.
func (s *server) url(name string) string { return *s.base.Load() + name }

// address returns host and port.
func (s *server) address() string {
	addr, _, _ := strings.Cut(strings.TrimPrefix(*s.base.Load(), "http://"), "/")
	return addr
}

// kill ends the process as the kernel does when memory runs out.
func (s *server) kill() {
	s.t.Helper()
	if err := s.proc.cmd.Process.Kill(); err != nil && err != os.ErrProcessDone {
		s.t.Fatal(err)
	}
	s.wait()
}

// terminate asks the process to end as a service manager does.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil && err != os.ErrProcessDone {
		s.t.Fatal(err)
	}
}

// stop ends the process in good order.
func (s *server) stop() {
	s.t.Helper()
	s.terminate()
	if err := s.wait(); err != nil {
		s.t.Fatalf("the server ended with %v", err)
	}
}

// wait waits for the end of the process.
func (s *server) wait() error {
	s.t.Helper()
	select {
	case <-s.proc.exit:
		return s.proc.err
	case <-time.After(patience):
		s.t.Fatal("the server does not end")
		panic("unreachable")
	}
}

// failToStart starts a process that must end by itself with an error, and returns
// what it wrote.
func (s *server) failToStart() string {
	s.t.Helper()
	s.launch()
	if s.ready() {
		s.t.Fatal("the server has started")
	}
	if s.proc.err == nil {
		s.t.Error("the server failed to start and ended as if all were well")
	}
	return string(s.log())
}

// log returns what the process now has written.
func (s *server) log() []byte {
	log := s.wholeLog()
	return log[min(s.proc.logFrom, int64(len(log))):]
}

// logLine is a line of the server's log.
type logLine struct {
	Level  string  `json:"level"`
	Logger string  `json:"logger"`
	Msg    string  `json:"msg"`
	LSN    float64 `json:"lsn"`
	// Records is how many were replayed.
	Records int `json:"records"`
	text    string
}

// lines returns the lines of a log that fit. A last line that a kill has cut is
// left out.
func lines(log []byte, fits func(*logLine) bool) (found []logLine) {
	for line := range bytes.Lines(log) {
		l := logLine{text: string(line)}
		if json.Unmarshal(line, &l) == nil && fits(&l) {
			found = append(found, l)
		}
	}
	return found
}

func says(msg string) func(*logLine) bool {
	return func(l *logLine) bool { return l.Msg == msg }
}

// warnings returns the warnings and errors that the process has written about its
// streams.
func (s *server) warnings() []logLine {
	return lines(s.log(), func(l *logLine) bool {
		return l.Level != "debug" && l.Level != "info" && strings.Contains(l.Logger, "durable_streams")
	})
}

// files returns the paths of the files in a folder of the data folder.
func (s *server) files(folder, pattern string) []string {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.dir, folder, pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}
