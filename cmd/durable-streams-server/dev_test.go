package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runAsServer makes this test's binary the server.
const runAsServer = "DURABLE_STREAMS_TEST_RUN_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(runAsServer) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// server runs the program with home as the user's folder.
func server(t *testing.T, home string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), runAsServer+"=1", "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Stderr = os.Stderr
	return cmd
}

// startDev runs dev and returns what it prints and the URL of its streams.
func startDev(t *testing.T, home string, args ...string) (cmd *exec.Cmd, printed, base string) {
	t.Helper()
	listen := freeAddr(t)
	cmd = server(t, home, append([]string{"dev", "--listen", listen}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		printed += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "  curl http") {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return cmd, printed, "http://" + listen + "/v1/stream/"
		}
	}
	t.Fatalf("dev ended after it printed:\n%s", printed)
	return nil, "", ""
}

func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func request(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func TestDev(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	chosen := filepath.Join(t.TempDir(), "with {braces} and spaces")
	for _, test := range []struct {
		name string
		args []string
		data string // what dev says of it
		kept bool
	}{
		{"no folder", nil, filepath.Join(home, "durable-streams", "dev"), true},
		{"a folder", []string{"--data-dir", chosen}, chosen, true},
		{"memory", []string{"--memory"}, "in memory; gone when this command ends", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			// One that runs already does not disturb.
			other, _, _ := startDev(t, home, "--memory")
			defer stop(t, other)
			cmd, printed, base := startDev(t, home, test.args...)
			if !strings.Contains(printed, "Data:     "+test.data) || !strings.Contains(printed, "Streams:  "+base+"\n") {
				t.Errorf("dev printed\n%s", printed)
			}
			for _, elsewhere := range []string{"", "v1/stream", "first"} {
				if status, text := request(t, "PUT", strings.TrimSuffix(base, "v1/stream/")+elsewhere, "hello"); status != http.StatusNotFound || !strings.Contains(text, "below /v1/stream/") {
					t.Errorf("PUT /%s: %d %s", elsewhere, status, text)
				}
			}
			if status, text := request(t, "PUT", base+"first", "hello"); status != http.StatusCreated {
				t.Fatalf("PUT: %d %s", status, text)
			}
			stop(t, cmd)
			cmd, _, base = startDev(t, home, test.args...)
			defer stop(t, cmd)
			status, text := request(t, "GET", base+"first", "")
			if kept := status == http.StatusOK && text == "hello"; kept != test.kept {
				t.Errorf("after a restart: %d %s", status, text)
			}
			if _, err := os.Stat(filepath.Join(home, "caddy", "autosave.json")); err == nil {
				t.Error("dev replaced the config that `run --resume` would load")
			}
		})
	}
}

func TestDev_refused(t *testing.T) {
	_, _, base := startDev(t, t.TempDir(), "--memory")
	taken := strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/v1/stream/")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", "4437"}, "write host:port"},
		{[]string{"--listen", "127.0.0.1:0"}, "the port must be a number from 1 to 65535"},
		{[]string{"--listen", "127.0.0.1:http"}, "the port must be a number"},
		{[]string{"--memory", "--listen", taken}, "address already in use; choose another address"},
		{[]string{"a-folder"}, "a-folder"},
		{[]string{"--memory", "--data-dir", "x"}, "--memory and --data-dir exclude each other"},
	} {
		cmd := server(t, t.TempDir(), append([]string{"dev"}, test.args...)...)
		cmd.Stderr = nil
		watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		output, err := cmd.CombinedOutput()
		watchdog.Stop()
		if err == nil || !strings.Contains(string(output), test.want) {
			t.Errorf("dev %v: %v\n%s", test.args, err, output)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:4437":  "http://127.0.0.1:4437/v1/stream/",
		":4437":           "http://localhost:4437/v1/stream/",
		"0.0.0.0:80":      "http://localhost:80/v1/stream/",
		"[::]:4437":       "http://localhost:4437/v1/stream/",
		"[::1]:4437":      "http://[::1]:4437/v1/stream/",
		"dev.example:443": "http://dev.example:443/v1/stream/",
	} {
		if got, err := baseURL(listen); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", listen, got, err, want)
		}
	}
}

func TestVersion(t *testing.T) {
	output, err := server(t, t.TempDir(), "version").Output()
	if err != nil || !strings.HasPrefix(string(output), "durable-streams-server ") || !strings.Contains(string(output), ", Caddy v2") {
		t.Errorf("version printed %q, %v", output, err)
	}
}
