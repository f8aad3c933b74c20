package protocol

import "unicode/utf8"

// maxJSONDepth bounds how deep arrays and objects may nest, the outer array of a
// batch included.
const maxJSONDepth = 512

// separator ends every message of a JSON stream on the wire and on disk.
const separator = ",\n"

// SeparatorLen is how many of a JSON range's last bytes do not belong to the
// array that a response carries.
const SeparatorLen = len(separator)

// FlattenJSON appends the messages of a JSON request body to dst as wire bytes
// and returns how many there are (§9.1.2): the elements of a top-level array,
// else the one value. Insignificant white space is dropped; every other byte,
// such as those of numbers and strings, is kept. dst must not overlap src.
func FlattenJSON(dst, src []byte) (wire []byte, messages int, refusal *Refusal) {
	if !utf8.Valid(src) {
		return dst, 0, refuse(InvalidJSON, "the body is not valid UTF-8, so it is not JSON")
	}
	f := flattener{src: src, dst: dst}
	f.space()
	batch := f.peek() == '['
	if batch {
		f.pos++
		f.depth = 1
		f.space()
		if f.peek() == ']' {
			f.pos++
			return f.finish(0)
		}
	}
	for {
		if !f.value() {
			return dst, 0, f.refusal()
		}
		f.dst = append(f.dst, separator...)
		messages++
		f.space()
		if !batch {
			return f.finish(messages)
		}
		switch f.peek() {
		case ',':
			f.pos++
			f.space()
		case ']':
			f.pos++
			return f.finish(messages)
		default:
			return dst, 0, f.refusal()
		}
	}
}

// flattener walks over one JSON text and copies it without white space.
type flattener struct {
	src, dst []byte
	pos      int
	depth    int
	tooDeep  bool
}

func (f *flattener) finish(messages int) ([]byte, int, *Refusal) {
	f.space()
	if f.pos != len(f.src) {
		return f.dst, 0, refuse(InvalidJSON, "the body goes on after its JSON value, at byte %d", f.pos)
	}
	return f.dst, messages, nil
}

func (f *flattener) refusal() *Refusal {
	switch {
	case f.tooDeep:
		return refuse(InvalidJSON, "the body nests deeper than %d levels", maxJSONDepth)
	case f.pos >= len(f.src):
		return refuse(InvalidJSON, "the body ends inside a JSON value")
	}
	return refuse(InvalidJSON, "the body is not JSON: unexpected byte %q at byte %d", f.src[f.pos], f.pos)
}

// peek returns the next byte, 0 at the end. A zero byte is never valid JSON.
func (f *flattener) peek() byte {
	if f.pos < len(f.src) {
		return f.src[f.pos]
	}
	return 0
}

func (f *flattener) space() {
	for f.pos < len(f.src) {
		switch f.src[f.pos] {
		case ' ', '\t', '\n', '\r':
			f.pos++
		default:
			return
		}
	}
}

// take copies the next byte.
func (f *flattener) take() {
	f.dst = append(f.dst, f.src[f.pos])
	f.pos++
}

// value copies one value. Containers are tracked in a stack of bits rather than
// by recursion, so that depth costs no goroutine stack.
func (f *flattener) value() bool {
	var inObject [maxJSONDepth/64 + 1]uint64
	base := f.depth
	for {
		// At the start of a value.
		var opened bool
		switch c := f.peek(); {
		case c == '{' || c == '[':
			if f.depth == maxJSONDepth {
				f.tooDeep = true
				return false
			}
			f.take()
			f.depth++
			word, bit := f.depth/64, uint(f.depth%64)
			if c == '{' {
				inObject[word] |= 1 << bit
			} else {
				inObject[word] &^= 1 << bit
			}
			f.space()
			opened = true
		case c == '"':
			if !f.text() {
				return false
			}
		case c == '-' || '0' <= c && c <= '9':
			if !f.number() {
				return false
			}
		case c == 't':
			if !f.literal("true") {
				return false
			}
		case c == 'f':
			if !f.literal("false") {
				return false
			}
		case c == 'n':
			if !f.literal("null") {
				return false
			}
		default:
			return false
		}
		// After a value, or just inside a container.
		for {
			if f.depth == base {
				return true
			}
			object := inObject[f.depth/64]>>uint(f.depth%64)&1 == 1
			f.space()
			c := f.peek()
			if object && c == '}' || !object && c == ']' {
				f.take()
				f.depth--
				opened = false
				continue
			}
			if !opened {
				if c != ',' {
					return false
				}
				f.take()
				f.space()
			}
			if object && !f.key() {
				return false
			}
			break
		}
	}
}

// key copies an object's key and colon.
func (f *flattener) key() bool {
	if f.peek() != '"' || !f.text() {
		return false
	}
	f.space()
	if f.peek() != ':' {
		return false
	}
	f.take()
	f.space()
	return true
}

// text copies a string. Its UTF-8 was checked before.
func (f *flattener) text() bool {
	start := f.pos
	for i := f.pos + 1; i < len(f.src); i++ {
		switch c := f.src[i]; {
		case c == '"':
			f.dst = append(f.dst, f.src[start:i+1]...)
			f.pos = i + 1
			return true
		case c < ' ':
			f.pos = i
			return false
		case c == '\\':
			i++
			n := escapeLen(f.src, i)
			if n == 0 {
				f.pos = i
				return false
			}
			i += n - 1
		}
	}
	f.pos = len(f.src)
	return false
}

// escapeLen returns the length of the escape sequence after a backslash at i, 0
// if there is none.
func escapeLen(src []byte, i int) int {
	if i >= len(src) {
		return 0
	}
	switch src[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if i+4 >= len(src) {
			return 0
		}
		for _, c := range src[i+1 : i+5] {
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
				return 0
			}
		}
		return 5
	}
	return 0
}

// number copies a number as RFC 8259 §6 writes it, of any length.
func (f *flattener) number() bool {
	start := f.pos
	if f.peek() == '-' {
		f.pos++
	}
	switch c := f.peek(); {
	case c == '0':
		f.pos++
	case '1' <= c && c <= '9':
		f.digits()
	default:
		return false
	}
	if f.peek() == '.' {
		f.pos++
		if !f.digits() {
			return false
		}
	}
	if c := f.peek(); c == 'e' || c == 'E' {
		f.pos++
		if c := f.peek(); c == '+' || c == '-' {
			f.pos++
		}
		if !f.digits() {
			return false
		}
	}
	f.dst = append(f.dst, f.src[start:f.pos]...)
	return true
}

func (f *flattener) digits() bool {
	start := f.pos
	for f.pos < len(f.src) && '0' <= f.src[f.pos] && f.src[f.pos] <= '9' {
		f.pos++
	}
	return f.pos > start
}

func (f *flattener) literal(word string) bool {
	if len(f.src)-f.pos < len(word) || string(f.src[f.pos:f.pos+len(word)]) != word {
		return false
	}
	f.dst = append(f.dst, word...)
	f.pos += len(word)
	return true
}
