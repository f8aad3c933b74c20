package crash

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestFolder_twoServers starts a second server on the folder of the first.
func TestFolder_twoServers(t *testing.T) {
	t.Parallel()
	first := newServer(t)
	first.start()
	first.must(t, http.StatusCreated, "PUT", "a", []byte("one"))
	second := newServer(t)
	second.dir = first.dir
	for range 2 {
		output := second.failToStart()
		for _, want := range []string{first.dir, fmt.Sprintf("process %d", first.proc.cmd.Process.Pid)} {
			if !strings.Contains(output, want) {
				t.Errorf("the second server's error does not name %q:\n%s", want, output)
			}
		}
		first.must(t, http.StatusNoContent, "POST", "a", []byte(", two"))
	}
	first.expect(t, "a", "one, two, two")
	first.kill()
	// A lock does not outlive its process.
	second.start()
	second.expect(t, "a", "one, two, two")
	second.must(t, http.StatusNoContent, "POST", "a", []byte(", three"))
	second.stop()
	first.start()
	first.expect(t, "a", "one, two, two, three")
}
