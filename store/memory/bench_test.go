package memory

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 256, 4096} {
		b.Run(fmt.Sprintf("engine=memory/size=%d", size), func(b *testing.B) {
			m := newBenchStore(b)
			r := protocol.AppendRequest{ContentType: "text/plain", Body: bytes.Repeat([]byte("x"), size), Now: time.Now()}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%100_000 == 0 { // so that memory stays bounded
					b.StopTimer()
					m.Close()
					m = newBenchStore(b)
					b.StartTimer()
				}
				if _, err := m.Append(b.Context(), "s", r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, contentType := range []string{"text/plain", "application/json"} {
		b.Run("engine=memory/size=65536/type="+contentType, func(b *testing.B) {
			m := New(Options{})
			b.Cleanup(func() { m.Close() })
			message := append(bytes.Repeat([]byte("1"), 254), ",\n"...)
			body := bytes.Repeat(message, 4096)
			if _, _, err := m.Create(b.Context(), "s", protocol.CreateRequest{ContentType: contentType, Body: body}); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(65536)
			b.ReportAllocs()
			for b.Loop() {
				chunk, err := m.Read(b.Context(), "s", 2560, 65536)
				if err != nil {
					b.Fatal(err)
				}
				if err := chunk.WriteRange(io.Discard, 0, chunk.Len()); err != nil {
					b.Fatal(err)
				}
				chunk.Close()
			}
		})
	}
}

func newBenchStore(b *testing.B) *Store {
	m := New(Options{})
	b.Cleanup(func() { m.Close() })
	if _, _, err := m.Create(b.Context(), "s", protocol.CreateRequest{ContentType: "text/plain"}); err != nil {
		b.Fatal(err)
	}
	return m
}
