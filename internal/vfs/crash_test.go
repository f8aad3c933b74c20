package vfs

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sectors returns one sector per letter, filled with it; '.' stands for zeros.
func sectors(letters string) string {
	var b strings.Builder
	for _, c := range []byte(letters) {
		if c == '.' {
			c = 0
		}
		b.Write(bytes.Repeat([]byte{c}, sectorSize))
	}
	return b.String()
}

// describe lists a tree's files as name=sectors, where a letter stands for a
// sector, and its empty directories as name/.
func describe(t *testing.T, m *Mem) string {
	t.Helper()
	var found []string
	var walk func(dir string)
	walk = func(dir string) {
		names, err := m.List("/" + dir)
		must(t, err)
		if len(names) == 0 && dir != "" {
			found = append(found, dir+"/")
		}
		for _, name := range names {
			name = filepath.Join(dir, name)
			info, err := m.Stat(name)
			must(t, err)
			if info.IsDir {
				walk(name)
				continue
			}
			found = append(found, name+"="+letters(t, content(t, m, name)))
		}
	}
	walk("")
	return strings.Join(found, " ")
}

// letters is the inverse of sectors.
func letters(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for ; len(s) > 0; s = s[sectorSize:] {
		if len(s) < sectorSize || strings.Count(s[:sectorSize], s[:1]) != sectorSize {
			t.Fatalf("a sector is torn: %q", s[:min(len(s), sectorSize)])
		}
		if s[0] == 0 {
			b.WriteByte('.')
		} else {
			b.WriteByte(s[0])
		}
	}
	return b.String()
}

// script does one operation per word: +f creates f and -f removes it, a>b
// renames, d/ makes a directory, !f syncs a file, !d/ a directory; f=aab writes
// sectors at the start, f@3=aab at sector 3, f#2 truncates to 2 sectors, and f~
// fails to sync f.
func script(t *testing.T, m *Mem, words string) {
	t.Helper()
	for word := range strings.FieldsSeq(words) {
		var err error
		file := func(name string, do func(f File) error) {
			f, openErr := m.OpenReadWrite(name)
			must(t, openErr)
			err = do(f)
			must(t, f.Close())
		}
		switch {
		case word[0] == '+':
			var f File
			if f, err = m.Create(word[1:]); err == nil {
				err = f.Close()
			}
		case word[0] == '-':
			err = m.Remove(word[1:])
		case word[0] == '!' && strings.HasSuffix(word, "/"):
			err = m.SyncDir(word[1:])
		case word[0] == '!':
			file(word[1:], File.Sync)
		case strings.HasSuffix(word, "/"):
			err = m.MkdirAll(word)
		case strings.HasSuffix(word, "~"):
			file(strings.TrimSuffix(word, "~"), func(f File) error { f.(*memFile).failSync(); return nil })
		case strings.Contains(word, ">"):
			from, to, _ := strings.Cut(word, ">")
			err = m.Rename(from, to)
		case strings.Contains(word, "#"):
			name, size, _ := strings.Cut(word, "#")
			file(name, func(f File) error { return f.Truncate(int64(size[0]-'0') * sectorSize) })
		default:
			name, what, _ := strings.Cut(word, "=")
			name, at, _ := strings.Cut(name, "@")
			var off int64
			if at != "" {
				_, err = fmt.Sscan(at, &off)
				must(t, err)
			}
			file(name, func(f File) error { return second(f.WriteAt([]byte(sectors(what)), off*sectorSize)) })
		}
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
	}
}

