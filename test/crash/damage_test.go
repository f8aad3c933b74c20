package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// flip changes one bit of a file.
func flip(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// find returns the file in a folder that holds b, and where.
func (s *server) find(t *testing.T, folder string, b []byte) (file string, at int64) {
	t.Helper()
	for _, file := range s.files(folder, "*") {
		all, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(all, b); i >= 0 {
			return file, int64(i)
		}
	}
	t.Fatalf("no file in %s has %s", folder, short(b))
	panic("unreachable")
}

// TestDamage_segment flips a bit of a stream's bytes where they are stored.
func TestDamage_segment(t *testing.T) {
	t.Parallel()
	const size, bad = 100 << 10, 50 << 10
	srv := newServer(t)
	srv.start()
	contents := make(map[string][]byte)
	types := []string{typeText, typeBinary, typeText}
	for i, name := range []string{"before", "victim", "after"} {
		contents[name] = payload(types[i], name, size)
		srv.must(t, http.StatusCreated, "PUT", name, contents[name], "Content-Type: "+types[i])
	}
	srv.stop()
	victim := contents["victim"]
	file, at := srv.find(t, "segments", victim[bad:bad+100])
	flip(t, file, at)
	srv.start()
	others := func() {
		t.Helper()
		for _, name := range []string{"before", "after"} {
			if got := srv.mustRead(t, name); !bytes.Equal(got, contents[name]) {
				t.Errorf("%s: %s", name, difference(got, contents[name]))
			}
		}
	}
	failed := 0
	for _, from := range []int{0, 1, bad - 1, bad, bad + 1, size - 1, size} {
		for _, live := range []string{"", "&live=long-poll"} {
			r, err := srv.do("GET", fmt.Sprintf("victim?offset=%s%s", offset(int64(from)), live), nil)
			right := victim[from:]
			switch {
			case err != nil && r.status == 0:
				t.Errorf("from %d%s: %v", from, live, err)
			case r.status >= 500:
				failed++
				if bytes.Contains(r.body, victim[from:min(from+50, size)]) && from+50 < size {
					t.Errorf("from %d%s: an error with the stream's bytes", from, live)
				}
				if bytes.Contains(r.body, []byte(srv.dir)) {
					t.Errorf("from %d%s: the error tells a path: %s", from, live, short(r.body))
				}
			case r.status == http.StatusNoContent && from == size:
			case r.status != http.StatusOK:
				t.Errorf("from %d%s: status %d: %s", from, live, r.status, short(r.body))
			case !bytes.HasPrefix(right, r.body):
				t.Errorf("from %d%s: wrong bytes: %s", from, live, difference(r.body, right))
			case err == nil && len(r.body) != len(right) && from <= bad:
				t.Errorf("from %d%s: %d bytes as if that were all", from, live, len(r.body))
			case err == nil && from <= bad:
				t.Errorf("from %d%s: the damaged bytes were read as if they were good", from, live)
			case err != nil:
				failed++
			}
			others()
		}
	}
	if failed == 0 {
		t.Error("no read has failed")
	}
	// The same by events, whose bytes have to be right as far as they come.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := srv.open(ctx, "GET", "victim?live=sse&offset=-1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode < 500 {
		w := &world{t: t, srv: srv, counts: make(map[string]int)}
		r := reader{contentType: typeBinary, sse: true, name: "victim", target: -1}
		r.events(w, res)
		if !bytes.HasPrefix(victim, r.seen) || len(r.seen) > bad {
			t.Errorf("events carried %s", difference(r.seen, victim))
		}
	}
	others()
	srv.must(t, http.StatusNoContent, "POST", "after", []byte("more"))
	contents["after"] = append(contents["after"], "more"...)
	if found := srv.warnings(); !strings.Contains(fmt.Sprint(found), file) {
		t.Errorf("the log does not name %s: %+v", file, found)
	}
	srv.stop()
	flip(t, file, at)
	srv.start()
	others()
	if got := srv.mustRead(t, "victim"); !bytes.Equal(got, victim) {
		t.Errorf("victim, mended: %s", difference(got, victim))
	}
}

// TestDamage_anywhere flips a bit anywhere in a segment: every read is right or
// fails.
func TestDamage_anywhere(t *testing.T) {
	t.Parallel()
	rng := newRand("damage anywhere")
	srv := newServer(t)
	srv.start()
	contents := make(map[string][]byte)
	for i := range 40 {
		name := fmt.Sprintf("s/%d", i)
		contents[name] = payload(typeText, name, 1+rng.IntN(20<<10))
		srv.must(t, http.StatusCreated, "PUT", name, contents[name])
	}
	srv.stop()
	file, _ := srv.find(t, "segments", contents["s/1"])
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	places := []int64{0, 1, 64, fi.Size() - 1, fi.Size() - 20, fi.Size() - 130}
	for range 3 {
		places = append(places, rng.Int64N(fi.Size()))
	}
	failed := 0
	for _, at := range places {
		flip(t, file, at)
		srv.start()
		for name, want := range contents {
			r, err := srv.do("GET", name, nil)
			switch {
			case r.status == http.StatusOK && err == nil && !bytes.Equal(r.body, want),
				r.status == http.StatusOK && err != nil && !bytes.HasPrefix(want, r.body):
				t.Errorf("byte %d of %d flipped: %s: %s", at, fi.Size(), name, difference(r.body, want))
			case r.status == http.StatusOK && err == nil:
			case r.status == http.StatusOK, r.status >= 500:
				failed++
			default:
				t.Errorf("byte %d of %d flipped: %s: status %d, %v: %s", at, fi.Size(), name, r.status, err, short(r.body))
			}
		}
		srv.kill()
		flip(t, file, at)
	}
	srv.start()
	for name, want := range contents {
		srv.expect(t, name, string(want))
	}
	t.Logf("%d flips in %d bytes made %d of %d reads fail", len(places), fi.Size(), failed, len(places)*len(contents))
	if failed == 0 {
		t.Error("no read has failed")
	}
}

