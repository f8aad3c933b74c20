package storetest

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

const maxProducerInt = 1<<53 - 1

var producerTests = []test{
	{"validation", producerValidation},
	{"keepsProducersApart", func(f *fixture) {
		f.create("a", streamOf(text, ""))
		f.create("b", streamOf(text, ""))
		long := strings.Repeat("é", 128) // 256 bytes
		ids := []string{"p", "P", "p ", long, long[:254] + "e", "p\x00", "日本"}
		for seq := range int64(3) {
			for _, id := range ids {
				for _, name := range []string{"a", "b"} {
					f.accepted(name, by(id, 0, seq, appendOf(text, "x")))
				}
			}
		}
		for _, id := range ids {
			f.duplicate("a", by(id, 0, 2, appendOf(text, "x")), 0, 2)
		}
		f.holds("a", strings.Repeat("x", 3*len(ids)))
	}},
	{"isNoBarToOthers", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		f.accepted("s", by("p", 3, 0, appendOf(text, "a")))
		f.append("s", text, "b")
		f.accepted("s", by("q", 0, 0, appendOf(text, "c")))
		f.accepted("s", by("p", 3, 1, appendOf(text, "d")))
		f.holds("s", "abcd")
	}},
	{"refusedRequestLeavesState", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		first := by("p", 0, 0, appendOf(text, "a"))
		first.Seq = "m"
		f.accepted("s", first)
		for _, r := range []protocol.AppendRequest{
			by("p", 0, 1, appendOf(json, "1")),               // content type
			by("p", 0, 2, appendOf(text, "x")),               // gap
			by("p", 1, 1, appendOf(text, "x")),               // epoch that does not start at 0
			by("q", 0, 1, appendOf(text, "x")),               // new producer that does not
			withSeq("m", by("p", 0, 1, appendOf(text, "x"))), // Stream-Seq
		} {
			if res, err := f.post("s", r); refusalOf(err) == nil {
				f.Fatalf("Append(%+v) = %+v, %v; want a refusal", r.Producer, res, err)
			}
		}
		f.accepted("s", withSeq("n", by("p", 0, 1, appendOf(text, "b"))))
		f.accepted("s", by("q", 0, 0, appendOf(text, "c")))
		f.holds("s", "abc")
	}},
	{"duplicateLeavesStreamSeq", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		f.accepted("s", withSeq("a", by("p", 0, 0, appendOf(text, "a"))))
		f.duplicate("s", withSeq("z", by("p", 0, 0, appendOf(text, "a"))), 0, 0)
		f.accepted("s", withSeq("b", by("p", 0, 1, appendOf(text, "b"))))
		f.holds("s", "ab")
	}},
	{"duplicatesAtOnceAppendOnce", func(f *fixture) {
		const workers, rounds = 6, 60
		f.create("s", streamOf(text, ""))
		for seq := range int64(rounds) {
			var appended atomic.Int64
			f.parallel(workers, func(int) error {
				res, err := f.post("s", by("p", 0, seq, appendOf(text, "x")))
				if err == nil && res.Tail != protocol.Offset(seq+1) {
					err = fmt.Errorf("seq %d was answered with the tail %d", seq, res.Tail)
				}
				if res.Outcome == protocol.Appended {
					appended.Add(1)
				}
				return err
			})
			if n := appended.Load(); n != 1 {
				f.Fatalf("%d of %d equal requests were appended", n, workers)
			}
		}
		f.holds("s", strings.Repeat("x", rounds))
	}},
	{"pipelinedRequestsArriveInOrder", producerPipeline},
	{"newEpochFencesConcurrentZombie", producerZombie},
}

// producerValidation is the validation logic of §5.2.1, step by step.
func producerValidation(f *fixture) {
	f.create("s", streamOf(text, ""))
	send := func(epoch, seq int64) protocol.AppendRequest { return by("p", epoch, seq, appendOf(text, "x")) }
	accept := func(epoch, seq int64) {
		f.Helper()
		res := f.accepted("s", send(epoch, seq))
		if res.Producer == nil || *res.Producer != (protocol.ProducerState{Epoch: epoch, Seq: seq}) {
			f.Fatalf("request (%d, %d) was answered with producer state %+v", epoch, seq, res.Producer)
		}
	}
	gap := func(epoch, seq, expected int64) {
		f.Helper()
		r := f.refusedAppend("s", send(epoch, seq), protocol.SequenceGap)
		if r.Expected != expected || r.Received != seq {
			f.Fatalf("the gap is said to be from %d to %d, want %d to %d", r.Expected, r.Received, expected, seq)
		}
	}
	stale := func(epoch, seq, current int64) {
		f.Helper()
		if r := f.refusedAppend("s", send(epoch, seq), protocol.StaleEpoch); r.Epoch != current {
			f.Fatalf("the refusal names the epoch %d, want %d", r.Epoch, current)
		}
	}
	gap(0, 1, 0)
	accept(0, 0)
	accept(0, 1)
	f.duplicate("s", send(0, 1), 0, 1)
	f.duplicate("s", send(0, 0), 0, 1)
	gap(0, 3, 2)
	accept(0, 2)
	f.refusedAppend("s", send(1, 1), protocol.EpochStart)
	accept(0, 3)
	accept(5, 0)
	stale(0, 4, 5)
	stale(4, 0, 5)
	f.duplicate("s", send(5, 0), 5, 0)
	gap(5, 2, 1)
	accept(5, 1)
	accept(maxProducerInt, 0)
	stale(5, 2, maxProducerInt)
	gap(maxProducerInt, maxProducerInt, 1)
	f.holds("s", strings.Repeat("x", 7))
}

