package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// sample is an index on disk, as files, and what it holds.
type sample struct {
	files map[string][]byte
	want  map[string]string
}

// sampleStopped is an index after Close: all of it is in tables.
func sampleStopped(t *testing.T) sample {
	dir, want, x := sampleFilled(t)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	s := sample{files: readFiles(t, dir), want: want}
	if !s.has(".sst") || s.has(".mem") {
		t.Fatalf("files of a stopped index: %v", s.names())
	}
	return s
}

// sampleKilled is an index as kill -9 leaves it: tables, and two logs, of which the
// first was finished.
func sampleKilled(t *testing.T) sample {
	dir, want, x := sampleFilled(t)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for round := range 6 {
		kv := map[string]string{}
		for i := range 50 {
			kv[fmt.Sprintf("late %d/%d", round, i)] = fmt.Sprint("value", i)
		}
		apply(t, x, kv)
		for k, v := range kv {
			want[k] = v
		}
	}
	s := sample{files: readFiles(t, dir), want: want}
	s.splitLog(t)
	return s
}

func sampleFilled(t *testing.T) (dir string, want map[string]string, x Index) {
	t.Helper()
	dir = t.TempDir()
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]string{}
	for i := range 500 {
		want[string(benchKey(i))] = string(benchValue(i))
	}
	want["long"] = strings.Repeat("x", 20_000)
	apply(t, x, want)
	return dir, want, x
}

// splitLog makes two logs of the only one, as if badger had begun another after
// half of the transactions.
func (s sample) splitLog(t *testing.T) {
	t.Helper()
	var name string
	for n := range s.files {
		if strings.HasSuffix(n, ".mem") {
			name = n
		}
	}
	log := s.files[name]
	ends := []int{logHeaderLen}
	for pos := logHeaderLen; ; {
		e := parseLogEntry(log[pos:])
		if e.length == 0 {
			break
		}
		pos += e.length
		if e.meta&logEndsTxn != 0 {
			ends = append(ends, pos)
		}
	}
	if len(ends) != 7 {
		t.Fatalf("%d transactions in the log, of %v", len(ends)-1, s.names())
	}
	half, end := ends[3], ends[6]
	var number int
	if _, err := fmt.Sscanf(name, "%d.mem", &number); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 4096)
	s.files[name] = slices.Concat(log[:half], zeros)
	s.files[fmt.Sprintf("%05d.mem", number+1)] = slices.Concat(log[:logHeaderLen], log[half:end], zeros)
}

func (s sample) has(suffix string) bool {
	return slices.ContainsFunc(s.names(), func(n string) bool { return strings.HasSuffix(n, suffix) })
}

func (s sample) names() []string {
	var names []string
	for n := range s.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// write makes a folder of the sample, with one file replaced, or left out when
// data is nil.
func (s sample) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	for n, content := range s.files {
		if n == name {
			content = data
		}
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, n), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readFiles reads a folder. The zeros that end badger's mapped files are cut.
func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		if len(data) > 1<<20 {
			data = append(bytes.TrimRight(data, "\x00"), make([]byte, 1<<12)...)
		}
		files[path] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// verdict opens the index in dir and reads all of it. It returns nil when all is as
// it should be, and else what is wrong: ErrCorrupt if the index noticed, errDiffers
// if it did not.
func verdict(t *testing.T, dir string, want map[string]string) error {
	t.Helper()
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		return err
	}
	defer func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	return compare(x, want)
}

func forSamples(t *testing.T, run func(t *testing.T, s sample)) {
	t.Run("stopped", func(t *testing.T) { run(t, sampleStopped(t)) })
	t.Run("killed", func(t *testing.T) { run(t, sampleKilled(t)) })
}

func TestBadger_intactSamples(t *testing.T) {
	forSamples(t, func(t *testing.T, s sample) {
		t.Logf("%v", s.names())
		if err := verdict(t, s.write(t, "", nil), s.want); err != nil {
			t.Error(err)
		}
	})
}

// A flipped bit anywhere is noticed or does no harm.
func TestBadger_flippedBits(t *testing.T) {
	t.Parallel()
	seed := rand.Int64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	forSamples(t, func(t *testing.T, s sample) {
		for _, name := range s.names() {
			noticed, n := 0, 0
			for _, pos := range positions(rng, len(bytes.TrimRight(s.files[name], "\x00"))) {
				data := bytes.Clone(s.files[name])
				data[pos] ^= 1 << rng.IntN(8)
				err := verdict(t, s.write(t, name, data), s.want)
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: bit flipped at %d of %d: %v", name, pos, len(data), err)
				}
				n++
				if err != nil {
					noticed++
				}
			}
			t.Logf("%s: noticed %d of %d", name, noticed, n)
		}
	})
}

// positions returns the first and the last bytes of a file of n, and some between.
func positions(rng *rand.Rand, n int) []int {
	var ps []int
	for i := range min(n, 6) {
		ps = append(ps, i, n-1-i)
	}
	for range min(n, 8) {
		ps = append(ps, rng.IntN(n))
	}
	slices.Sort(ps)
	return slices.Compact(ps)
}

