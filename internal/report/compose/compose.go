// Package compose writes what the mails with aggregate reports and with failure reports have in
// common: the header, the text part, and the lines of base64 (RFC 5322, RFC 2045, RFC 2047). No value
// that a stranger chose can add a header field or a line: what does not fit is refused or replaced.
package compose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
	"sekimori/internal/printable"
)

// Header is the header of a report mail.
type Header struct {
	FromName  string // display name of From, "" for none
	From, To  string // addresses without angle brackets
	Subject   string // ASCII
	Date      time.Time
	MessageID string // without angle brackets
	// ContentType is the media type of the whole mail with all its parameters but the boundary, such
	// as "multipart/mixed".
	ContentType string
	Boundary    string
}

const (
	// maxAddress is the length of an address: 64 octets of local part, "@", 255 octets of domain (RFC
	// 5321 §4.5.3.1).
	maxAddress = 320
	// maxDisplayName keeps the field From short. The name is the operator's.
	maxDisplayName = 200
	// maxSubject holds two domain names and a Report-ID.
	maxSubject = 900
	// maxMessageID holds a local part of 64 octets and a domain name. A message id cannot be folded.
	maxMessageID = 320
	// foldAt is the line length that RFC 5322 §2.1.1 recommends.
	foldAt = 78
)

// ErrAddress means that an address or a message id cannot stand in a header.
var ErrAddress = errors.New("compose: not an address that can stand in a header")

// Address returns an address as it stands in a header field: with its local part in quotes if the
// local part is not a dot-atom. It refuses an address that is too long or has another octet than
// those of atoms, for example a space, a quote, a comma or a control character.
func Address(addr string) (string, error) {
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || len(addr) > maxAddress || !utf8.ValidString(addr) {
		return "", fmt.Errorf("%w: %s", ErrAddress, printable.Quoted(addr, maxAddress))
	}
	local, domain := addr[:at], addr[at+1:]
	if !isAtoms(local) || !isDotAtom(domain) {
		return "", fmt.Errorf("%w: %s", ErrAddress, printable.Quoted(addr, maxAddress))
	}
	if !isDotAtom(local) {
		local = `"` + local + `"` // as in "a..b"@example.com; no octet of an atom needs a backslash
	}
	return local + "@" + domain, nil
}

// isAtoms reports whether s has only octets of atoms and dots. Characters beyond ASCII must be
// printable, because some mail programs take U+2028 for the end of a line.
func isAtoms(s string) bool {
	for _, r := range s {
		if !printable.IsShown(r) || r < utf8.RuneSelf && !mailaddr.IsAtom(byte(r)) {
			return false
		}
	}
	return s != ""
}

func isDotAtom(s string) bool {
	return isAtoms(s) && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// phrase returns a display name as RFC 5322 §3.2.5 and RFC 2047 §5 write it.
func phrase(name string) string {
	name = printable.MarkedUTF8(name, maxDisplayName)
	if printable.IsASCII(name) {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return mime.BEncoding.Encode("utf-8", name)
}

// Append appends the header with the empty line that ends it. All lines end with CR LF.
func (h *Header) Append(dst []byte) ([]byte, error) {
	from, err := Address(h.From)
	if err != nil {
		return nil, err
	}
	to, err := Address(h.To)
	if err != nil {
		return nil, err
	}
	if !IsMessageID(h.MessageID) {
		return nil, fmt.Errorf("%w: message id %s", ErrAddress, printable.Quoted(h.MessageID, maxMessageID))
	}
	if from = "<" + from + ">"; h.FromName != "" {
		from = phrase(h.FromName) + " " + from
	}
	dst = AppendField(dst, "From", from)
	dst = AppendField(dst, "To", "<"+to+">")
	dst = AppendField(dst, "Subject", printable.Marked(h.Subject, maxSubject))
	dst = AppendField(dst, "Date", Date(h.Date))
	dst = AppendField(dst, "Message-ID", "<"+h.MessageID+">")
	dst = AppendField(dst, "Auto-Submitted", "auto-generated") // RFC 3834 §5: nothing answers it
	dst = AppendField(dst, "MIME-Version", "1.0")
	dst = AppendField(dst, "Content-Type", h.ContentType+`; boundary="`+h.Boundary+`"`)
	return append(dst, "\r\n"...), nil
}

// IsMessageID reports whether id consists of two dot-atoms in ASCII with an at sign between them, as
// a Report-ID does.
func IsMessageID(id string) bool {
	left, right, _ := strings.Cut(id, "@")
	return len(id) <= maxMessageID && printable.IsASCII(id) && isDotAtom(left) && isDotAtom(right)
}

// Date returns a time in the format of RFC 5322 §3.3, in UTC.
func Date(t time.Time) string { return t.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// AppendField appends a header field. A long value is folded before its spaces. The value must have
// no control characters; a field with such a value would end early.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ':')
	line := len(name) + 1
	for word := range strings.SplitSeq(value, " ") {
		if line+1+len(word) > foldAt && line > len(name)+1 && word != "" { // a folded line must not be blank
			dst = append(dst, "\r\n"...)
			line = 0
		}
		dst = append(append(dst, ' '), word...)
		line += 1 + len(word)
	}
	return append(dst, "\r\n"...)
}

// AppendTextPart appends a MIME part with text: its delimiter, header, and the text in UTF-8. The
// lines of text end with "\n".
func AppendTextPart(dst []byte, boundary, text string) []byte {
	dst = AppendDelimiter(dst, boundary)
	dst = AppendField(dst, "Content-Type", "text/plain; charset=utf-8")
	if plainLines(text) {
		dst = append(dst, "Content-Transfer-Encoding: 7bit\r\n\r\n"...)
		return append(dst, strings.ReplaceAll(text, "\n", "\r\n")...)
	}
	dst = append(dst, "Content-Transfer-Encoding: quoted-printable\r\n\r\n"...)
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a strings.Builder takes everything
	_ = w.Close()
	return append(dst, b.String()...)
}

// plainLines reports whether a text can be sent as it is: ASCII, with lines that need no folding. A
// line that begins with "--" could be taken for a boundary.
func plainLines(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > foldAt || !printable.IsPlain(line) || strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}

// AppendDelimiter appends the line that begins a MIME part.
func AppendDelimiter(dst []byte, boundary string) []byte {
	return append(append(append(dst, "--"...), boundary...), "\r\n"...)
}

// AppendClose appends the line that ends the last MIME part.
func AppendClose(dst []byte, boundary string) []byte {
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...)
}

// WriteBase64 writes what r has as base64, in lines of 76 characters that end with CR LF (RFC 2045
// §6.8).
func WriteBase64(w io.Writer, r io.Reader) error {
	const octets = 57 // become 76 characters
	in, out := make([]byte, 512*octets), make([]byte, 0, 512*78)
	for {
		n, err := io.ReadFull(r, in)
		out = out[:0]
		for rest := in[:n]; len(rest) > 0; {
			k := min(octets, len(rest))
			out = append(base64.StdEncoding.AppendEncode(out, rest[:k]), "\r\n"...)
			rest = rest[k:]
		}
		if _, werr := w.Write(out); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}
