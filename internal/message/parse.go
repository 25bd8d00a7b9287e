package message

import "bytes"

// ByteOrderMark is the first character that some editors write into a file of UTF-8 text.
const ByteOrderMark = "\xef\xbb\xbf"

// IsSeparator reports whether raw begins with the line that separates the messages of an mbox.
// Files that procmail, mutt and formail write begin with such a line. Some programs put ">" before
// it.
func IsSeparator(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("From ")) || bytes.HasPrefix(raw, []byte(">From "))
}

// withCRLF returns raw with CRLF in place of every bare LF.
func withCRLF(raw []byte) []byte {
	bare := bytes.Count(raw, []byte("\n")) - bytes.Count(raw, []byte("\r\n"))
	if bare == 0 {
		return raw
	}
	out := make([]byte, 0, len(raw)+bare)
	for {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 {
			return append(out, raw...)
		}
		out = append(out, raw[:i]...)
		if len(out) == 0 || out[len(out)-1] != '\r' {
			out = append(out, '\r')
		}
		out = append(out, '\n')
		raw = raw[i+1:]
	}
}

// Parse splits a stored message into header and body as an MTA does when it receives a message. A
// line that is not a field ends the header and belongs to the body. White space before a colon is
// dropped.
//
// Parse also undoes what editors and mail clients do to the file. It drops a byte order mark and
// the "From " line of an mbox at the beginning. It replaces every bare LF by CRLF, because SMTP
// does not allow a bare LF. The body shares the memory of raw unless line ends had to change.
func Parse(raw []byte) (Header, []byte) {
	raw = withCRLF(bytes.TrimPrefix(raw, []byte(ByteOrderMark)))
	if IsSeparator(raw) {
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

// isFieldName reports whether name is a field name: printable US-ASCII without spaces and
// colons (RFC 5322 §3.6.8).
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(name) > 0
}
