package protocol

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// SSEEncoding is the form of data events on a stream (§5.8).
type SSEEncoding uint8

const (
	// SSEText carries the bytes as lines of UTF-8 text.
	SSEText SSEEncoding = iota
	// SSEJSON carries an array of messages.
	SSEJSON
	// SSEBase64 carries the bytes in standard base64.
	SSEBase64
)

// SSEEncodingFor returns the form of data events for a stream's content type.
func SSEEncodingFor(contentType string) SSEEncoding {
	switch {
	case IsJSON(contentType):
		return SSEJSON
	case IsText(contentType):
		return SSEText
	}
	return SSEBase64
}

// AppendSSEData appends a data event with the wire bytes data, which must not be
// empty. For JSON they must be whole messages.
func AppendSSEData(dst, data []byte, enc SSEEncoding) []byte {
	dst = append(dst, "event: data\n"...)
	switch enc {
	case SSEJSON:
		// Wire bytes are lines already: "<message>,\n". The last comma goes.
		dst = append(dst, "data:[\n"...)
		data = data[:len(data)-len(separator)]
		for line := range bytes.SplitSeq(data, []byte{'\n'}) {
			dst = append(dst, "data:"...)
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
		dst = append(dst, "data:]\n"...)
	case SSEText:
		dst = appendTextLines(dst, data)
	case SSEBase64:
		dst = append(dst, "data:"...)
		dst = base64.StdEncoding.AppendEncode(dst, data)
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// appendTextLines appends one data line for every line of text. Each of CR LF,
// CR and LF ends a line, since each would end it for the client; none of the
// text can thus begin a field or an event of its own. A client drops one space
// after the colon, so a line that begins with a space gets another.
func appendTextLines(dst, text []byte) []byte {
	for {
		i := bytes.IndexAny(text, "\r\n")
		line := text
		if i >= 0 {
			line = text[:i]
		}
		dst = append(dst, "data:"...)
		if len(line) > 0 && line[0] == ' ' {
			dst = append(dst, ' ')
		}
		dst = append(dst, line...)
		dst = append(dst, '\n')
		if i < 0 {
			return dst
		}
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
}

// SSEControl is the content of a control event (§5.8).
type SSEControl struct {
	Next Offset
	// Cursor is left out if Closed.
	Cursor   string
	UpToDate bool
	Closed   bool
}

// AppendSSEControl appends a control event.
func AppendSSEControl(dst []byte, c SSEControl) []byte {
	dst = append(dst, "event: control\ndata:{\"streamNextOffset\":\""...)
	dst = c.Next.AppendTo(dst)
	dst = append(dst, '"')
	if !c.Closed {
		dst = append(dst, `,"streamCursor":"`...)
		dst = append(dst, c.Cursor...) // digits
		dst = append(dst, '"')
	}
	if c.UpToDate || c.Closed {
		dst = append(dst, `,"upToDate":true`...)
	}
	if c.Closed {
		dst = append(dst, `,"streamClosed":true`...)
	}
	return append(dst, "}\n\n"...)
}

// SSEHeartbeat is a comment line that keeps an idle connection open. It ends no
// event and carries no data.
const SSEHeartbeat = ":\n\n"

// SSETextCut returns how many of the bytes of text one event should carry, so
// that it ends between characters: a client decodes every event by itself.
// atTail says that the stream has nothing after text; if it has, neither is a
// CR LF pair cut in two. closed says that nothing will ever follow the tail.
// Bytes that no continuation can make valid UTF-8 are not held back. The result
// is 0 only if text is the unfinished beginning of one character.
func SSETextCut(text []byte, atTail, closed bool) int {
	n := len(text)
	if atTail && closed {
		return n
	}
	for i := 1; i < utf8.UTFMax && i <= n; i++ {
		if c := text[n-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[n-i:]) {
				n -= i
			}
			break
		}
	}
	if !atTail && n > 1 && n == len(text) && text[n-1] == '\r' {
		n--
	}
	return n
}
