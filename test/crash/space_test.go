package crash

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// TestSpace has streams deleted and expire, and waits for the room they took.
func TestSpace(t *testing.T) {
	t.Parallel()
	const n, size = 900, 16 << 10
	srv := newServer(t, "segment_size 2MiB")
	srv.start()
	// One third stays, one is deleted, one expires.
	const stays, deleted, expires = 0, 1, 2
	name := func(i int) string { return fmt.Sprintf("space/%d", i) }
	body := func(i int) string { return string(payload(typeBinary, name(i), size)) }
	srv.each(t, n, func(i int) (string, string, string, string) {
		if i%3 == expires {
			return "PUT", name(i), "Stream-TTL: 1\r\n", body(i)
		}
		return "PUT", name(i), "", body(i)
	}, has(http.StatusCreated, ""))
	// What is not yet in a segment comes into one by a stop.
	srv.stop()
	full := srv.size("segments")
	if full < n*2/3*size {
		t.Fatalf("%d bytes in segments, want at least the %d of the streams that did not expire", full, n*2/3*size)
	}
	srv.start()
	srv.each(t, n/3, func(i int) (string, string, string, string) {
		return "DELETE", name(3*i + deleted), "", ""
	}, has(http.StatusNoContent, ""))
	// Half of a segment may be dead before it is worth rewriting, and what was
	// written by the last checkpoint is not merged with others.
	srv.shrinks(t, n/3*size*8/5)
	check := func() {
		t.Helper()
		srv.each(t, n, func(i int) (string, string, string, string) {
			return "GET", name(i), "", ""
		}, func(i int) (int, string) {
			if i%3 == stays {
				return http.StatusOK, body(i)
			}
			return http.StatusNotFound, ""
		})
	}
	check()
	srv.kill()
	srv.start()
	check()

	// All of it.
	srv.each(t, n/3, func(i int) (string, string, string, string) {
		return "DELETE", name(3*i + stays), "", ""
	}, has(http.StatusNoContent, ""))
	srv.stop()
	srv.start()
	srv.shrinks(t, n/3*size/10)
}

// shrinks waits until the segments have at most so many bytes.
func (s *server) shrinks(t *testing.T, most int64) {
	t.Helper()
	begin := time.Now()
	before := s.size("segments")
	for s.size("segments") > most {
		if time.Since(begin) > patience {
			t.Fatalf("the segments have %d bytes still, want at most %d; all files have %d", s.size("segments"), most, s.size(""))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("the segments had %d bytes and have %d after %v; all files have %d", before, s.size("segments"), time.Since(begin), s.size(""))
}

// size returns the size of the files in a folder of the data folder, in bytes.
func (s *server) size(folder string) (n int64) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err == nil {
			n += info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
