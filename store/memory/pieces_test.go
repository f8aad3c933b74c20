package memory

import (
	"bytes"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// collect returns a range of a view.
func collect(v view, from, to protocol.Offset) []byte {
	var got []byte
	s := span{view: v, from: from, to: to}
	s.runs(from, to, func(run []byte) bool {
		got = append(got, run...)
		return true
	})
	return got
}

func TestPieces_viewsStayWhatTheyWere(t *testing.T) {
	const base = 1000
	var p pieces
	var want []byte
	var views []view
	var lengths []int
	for i := range 500 {
		body := bytes.Repeat([]byte{byte(i)}, 1+i*i%3001)
		if i%100 == 99 {
			body = bytes.Repeat([]byte{byte(i)}, adoptFrom+i)
		}
		p.append(base+protocol.Offset(len(want)), body)
		want = append(want, body...)
		views = append(views, p.view())
		lengths = append(lengths, len(want))
	}
	for i, v := range views {
		end := lengths[i]
		for _, from := range []int{0, end / 3, end - 1} {
			got := collect(v, base+protocol.Offset(from), base+protocol.Offset(end))
			if !bytes.Equal(got, want[from:end]) {
				t.Fatalf("the view after append %d changed in %d..%d", i, from, end)
			}
		}
	}
}

func TestPieces_neverMove(t *testing.T) {
	var p pieces
	p.append(0, []byte("first"))
	first := &p.all[0].data[0]
	for i := range 10_000 {
		p.append(protocol.Offset(5+100*i), make([]byte, 100))
	}
	if &p.all[0].data[0] != first {
		t.Error("the first piece was copied")
	}
}

func TestPieces_wasteLittle(t *testing.T) {
	for _, size := range []int{1, 100, 1000, 5000, adoptFrom, 100_000} {
		var p pieces
		room := 0
		for i := range 300 {
			p.append(protocol.Offset(i*size), make([]byte, size))
		}
		for _, piece := range p.all {
			room += cap(piece.data)
		}
		if total := 300 * size; p.size != total || room > total+max(total, minPiece) || room > total+maxPiece {
			t.Errorf("%d bytes in appends of %d take %d", total, size, room)
		}
	}
}

func TestPieces_takeLargeBodiesOver(t *testing.T) {
	var p pieces
	p.append(0, []byte("small"))
	body := make([]byte, 4*adoptFrom)
	p.append(5, body)
	last := p.view().last
	if &last.data[len(last.data)-1] != &body[len(body)-1] {
		t.Error("the body was copied")
	}
}