// duplicate sends a request that must be answered as one that happened before.
func (f *fixture) duplicate(name string, r protocol.AppendRequest, epoch, seq int64) {
	f.Helper()
	before := f.head(name)
	res, err := f.post(name, r)
	if err != nil || res.Outcome != protocol.Duplicate {
		f.Fatalf("Append(%+v) = %+v, %v; want a duplicate", r.Producer, res, err)
	}
	if res.Producer == nil || *res.Producer != (protocol.ProducerState{Epoch: epoch, Seq: seq}) {
		f.Fatalf("a duplicate was answered with producer state %+v, want (%d, %d)", res.Producer, epoch, seq)
	}
	if res.Tail != before.Tail || res.Closed != before.Closed {
		f.Fatalf("a duplicate changed the stream from %+v: %+v", before, res)
	}
}

func withSeq(seq string, r protocol.AppendRequest) protocol.AppendRequest {
	r.Seq = seq
	return r
}

// producerPipeline sends the requests of several producers all at once, in
// random order and some of them twice. A gap means: send it again (§5.2.1).
func producerPipeline(f *fixture) {
	const producers, requests = 4, 40
	f.create("s", streamOf(text, ""))
	var appended [producers][requests]atomic.Int64
	var jobs [][2]int
	for p := range producers {
		for seq := range requests {
			for range 1 + seq%2 {
				jobs = append(jobs, [2]int{p, seq})
			}
		}
	}
	f.random().Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	f.parallel(len(jobs), func(i int) error {
		p, seq := jobs[i][0], jobs[i][1]
		body := fmt.Sprintf("%d:%d;", p, seq)
		for {
			res, err := f.post("s", by(fmt.Sprint(p), 7, int64(seq), appendOf(text, body)))
			if hasCode(err, protocol.SequenceGap) {
				runtime.Gosched()
				continue
			}
			if res.Outcome == protocol.Appended {
				appended[p][seq].Add(1)
			}
			return err
		}
	})
	next := make(map[int]int)
	for record := range strings.SplitSeq(strings.TrimSuffix(f.all("s"), ";"), ";") {
		var p, seq int
		if _, err := fmt.Sscanf(record, "%d:%d", &p, &seq); err != nil {
			f.Fatalf("the stream holds %q: %v", record, err)
		}
		if seq != next[p] {
			f.Fatalf("producer %d: request %d follows %d", p, seq, next[p]-1)
		}
		next[p]++
	}
	for p := range producers {
		for seq := range requests {
			if n := appended[p][seq].Load(); n != 1 {
				f.Errorf("request %d of producer %d was appended %d times", seq, p, n)
			}
		}
		if next[p] != requests {
			f.Errorf("%d of producer %d's %d requests are in the stream", next[p], p, requests)
		}
	}
}

// producerZombie lets a producer's old epoch write on while a new one begins:
// nothing of the old one may follow the first request of the new one.
func producerZombie(f *fixture) {
	for round := range 20 {
		name := fmt.Sprintf("s%d", round)
		f.create(name, streamOf(text, ""))
		f.accepted(name, by("p", 0, 0, appendOf(text, "o")))
		f.parallel(2, func(i int) error {
			if i == 0 {
				for seq := int64(1); ; seq++ {
					_, err := f.post(name, by("p", 0, seq, appendOf(text, "o")))
					if hasCode(err, protocol.StaleEpoch) {
						return nil
					}
					if err != nil {
						return err
					}
				}
			}
			for seq := range int64(10) {
				if _, err := f.post(name, by("p", 1, seq, appendOf(text, "n"))); err != nil {
					return err
				}
			}
			return nil
		})
		content := f.all(name)
		if i := strings.Index(content, "n"); content[i:] != strings.Repeat("n", 10) {
			f.Fatalf("the old epoch wrote after the new one: %s", clip(content[i:]))
		}
	}
}