// TestCrashClone_outcomes checks for each history exactly what can be found
// after a power loss: nothing that the model does not allow, and everything
// that it does.
func TestCrashClone_outcomes(t *testing.T) {
	for _, c := range []struct {
		name, history string
		loseAll       string   // after CrashLoseAll, which is a random outcome too
		also          []string // other random outcomes; "now" is the state before the crash
	}{
		{"nothing", "", "", nil},
		{"everything synced", "+f f=a !f !/", "f=a", nil},

		// Names.
		{"create without SyncDir", "+f f=a !f", "", []string{"now"}},
		{"create without Sync", "+f f=a !/", "f=", []string{"f=.", "now"}},
		{"create and remove", "+f -f", "", []string{"f="}},
		{"remove", "+f !/ -f", "f=", []string{"now"}},
		{"remove, synced", "+f !/ -f !/", "", nil},
		{"removed content", "+f f=a !f !/ -f", "f=a", []string{"now"}},
		{"independent creates", "+a +b", "", []string{"a=", "b=", "now"}},
		{"remove before create is lost", "+a !/ -a +b", "a=", []string{"now", "", "a= b="}},
		{"remove and create of one name", "+a a=x !a !/ -a +a", "a=x", []string{"", "now"}},
		{"rename", "+a !/ a>b", "a=", []string{"now"}},
		{"rename, synced", "+a !/ a>b !/", "b=", nil},
		{"replace", "+a a=n !a +b b=o !b !/ a>b", "a=n b=o", []string{"now"}},
		{"create and rename", "+a a=x !a a>b", "", []string{"a=x", "now"}},
		{"renames of one file are in order", "+a !/ a>b b>c", "a=", []string{"b=", "now"}},
		{"rotation", "+a a=1 !a +b b=2 !b !/ b>c a>b", "a=1 b=2", []string{"a=1 c=2", "now"}},
		{"directory", "d/ +d/f !d/f !d/", "", []string{"d/f="}},
		{"directory synced later", "d/ +d/f !/", "d/", []string{"d/f="}},
		{"nested directories", "a/b/ !a/ +a/b/f !a/b/", "", []string{"a/b/f="}},
		{"remove directory", "d/ +d/f !d/ !/ -d/f -d", "d/f=", []string{"d/", ""}},
		{"move out and remove directory", "d/ +d/f !d/ !/ d/f>f -d", "d/f=", []string{"d/ f=", "f="}},
		{"move out and remove directory, synced", "d/ e/ +d/f !d/ !/ d/f>e/f -d !/", "e/f=", nil},

		// Renames between directories.
		{"move", "d/ e/ +d/f !d/ !/ d/f>e/f", "d/f= e/", []string{"now"}},
		{"move, both synced", "d/ e/ +d/f !d/ !/ d/f>e/f !e/ !d/", "d/ e/f=", nil},
		{"move, new synced", "d/ e/ +d/f !d/ !/ d/f>e/f !e/", "d/f= e/f=", []string{"now"}},
		{"move, old synced", "d/ e/ +d/f !d/ !/ d/f>e/f !d/", "d/ e/f=", nil},
		{"move on, last synced", "d/ e/ +d/f !d/ !/ d/f>e/f e/f>e/g !e/", "d/ e/g=", nil},
		{"move directory", "d/ e/ +d/f !d/ !/ d>e/d", "d/f= e/", []string{"now"}},
		{"move directory after create", "d/ e/ !/ +f d>e/d", "d/ e/", []string{"d/ e/ f=", "now"}},
		{"move directory, new synced", "d/ e/ !/ +f d>e/d !e/", "e/d/ f=", nil},
		{"sync of another directory", "d/ e/ !/ +d/f !e/", "d/ e/", []string{"now"}},

		// Bytes.
		{"overwrite", "+f f=aaaaaaaa !f !/ f=bbbbbbbb", "f=aaaaaaaa", []string{
			"now", "f=baaaaaaa", "f=bbaaaaaa", "f=bbbaaaaa", "f=bbbbaaaa", "f=bbbbbaaa", "f=bbbbbbaa", "f=bbbbbbba",
		}},
		{"overwrite within sectors that stay", "+f f=aaaaaaaa !f !/ f@6=b", "f=aaaaaaaa", []string{"now"}},
		{"append in a page", "+f f=a !f !/ f@1=b", "f=a", []string{"f=a.", "f=ab"}},
		{"pages are independent", "+f f=aaaaaaaabbbbbbbb !f !/ f@7=xy", "f=aaaaaaaabbbbbbbb", []string{
			"f=aaaaaaaxbbbbbbbb", "f=aaaaaaaaybbbbbbb", "now",
		}},
		{"append over a page's end", "+f f=aaaaaaa !f !/ f@7=xy", "f=aaaaaaa", []string{
			"f=aaaaaaax", "f=aaaaaaa.", "f=aaaaaaaxy", "f=aaaaaaa.y", "f=aaaaaaax.", "f=aaaaaaa..",
		}},
		{"grow without bytes", "+f f=a !f !/ f#3", "f=a", []string{"now"}},
		{"shrink", "+f f=aaa !f !/ f#1", "f=aaa", []string{"now"}},
		{"shrink and grow", "+f f=aaa !f !/ f#1 f#2", "f=aaa", []string{"f=a", "f=a."}},
		{"shrink and rewrite", "+f f=aa !f !/ f#0 f=bb", "f=aa", []string{"f=", "f=..", "f=b.", "f=bb"}},
		{"synced through another handle", "+f f=a f@1=b !f !/", "f=ab", nil},
		{"a renamed file's bytes", "+f f=a !f !/ f=b f>g", "f=a", []string{"f=b", "g=a", "g=b"}},
		{"failed sync", "+f f=a !f !/ f=b f~ !f", "f=a", []string{"now"}},
		{"failed sync, written again", "+f f=a !f !/ f=b f~ f=c !f", "f=c", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMem(MemOptions{})
			script(t, m, c.history)
			now := describe(t, m)
			want := map[string]bool{c.loseAll: true}
			for _, s := range c.also {
				if s == "now" {
					s = now
				}
				want[s] = true
			}
			if got := describe(t, m.CrashClone(nil, CrashOptions{})); got != c.loseAll {
				t.Errorf("CrashLoseAll leaves %q, want %q", got, c.loseAll)
			}
			kept := m.CrashClone(nil, CrashOptions{Mode: CrashKeepAll})
			if got := describe(t, kept); got != now {
				t.Errorf("CrashKeepAll leaves %q, want %q", got, now)
			}
			for source, m := range map[string]*Mem{"CrashRandom": m, "CrashRandom after CrashKeepAll": kept} {
				got := map[string]bool{}
				for seed := range uint64(300) {
					rng := rand.New(rand.NewPCG(seed, 0))
					got[describe(t, m.CrashClone(rng, CrashOptions{Mode: CrashRandom}))] = true
				}
				if !maps.Equal(got, want) {
					t.Errorf("%s leaves\n%q, want\n%q", source,
						slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
			}
			if got := describe(t, m); got != now {
				t.Errorf("clones have changed the original to %q from %q", got, now)
			}
		})
	}
}

// TestCrashClone_isIndependent checks that no disk sees what another one writes,
// into pages that were unsynced when they were shared and into others.
func TestCrashClone_isIndependent(t *testing.T) {
	const before, unsynced = "+f f=aaaaaaaa !f !/", "f=bbbbbbbb"
	for _, history := range []string{before, before + " " + unsynced} {
		for _, mode := range []CrashMode{CrashLoseAll, CrashKeepAll, CrashRandom} {
			for seed := range uint64(20) {
				m := NewMem(MemOptions{})
				script(t, m, history)
				c := m.CrashClone(rand.New(rand.NewPCG(seed, 0)), CrashOptions{Mode: mode})
				want := describe(t, c)
				script(t, m, "f=x !f f@1=x")
				if got := describe(t, c); got != want {
					t.Errorf("mode %d: a write to the original has changed %q to %q", mode, want, got)
				}
				want = describe(t, m)
				script(t, c, "f=y !f f@1=y")
				if got := describe(t, m); got != want {
					t.Errorf("mode %d: a write to the clone has changed %q to %q", mode, want, got)
				}
			}
		}
	}
}

// TestCrashClone_isDurable checks that what a power loss has left is not lost in
// the next one.
func TestCrashClone_isDurable(t *testing.T) {
	m := NewMem(MemOptions{})
	script(t, m, "+a a=aaaaaaaaaaaaaaaaaaaa !a !/ a@3=bbbbbbbbb a>b d/ +d/f d/f=zz a/")
	for seed := range uint64(100) {
		first := m.CrashClone(rand.New(rand.NewPCG(seed, 0)), CrashOptions{Mode: CrashRandom})
		want := describe(t, first)
		if got := describe(t, first.CrashClone(nil, CrashOptions{})); got != want {
			t.Fatalf("seed %d: %q has become %q", seed, want, got)
		}
	}
}

// TestCrashClone_random runs random histories against a model: after every
// crash a file has the bytes of its last sync wherever nothing was written
// since, the same seed gives the same disk, and disks do not share bytes.
func TestCrashClone_random(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(60) {
		a, log := randomHistory(t, seed+i)
		b, _ := randomHistory(t, seed+i)
		if a, b := describe(t, a), describe(t, b); a != b {
			t.Fatalf("seed %d: two runs differ:\n%s\n%s\n%s", seed+i, a, b, log)
		}
	}
}

func randomHistory(t *testing.T, seed uint64) (*Mem, string) {
	t.Helper()
	const maxSectors = 40
	type model struct {
		synced, now []byte
		written     []bool // since the last sync, per sector
		low         int    // shortest size since the last sync, in sectors
	}
	var (
		rng    = rand.New(rand.NewPCG(seed, 1))
		m      = NewMem(MemOptions{})
		names  = []string{"a", "b", "c"}
		files  = map[string]*model{}
		log    strings.Builder
		letter = byte('a')
	)
	for _, name := range names {
		script(t, m, "+"+name)
		files[name] = &model{written: make([]bool, maxSectors)}
	}
	script(t, m, "!/")
	for range 100 {
		name := names[rng.IntN(len(names))]
		f := files[name]
		h, err := m.OpenReadWrite(name)
		must(t, err)
		switch rng.IntN(8) {
		case 0:
			fmt.Fprintf(&log, "sync %s\n", name)
			must(t, h.Sync())
			f.synced, f.low = slices.Clone(f.now), len(f.now)
			clear(f.written)
		case 1:
			size := rng.IntN(maxSectors)
			fmt.Fprintf(&log, "truncate %s to %d\n", name, size)
			must(t, h.Truncate(int64(size)*sectorSize))
			f.low = min(f.low, size)
			clear(f.written[size:])
			f.now = append(f.now[:min(size, len(f.now))], make([]byte, max(0, size-len(f.now)))...)
		case 2:
			fmt.Fprintf(&log, "crash\n")
			old := m
			before := describe(t, old)
			m = old.CrashClone(rng, CrashOptions{Mode: CrashRandom})
			for name, f := range files {
				got := []byte(letters(t, content(t, m, name)))
				for i, c := range got {
					if c == '.' {
						got[i], c = 0, 0
					}
					was := i < len(f.synced) && c == f.synced[i]
					is := f.written[i] && c == f.now[i]
					if !was && !is && c != 0 {
						t.Fatalf("seed %d: %s has %q at sector %d after\n%s", seed, name, c, i, &log)
					}
					if !was && i < min(len(f.synced), f.low) && !f.written[i] {
						t.Fatalf("seed %d: %s has lost sector %d after\n%s", seed, name, i, &log)
					}
				}
				if len(got) < min(len(f.synced), f.low) {
					t.Fatalf("seed %d: %s has lost its size after\n%s", seed, name, &log)
				}
				*f = model{synced: got, now: slices.Clone(got), written: make([]bool, maxSectors), low: len(got)}
				// What the successor writes is not in the original's files.
				h, err := m.OpenReadWrite(name)
				must(t, err)
				writeAt(t, h, sectors(strings.Repeat("?", 9)), 0)
				must(t, h.Close())
			}
			if after := describe(t, old); after != before {
				t.Fatalf("seed %d: the original has changed from %s to %s after\n%s", seed, before, after, &log)
			}
			for name, f := range files {
				h, err := m.OpenReadWrite(name)
				must(t, err)
				writeAt(t, h, sectors(strings.ReplaceAll(string(f.now[:min(9, len(f.now))]), "\x00", ".")), 0)
				must(t, h.Truncate(int64(len(f.now))*sectorSize))
				must(t, h.Sync())
				must(t, h.Close())
			}
		default:
			at, n := rng.IntN(maxSectors-1), 1+rng.IntN(10)
			n = min(n, maxSectors-at)
			letter = 'a' + (letter-'a'+1)%26
			fmt.Fprintf(&log, "write %s: %d sectors %c at %d\n", name, n, letter, at)
			writeAt(t, h, sectors(strings.Repeat(string(letter), n)), int64(at)*sectorSize)
			f.now = append(f.now, make([]byte, max(0, at+n-len(f.now)))...)
			for i := at; i < at+n; i++ {
				f.now[i], f.written[i] = letter, true
			}
		}
		must(t, h.Close())
	}
	return m, log.String()
}
