package durablestreams

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestSwitchHandler(t *testing.T) {
	newText := func(level slog.Level) (*bytes.Buffer, slog.Handler) {
		out := new(bytes.Buffer)
		return out, slog.NewTextHandler(out, &slog.HandlerOptions{
			Level: level,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})
	}
	first, h := newText(slog.LevelInfo)
	handler := newSwitchHandler(h)
	log := slog.New(handler)
	derived := log.With("a", 1).WithGroup("g").With("b", 2)
	derived.Info("one", "c", 3)
	log.Debug("hidden")

	second, h := newText(slog.LevelDebug)
	handler.use(h)
	derived.Info("two", "c", 3)
	log.Debug("shown")

	if got, want := first.String(), "level=INFO msg=one a=1 g.b=2 g.c=3\n"; got != want {
		t.Errorf("first handler got %q, want %q", got, want)
	}
	if got, want := second.String(), "level=INFO msg=two a=1 g.b=2 g.c=3\nlevel=DEBUG msg=shown\n"; got != want {
		t.Errorf("second handler got %q, want %q", got, want)
	}
}

func TestSwitchHandler_siblings(t *testing.T) {
	var out bytes.Buffer
	parent := newSwitchHandler(slog.NewTextHandler(&out, nil)).WithAttrs([]slog.Attr{slog.Int("p", 1)})
	a := slog.New(parent.WithAttrs([]slog.Attr{slog.Int("a", 1)}))
	b := slog.New(parent.WithAttrs([]slog.Attr{slog.Int("b", 1)}))
	a.Info("x")
	b.Info("x")
	if got := out.String(); bytes.Count(out.Bytes(), []byte("a=1")) != 1 || bytes.Count(out.Bytes(), []byte("b=1")) != 1 {
		t.Errorf("attributes of one reached the other: %s", got)
	}
}
