package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
)

// pools are long random texts that payloads are cut from: what was stored
// elsewhere, or not at all, is then recognized byte by byte.
var pools = sync.OnceValue(func() map[string][]byte {
	const size = 1 << 20
	rng := newRand("pools")
	all := make([]byte, 0, size+8)
	for len(all) < size {
		all = binary.LittleEndian.AppendUint64(all, rng.Uint64())
	}
	// Lines, spaces and colons are what server-sent events are made of.
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456\n\n ::"
	lines, plain := make([]byte, len(all)), make([]byte, len(all))
	for i, c := range all {
		lines[i], plain[i] = letters[c%64], letters[c%58]
	}
	return map[string][]byte{typeBinary: all, typeText: lines, typeJSON: plain}
})

// payload returns size bytes, or a few more, that begin with id and a space. The
// same arguments return the same bytes.
func payload(contentType, id string, size int) []byte {
	b := append([]byte(id), ' ')
	pool := pools()[contentType]
	at := int(newRand(id).Uint64() % uint64(len(pool)))
	for len(b) < size {
		n := min(size-len(b), len(pool)-at)
		b = append(b, pool[at:at+n]...)
		at = 0
	}
	return b
}

// idOf returns the id that the payload at the beginning of b has.
func idOf(b []byte) string {
	id, _, _ := bytes.Cut(b[:min(len(b), 64)], []byte(" "))
	return string(id)
}

// batch returns a JSON body of several messages, and the bytes that a stream
// keeps of it.
func batch(id string, messages, size int) (body, stored []byte) {
	body = []byte("[ ")
	for i := range messages {
		pad := payload(typeJSON, id, size)[len(id)+1:]
		m := fmt.Sprintf(`{"id":"%s ","i":%d,"of":%d,"pad":"%s"}`, id, i, messages, pad)
		if i > 0 {
			body = append(body, " ,\n "...)
		}
		body = append(body, m...)
		stored = append(append(stored, m...), ",\n"...)
	}
	return append(body, "\n]"...), stored
}

// idOfBatch returns the id of the batch at the beginning of b.
func idOfBatch(b []byte) string {
	id, ok := strings.CutPrefix(string(b[:min(len(b), 64)]), `{"id":"`)
	if !ok {
		return ""
	}
	return idOf([]byte(id))
}
