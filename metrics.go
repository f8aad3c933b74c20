package durablestreams

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
)

// metric is a number that describes an S.
type metric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) float64
}

// family is a set of metrics that differ in one label.
type family[S any] struct {
	prefix, label string
	metrics       []metric[S]
}

func (f *family[S]) add(kind prometheus.ValueType, name, help string, value func(S) float64) {
	desc := prometheus.NewDesc("durable_streams_"+f.prefix+name, help, []string{f.label}, nil)
	f.metrics = append(f.metrics, metric[S]{desc, kind, value})
}

func (f *family[S]) gauge(name, help string, value func(S) float64) {
	f.add(prometheus.GaugeValue, name, help, value)
}

func (f *family[S]) counter(name, help string, value func(S) float64) {
	f.add(prometheus.CounterValue, name, help, value)
}

func (f *family[S]) describe(descs chan<- *prometheus.Desc) {
	for _, m := range f.metrics {
		descs <- m.desc
	}
}

// collect sends the sums over all that have the label's value in common.
func (f *family[S]) collect(out chan<- prometheus.Metric, byLabel map[string][]S) {
	for label, all := range byLabel {
		for _, m := range f.metrics {
			var sum float64
			for _, s := range all {
				sum += m.value(s)
			}
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, sum, label)
		}
	}
}

var serverMetrics = func() family[server.Stats] {
	f := family[server.Stats]{label: "base_path"}
	type s = server.Stats
	f.gauge("long_poll_readers", "Long-poll requests that are open.", func(s s) float64 { return float64(s.LongPollReaders) })
	f.gauge("sse_readers", "Server-sent events responses that are open.", func(s s) float64 { return float64(s.SSEReaders) })
	f.counter("long_poll_waits_total", "Long-poll requests that found nothing new at first.", func(s s) float64 { return float64(s.LongPollWaits) })
	f.counter("sse_events_total", "Events sent, data and control together as one.", func(s s) float64 { return float64(s.SSEEvents) })
	f.counter("sse_encodings_total", "Events encoded; the others were shared between readers.", func(s s) float64 { return float64(s.SSEEncodings) })
	f.counter("readers_cut_off_total", "Responses that ended because the client did not read.", func(s s) float64 { return float64(s.ReadersCutOff) })
	f.counter("appends_total", "Appends that changed a stream.", func(s s) float64 { return float64(s.Appends) })
	f.counter("appended_bytes_total", "Bytes stored by creates and appends.", func(s s) float64 { return float64(s.AppendedBytes) })
	f.counter("read_bytes_total", "Bytes of streams sent to clients.", func(s s) float64 { return float64(s.ReadBytes) })
	f.counter("failures_total", "Requests that the storage engine could not carry out.", func(s s) float64 { return float64(s.Failures) })
	return f
}()

var diskMetrics = func() family[disk.Stats] {
	f := family[disk.Stats]{prefix: "disk_", label: "data_dir"}
	type s = disk.Stats
	f.gauge("failed", "1 if the store refuses changes until the server is restarted, else 0.", func(s s) float64 {
		if s.Failed {
			return 1
		}
		return 0
	})
	f.gauge("free_bytes", "Free space of the file system at the last look, -1 if it is not known.", func(s s) float64 { return float64(s.FreeBytes) })
	f.gauge("streams_in_memory", "Streams whose state is in memory.", func(s s) float64 { return float64(s.StreamsInMemory) })
	f.gauge("head_bytes", "Memory of changes that are in the journal and not yet in a segment.", func(s s) float64 { return float64(s.HeadBytes) })
	f.counter("journal_batches_total", "Batches written to the journal.", func(s s) float64 { return float64(s.Journal.Batches) })
	f.counter("journal_records_total", "Changes written to the journal.", func(s s) float64 { return float64(s.Journal.Records) })
	f.counter("journal_bytes_total", "Bytes written to the journal.", func(s s) float64 { return float64(s.Journal.Bytes) })
	f.counter("journal_syncs_total", "Syncs of the journal.", func(s s) float64 { return float64(s.Journal.Syncs) })
	f.counter("journal_sync_seconds_total", "Time spent in syncs of the journal.", func(s s) float64 { return s.Journal.SyncTime.Seconds() })
	f.gauge("journal_files", "Files of the journal, spares included.", func(s s) float64 { return float64(s.Journal.Files) })
	f.gauge("segments", "Files of sealed data.", func(s s) float64 { return float64(s.Segments) })
	f.gauge("segment_bytes", "Bytes of sealed data, deleted streams included.", func(s s) float64 { return float64(s.SegmentBytes) })
	f.gauge("live_bytes", "Estimate of the bytes of sealed data that belong to streams which exist.", func(s s) float64 { return float64(s.LiveBytes) })
	f.counter("checkpoints_total", "Checkpoints, which move changes from memory into a segment.", func(s s) float64 { return float64(s.Checkpoints) })
	f.counter("checkpoint_seconds_total", "Time spent in checkpoints.", func(s s) float64 { return s.CheckpointTime.Seconds() })
	f.counter("merges_total", "Merges of segments.", func(s s) float64 { return float64(s.Merges) })
	f.counter("merged_bytes_total", "Bytes written by merges.", func(s s) float64 { return float64(s.MergedBytes) })
	f.gauge("open_files", "Files of sealed data that are open.", func(s s) float64 { return float64(s.Files.Open) })
	f.gauge("pinned_files", "Files of sealed data that are being read.", func(s s) float64 { return float64(s.Files.Pinned) })
	f.counter("file_hits_total", "Reads that found their file open.", func(s s) float64 { return float64(s.Files.Hits) })
	f.counter("file_misses_total", "Reads that had to open their file.", func(s s) float64 { return float64(s.Files.Misses) })
	f.counter("file_evictions_total", "Files closed because of max_file_handles.", func(s s) float64 { return float64(s.Files.Evictions) })
	return f
}()

var refusalsDesc = prometheus.NewDesc("durable_streams_refusals_total",
	"Requests refused by the protocol, by reason.", []string{"base_path", "code"}, nil)

// collector collects the metrics of a config. Every config has a registry of its
// own, so counters begin at 0 again after a reload.
type collector struct{ app *App }

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	serverMetrics.describe(descs)
	descs <- refusalsDesc
	diskMetrics.describe(descs)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	byPath, byDir := c.app.stats()
	serverMetrics.collect(out, byPath)
	for path, all := range byPath {
		collectRefusals(out, path, all)
	}
	diskMetrics.collect(out, byDir)
}

func collectRefusals(out chan<- prometheus.Metric, path string, all []server.Stats) {
	for code := range all[0].Refusals {
		var sum int64
		for _, s := range all {
			sum += s.Refusals[code]
		}
		out <- prometheus.MustNewConstMetric(refusalsDesc, prometheus.CounterValue, float64(sum), path, code.String())
	}
}

// stats returns what is known of the stores that are open: of the handlers by
// base path, and of the disk engine by folder.
func (a *App) stats() (byPath map[string][]server.Stats, byDir map[string][]disk.Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	byPath, byDir = make(map[string][]server.Stats), make(map[string][]disk.Stats)
	for _, h := range a.handlers {
		if s := h.server.Load(); s != nil {
			byPath[h.BasePath] = append(byPath[h.BasePath], s.Stats())
		}
	}
	for _, l := range a.leases {
		if st, ok := l.openStore().(*disk.Store); ok {
			byDir[l.key.store] = []disk.Stats{st.Stats()}
		}
	}
	return byPath, byDir
}

// Interface guard
var _ prometheus.Collector = collector{}