func TestBadger_truncatedFiles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(uint64(1), 0))
	forSamples(t, func(t *testing.T, s sample) {
		for _, name := range s.names() {
			data := bytes.TrimRight(s.files[name], "\x00")
			ends := []int{0, 1, len(data) / 2, len(data) - 1}
			for range 4 {
				ends = append(ends, rng.IntN(len(data)+1))
			}
			for _, end := range ends {
				if end < 0 {
					continue
				}
				err := verdict(t, s.write(t, name, append([]byte{}, data[:end]...)), s.want)
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: cut to %d of %d: %v", name, end, len(data), err)
				}
			}
		}
	})
}

func TestBadger_missingFiles(t *testing.T) {
	t.Parallel()
	mustNotice := func(name string) bool {
		return name == badger.ManifestFilename || name == appliedName ||
			strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".mem")
	}
	forSamples(t, func(t *testing.T, s sample) {
		for _, name := range s.names() {
			err := verdict(t, s.write(t, name, nil), s.want)
			if mustNotice(name) != errors.Is(err, ErrCorrupt) || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("without %s: %v", name, err)
			}
		}
	})
}

// The manifest loses its last record: a table that is there would be deleted.
func TestBadger_manifestLosesARecord(t *testing.T) {
	t.Parallel()
	forSamples(t, func(t *testing.T, s sample) {
		data := s.files[badger.ManifestFilename]
		var ends []int
		for pos := 8; pos < len(data); {
			ends = append(ends, pos)
			pos += 8 + int(binary.BigEndian.Uint32(data[pos:]))
		}
		for _, end := range ends[1:] {
			err := verdict(t, s.write(t, badger.ManifestFilename, data[:end]), s.want)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("manifest cut to %d of %d: %v", end, len(data), err)
			}
		}
	})
}

// A power loss tears the last transaction, which was not acknowledged: the one
// before it is there.
func TestBadger_tornLastTransaction(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	want := map[string]string{"a": "1"}
	apply(t, x, want)
	before := readFiles(t, dir)
	apply(t, x, map[string]string{"a": "2", "b": "2"})
	s := sample{files: readFiles(t, dir), want: want}
	s.files[appliedName] = before[appliedName]
	log := "00001.mem"
	from, to := len(bytes.TrimRight(before[log], "\x00")), len(bytes.TrimRight(s.files[log], "\x00"))
	if from >= to {
		t.Fatal(from, to)
	}
	for end := from; end < to; end += 3 {
		torn := slices.Concat(s.files[log][:end], make([]byte, 4096))
		if err := verdict(t, s.write(t, log, torn), want); err != nil {
			t.Errorf("torn at %d: %v", end, err)
		}
	}
	// Had it been acknowledged, the loss would be noticed.
	torn := slices.Concat(s.files[log][:to-1], make([]byte, 4096))
	s.files[appliedName] = readFiles(t, dir)[appliedName]
	if err := verdict(t, s.write(t, log, torn), want); !errors.Is(err, ErrCorrupt) {
		t.Errorf("lost transaction: %v", err)
	}
}

// A log whose creation a crash interrupted holds nothing yet.
func TestBadger_emptyLastLog(t *testing.T) {
	s := sampleStopped(t)
	for _, n := range []int{0, 5, logHeaderLen, 4096} {
		s.files["00009.mem"] = make([]byte, n)
		if err := verdict(t, s.write(t, "", nil), s.want); err != nil {
			t.Errorf("log of %d bytes: %v", n, err)
		}
	}
}

// Bytes that change below an open index are noticed as far as they are read.
func TestBadger_damageWhileOpen(t *testing.T) {
	s := sampleStopped(t)
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, f *os.File, value int64)
	}{
		{"flipped", func(t *testing.T, f *os.File, value int64) {
			if _, err := f.WriteAt([]byte("?"), value); err != nil {
				t.Fatal(err)
			}
		}},
		{"truncated", func(t *testing.T, f *os.File, _ int64) {
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := s.write(t, "", nil)
			x, err := OpenBadger(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			for name, data := range s.files {
				if at := bytes.Index(data, benchValue(7)); strings.HasSuffix(name, ".sst") && at >= 0 {
					f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					test.damage(t, f, int64(at))
				}
			}
			var ce *CorruptionError
			if _, err := x.Get(nil, benchKey(7)); !errors.Is(err, ErrCorrupt) || !errors.As(err, &ce) {
				t.Errorf("Get = %v", err)
			}
			if err := x.Scan(nil, nil, func(_, _ []byte) bool { return true }); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Scan = %v", err)
			}
		})
	}
}

func FuzzCheckLog(f *testing.F) {
	entry := []byte{0xc0, 0, 9, 2, 0, 'k', 255, 255, 255, 255, 255, 255, 255, 254, 'v', 'w'}
	f.Add(append(make([]byte, logHeaderLen), appendChecksum(entry, entry)...), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, last bool) {
		first, newest, err := checkLog(data, last)
		if first > newest || err != nil && newest != 0 {
			t.Errorf("%d to %d, %v", first, newest, err)
		}
	})
}
