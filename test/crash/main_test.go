// Package crash runs the real server in a process of its own, ends it in every
// way in which a process can end, and checks through HTTP that everything that
// was acknowledged is there, once and unchanged.
//
//	go test ./test/crash                        about a minute
//	go test ./test/crash -short                 less of everything
//	go test ./test/crash -run Kill -crash.rounds 500 -crash.seed 7
//	DURABLE_STREAMS_SERVER=/path/to/binary go test ./test/crash
//
// The package holds nothing but tests. What clients may conclude from an answer is
// in client_test.go; the clients of TestKill are in writer_test.go, producer_test.go,
// family_test.go and reader_test.go.
package crash

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("crash.seed", 0, "seed of all random choices; 0 draws one")
	roundsFlag  = flag.Int("crash.rounds", 0, "how often TestKill ends the server (0: 16, with -short 6)")
	streamsFlag = flag.Int("crash.streams", 0, "how many streams TestManyStreams makes (0: 100000, with -short 20000)")
)

// program is the server's binary.
var program string

// patience is how long a test waits for what must happen. It is no measure of how
// long that takes.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if *seedFlag == 0 {
		*seedFlag = rand.Uint64()
	}
	fmt.Printf("-crash.seed=%d\n", *seedFlag)
	// The tests mostly wait for their servers.
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "durable-streams-crash-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if program = os.Getenv("DURABLE_STREAMS_SERVER"); program != "" {
		return m.Run()
	}
	program = filepath.Join(dir, "durable-streams-server")
	build := exec.Command("go", "build", "-o", program, "../../cmd/durable-streams-server")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build of the server:", err)
		return 1
	}
	return m.Run()
}

// newRand returns a source of random choices that depends on the seed and on key
// alone.
func newRand(key string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(key))
	return rand.New(rand.NewPCG(*seedFlag, h.Sum64()))
}

// orDefault returns a flag's value, or else what it stands for.
func orDefault(value, long, short int) int {
	switch {
	case value > 0:
		return value
	case testing.Short():
		return short
	}
	return long
}
