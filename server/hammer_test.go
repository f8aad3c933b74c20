package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// TestLive_noLostWakeUp lets readers follow a stream while writers append to it
// without a pause. A lost wake-up leaves a reader waiting for longer than a test
// may take; a byte lost or seen twice shows in what it got.
func TestLive_noLostWakeUp(t *testing.T) {
	const writers, appends, readers = 4, 250, 12
	w := newWorld(t, server.Config{LongPollTimeout: time.Hour, SSEReconnectInterval: time.Hour})
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	client := srv.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = writers + readers
	url := srv.URL + base + "a"
	do := func(method, query, body string, headers ...string) (*http.Response, string) {
		r, err := http.NewRequest(method, url+query, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return &http.Response{}, ""
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return &http.Response{}, ""
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp, string(got)
	}
	do("PUT", "", "", "Content-Type", text)

	longPoll := func() string {
		var all strings.Builder
		for offset := "-1"; ; {
			resp, body := do("GET", "?offset="+offset+"&live=long-poll", "")
			if resp.StatusCode != 200 && resp.StatusCode != 204 {
				t.Errorf("status %d: %s", resp.StatusCode, body)
				return ""
			}
			all.WriteString(body)
			offset = resp.Header.Get("Stream-Next-Offset")
			if resp.Header.Get("Stream-Closed") != "" {
				return all.String()
			}
		}
	}
	sse := func() string {
		resp, err := client.Get(url + "?offset=-1&live=sse")
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		return string(decodeAll(t, newEventReader(resp.Body), text))
	}

	results := make([]string, readers)
	var reading, writing sync.WaitGroup
	for i := range readers {
		reading.Go(func() {
			if i%2 == 0 {
				results[i] = longPoll()
			} else {
				results[i] = sse()
			}
		})
	}
	for i := range writers {
		writing.Go(func() {
			for j := range appends {
				if resp, body := do("POST", "", fmt.Sprintf("%d.%d\n", i, j), "Content-Type", text); resp.StatusCode != 204 {
					t.Errorf("status %d: %s", resp.StatusCode, body)
				}
			}
		})
	}
	writing.Wait()
	do("POST", "", "", "Stream-Closed", "true")
	reading.Wait()

	_, want := do("GET", "", "")
	if lines := strings.Count(want, "\n"); lines != writers*appends {
		t.Errorf("%d lines stored", lines)
	}
	for i, got := range results {
		if got != want {
			t.Errorf("reader %d has %d bytes, want %d others", i, len(got), len(want))
		}
	}
	s := w.handler.Stats()
	if s.LongPollReaders != 0 || s.Appends != writers*appends+1 || s.AppendedBytes != int64(len(want)) {
		t.Errorf("%+v", s)
	}
}
