package message

import "bytes"

// Parse splits a stored message into header and body as an MTA does on
// receipt: a line that is no field ends the header and belongs to the body,
// white space before the colon is dropped. A file with bare LF line ends, as
// Unix stores mail, gets CRLF; one that has a CRLF anywhere is taken as is.
// The body shares raw's memory unless line ends had to change.
func Parse(raw []byte) (Header, []byte) {
	if !bytes.Contains(raw, []byte("\r\n")) {
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	}
	if bytes.HasPrefix(raw, []byte("From ")) { // mbox's separator
		_, raw, _ = bytes.Cut(raw, []byte("\r\n"))
	}
	var h Header
	for {
		line, rest, _ := bytes.Cut(raw, []byte("\r\n"))
		if len(line) == 0 {
			if bytes.HasPrefix(raw, []byte("\r\n")) {
				raw = rest
			}
			return h, raw
		}
		colon := bytes.IndexByte(line, ':')
		name := bytes.TrimRight(line[:max(colon, 0)], " \t")
		if !isFieldName(name) {
			return h, raw
		}
		end := len(line)
		for bytes.HasPrefix(rest, []byte(" ")) || bytes.HasPrefix(rest, []byte("\t")) {
			line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
			end += len("\r\n") + len(line)
		}
		h = append(h, Field{Name: string(name), Value: string(raw[colon+1 : end])})
		raw = rest
	}
}

// isFieldName reports printable US-ASCII without space and colon (RFC 5322
// §3.6.8).
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(name) > 0
}

// Append returns the message as it stands on the wire.
func Append(dst []byte, h Header, body []byte) []byte {
	for _, f := range h {
		dst = append(dst, f.String()...)
		dst = append(dst, "\r\n"...)
	}
	return append(append(dst, "\r\n"...), body...)
}