// written makes appends one after the other, so that each is a batch of the
// journal, and returns them.
func written(t *testing.T, srv *server, n int) (appends [][]byte) {
	t.Helper()
	srv.must(t, http.StatusCreated, "PUT", "a", nil)
	for i := range n {
		appends = append(appends, payload(typeText, fmt.Sprintf("journal.%d", i), 1000))
		srv.must(t, http.StatusNoContent, "POST", "a", appends[i])
	}
	return appends
}

// TestDamage_journal flips a bit of an acknowledged append that others follow.
func TestDamage_journal(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	srv.start()
	appends := written(t, srv, 20)
	srv.kill()
	for _, damaged := range []int{0, 7, 18} {
		file, at := srv.find(t, "journal", appends[damaged])
		at += 500
		flip(t, file, at)
		before := digests(t, srv)
		output := srv.failToStart()
		place := regexp.MustCompile(regexp.QuoteMeta(file) + ` is damaged at byte (\d+)`).FindStringSubmatch(output)
		if place == nil {
			t.Fatalf("append %d: the error does not name %s and a position:\n%s", damaged, file, output)
		}
		if n, err := strconv.ParseInt(place[1], 10, 64); err != nil || n > at || at-n > 2000 {
			t.Errorf("append %d: the error names byte %s, the damage is at %d", damaged, place[1], at)
		}
		if after := digests(t, srv); after != before {
			t.Errorf("append %d: the journal has changed from\n%s to\n%s", damaged, before, after)
		}
		flip(t, file, at)
	}
	srv.start()
	srv.expect(t, "a", string(bytes.Join(appends, nil)))
}

// digests describes all files of the journal.
func digests(t *testing.T, srv *server) (all string) {
	t.Helper()
	for _, file := range srv.files("journal", "*") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintf("%s %x\n", file, sha256.Sum256(b))
	}
	return all
}

// TestDamage_journalTail puts behind the journal's last batch what a crash may
// leave there.
func TestDamage_journalTail(t *testing.T) {
	t.Parallel()
	rng := newRand("journal tail")
	srv := newServer(t)
	srv.start()
	appends := written(t, srv, 10)
	want := string(bytes.Join(appends, nil))
	srv.kill()
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for _, tail := range []struct {
		name string
		make func(all []byte, end int) []byte
		torn bool
	}{
		{"nothing", func([]byte, int) []byte { return nil }, false},
		{"a few bytes", func([]byte, int) []byte { return noise(5) }, false},
		{"random bytes", func([]byte, int) []byte { return noise(10_000) }, false},
		{"random bytes to the end of the file", func(all []byte, end int) []byte { return noise(len(all) - end) }, false},
		// The first batch begins at byte 1024; see store/disk/journal.
		{"the header of a batch", func(all []byte, _ int) []byte { return bytes.Clone(all[1024 : 1024+32]) }, true},
		{"the beginning of a batch", func(all []byte, _ int) []byte { return bytes.Clone(all[1024 : 1024+40]) }, true},
	} {
		file, at := srv.find(t, "journal", appends[len(appends)-1])
		all, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		end := int(at) + len(appends[len(appends)-1])
		if rest := bytes.TrimRight(all[end:], "\x00"); len(rest) > 0 && tail.name == "nothing" {
			t.Fatalf("%d bytes follow the last append", len(rest))
		}
		end = (end + 7) / 8 * 8
		garbage := tail.make(all, end)
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(garbage, int64(end)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		srv.start()
		srv.expect(t, "a", want)
		if got := len(srv.warnings()) > 0; tail.torn && !got {
			t.Errorf("%s: no warning", tail.name)
		}
		more := payload(typeText, "after."+strings.ReplaceAll(tail.name, " ", "-"), 100)
		srv.must(t, http.StatusNoContent, "POST", "a", more)
		appends = append(appends, more)
		want += string(more)
		srv.kill()
	}

	// The file has its whole length from the beginning, so no crash cuts it. What
	// has nevertheless may have cut off what was acknowledged.
	file, at := srv.find(t, "journal", appends[len(appends)-1])
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, at+4096); err != nil {
		t.Fatal(err)
	}
	if output := srv.failToStart(); !strings.Contains(output, file+" is damaged at byte "+strconv.FormatInt(at+4096, 10)) {
		t.Errorf("a cut journal: the error does not name %s and a position:\n%s", file, output)
	}
	if now, err := os.Stat(file); err != nil || now.Size() != at+4096 {
		t.Errorf("a cut journal is not left as it was: %v, %v", now, err)
	}
	if err := os.Truncate(file, fi.Size()); err != nil {
		t.Fatal(err)
	}
	srv.start()
	srv.expect(t, "a", want)
}
