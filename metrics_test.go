package durablestreams_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	// Two handlers with one base path, and one with another, over reloads.
	site := func(i int) string {
		return fmt.Sprintf("metrics /metrics\ndurable_streams /v1/stream/a* {\n\tlong_poll_timeout %ds\n}\n"+
			"durable_streams /v1/stream/* {\n\tlong_poll_timeout 1s\n}\ndurable_streams /other/* {\n\tbase_path /other\n}", i+1)
	}
	c := start(t, site(0))
	for i := range 2 {
		if i > 0 {
			c.load(site(i))
		}
		a, b := c.url("/v1/stream/a"+name()), c.url("/v1/stream/b"+name())
		status(t, http.StatusCreated, "PUT", a, "12345")
		status(t, http.StatusCreated, "PUT", b, "")
		next := status(t, http.StatusNoContent, "POST", b, "123").Header.Get("Stream-Next-Offset")
		status(t, http.StatusOK, "GET", a, "")
		status(t, http.StatusNotFound, "GET", c.url("/other/"+name()), "")
		sse := open(t, http.DefaultClient, "GET", b+"?offset="+next+"&live=sse", "", nil)
		live := events(sse)
		within(t, "first control event", live)

		got := status(t, http.StatusOK, "GET", c.url("/metrics"), "").body
		for _, want := range []string{
			`durable_streams_appends_total{base_path="/v1/stream"} 1`,
			`durable_streams_appended_bytes_total{base_path="/v1/stream"} 8`,
			`durable_streams_read_bytes_total{base_path="/v1/stream"} 5`,
			`durable_streams_read_bytes_total{base_path="/other"} 0`,
			`durable_streams_sse_readers{base_path="/v1/stream"} 1`,
			`durable_streams_long_poll_readers{base_path="/v1/stream"} 0`,
			`durable_streams_refusals_total{base_path="/other",code="not_found"} 1`,
			`durable_streams_refusals_total{base_path="/v1/stream",code="not_found"} 0`,
			`durable_streams_failures_total{base_path="/v1/stream"} 0`,
		} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("load %d: no %s in\n%s", i, want, grep(got, "durable_streams"))
			}
		}
		_ = sse.Body.Close()
		drain(t, "end of the SSE response", live)
	}
}

func TestMetrics_disk(t *testing.T) {
	dir := t.TempDir()
	c := start(t, "metrics /metrics\ndurable_streams /v1/stream/* {\n\tdata_dir "+dir+"\n}")
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream/a"), "12345")
	got := status(t, http.StatusOK, "GET", c.url("/metrics"), "").body
	for _, want := range []string{
		`durable_streams_disk_failed{data_dir="` + dir + `"} 0`,
		`durable_streams_disk_streams_in_memory{data_dir="` + dir + `"} 1`,
		`durable_streams_disk_journal_records_total{data_dir="` + dir + `"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, grep(got, "durable_streams_disk"))
		}
	}
}

// grep returns the lines that contain part.
func grep(text, part string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
