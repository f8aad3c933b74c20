package durablestreams

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// metric is a number per base path, the sum over the handlers that have it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(server.Stats) int64
}

func newMetric(kind prometheus.ValueType, name, help string, value func(server.Stats) int64) metric {
	return metric{
		desc:  prometheus.NewDesc("durable_streams_"+name, help, []string{"base_path"}, nil),
		kind:  kind,
		value: value,
	}
}

var metrics = []metric{
	newMetric(prometheus.GaugeValue, "long_poll_readers", "Long-poll requests that are open.",
		func(s server.Stats) int64 { return s.LongPollReaders }),
	newMetric(prometheus.GaugeValue, "sse_readers", "Server-sent events responses that are open.",
		func(s server.Stats) int64 { return s.SSEReaders }),
	newMetric(prometheus.CounterValue, "long_poll_waits_total", "Long-poll requests that found nothing new at first.",
		func(s server.Stats) int64 { return s.LongPollWaits }),
	newMetric(prometheus.CounterValue, "sse_events_total", "Data and control events sent.",
		func(s server.Stats) int64 { return s.SSEEvents }),
	newMetric(prometheus.CounterValue, "sse_encodings_total", "Data events encoded; the others were shared between readers.",
		func(s server.Stats) int64 { return s.SSEEncodings }),
	newMetric(prometheus.CounterValue, "readers_cut_off_total", "Responses that ended because the client did not read.",
		func(s server.Stats) int64 { return s.ReadersCutOff }),
	newMetric(prometheus.CounterValue, "appends_total", "Appends that changed a stream.",
		func(s server.Stats) int64 { return s.Appends }),
	newMetric(prometheus.CounterValue, "appended_bytes_total", "Bytes stored by creates and appends.",
		func(s server.Stats) int64 { return s.AppendedBytes }),
	newMetric(prometheus.CounterValue, "read_bytes_total", "Bytes of streams sent to clients.",
		func(s server.Stats) int64 { return s.ReadBytes }),
	newMetric(prometheus.CounterValue, "failures_total", "Requests that the storage engine could not carry out.",
		func(s server.Stats) int64 { return s.Failures }),
}

var refusalsDesc = prometheus.NewDesc("durable_streams_refusals_total",
	"Requests refused by the protocol, by reason.", []string{"base_path", "code"}, nil)

// collector collects the metrics of a config. Every config has a registry of its
// own, so counters begin at 0 again after a reload.
type collector struct{ app *App }

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range metrics {
		descs <- m.desc
	}
	descs <- refusalsDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	byPath := c.app.stats()
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		all := byPath[path]
		for _, m := range metrics {
			var sum int64
			for _, s := range all {
				sum += m.value(s)
			}
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(sum), path)
		}
		for code := range all[0].Refusals {
			var sum int64
			for _, s := range all {
				sum += s.Refusals[code]
			}
			out <- prometheus.MustNewConstMetric(refusalsDesc, prometheus.CounterValue, float64(sum), path, code.String())
		}
	}
}

// stats returns the counters of the handlers whose stores are open, by base path.
func (a *App) stats() map[string][]server.Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	byPath := make(map[string][]server.Stats)
	for _, h := range a.handlers {
		if s := h.server.Load(); s != nil {
			byPath[h.BasePath] = append(byPath[h.BasePath], s.Stats())
		}
	}
	return byPath
}

// Interface guard
var _ prometheus.Collector = collector{}
