package label

import (
	"mime"
	"strings"

	"sekimori/internal/message"
)

// maxSubject is the length to which a Subject is cut before it is stamped, in octets.
// Postfix cuts fields at 60,000 octets.
const maxSubject = 50_000

// stampSubject adds an edit for every Subject field that does not begin with the stamp. All
// Subject fields are stamped, because mail clients differ in which one they show. found is
// false if the message has no Subject.
func (l *Writer) stampSubject(h message.Header, stamp string) (found bool) {
	index := 0
	for i := range h {
		if !h[i].Is("Subject") {
			continue
		}
		index++
		if !hasStamp(h[i].Value, stamp) {
			l.edits = append(l.edits, Edit{Kind: Change, Name: "Subject", Index: index, Value: withStamp(h[i].Value, stamp)})
		}
	}
	return index > 0
}

// encodeStamp returns the stamp in the form in which a Subject may hold it (RFC 2047).
func encodeStamp(stamp string) string {
	return mime.BEncoding.Encode("utf-8", strings.TrimSpace(stamp))
}

// withStamp returns value with the stamp before it. The words and the line folding of value
// stay as they are. Characters that a field cannot hold are replaced by a space (NUL, a
// lone CR), and blank lines are removed. Otherwise the MTA could refuse the changed field,
// and a sender could avoid the stamp in this way.
func withStamp(value, stamp string) string {
	value = strings.TrimLeft(foldable(value), " \t")
	const maxLine = 900 // octets; RFC 5322 §2.1.1 allows a line of 998
	first, _, _ := strings.Cut(value, "\r\n")
	separator := " "
	switch mark := encodeStamp(stamp); {
	case len(first) > maxLine:
		separator = "\r\n "
	case mark != strings.TrimSpace(stamp) && strings.HasPrefix(value, "=?"):
		// Mail clients do not show white space between two encoded words, so the space
		// after the stamp is encoded too.
		stamp += " "
		return " " + mime.BEncoding.Encode("utf-8", stamp) + separator + value
	}
	return " " + encodeStamp(stamp) + separator + value
}

func foldable(value string) string {
	value = value[:min(len(value), maxSubject)]
	lines := strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	kept := lines[:1]
	for _, line := range lines[1:] {
		if strings.Trim(line, " \t\r\x00") == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			line = " " + line
		}
		kept = append(kept, line)
	}
	return strings.NewReplacer("\r", " ", "\x00", " ", "\n", "\r\n").Replace(strings.Join(kept, "\n"))
}

// hasStamp reports whether the value begins with the stamp, either in the raw text or in
// the decoded text that a mail client shows.
func hasStamp(value, stamp string) bool {
	const enough = 1000 // octets, more than an encoded stamp of 40 characters needs
	stamp = strings.TrimSpace(stamp)
	value = strings.TrimSpace(strings.ReplaceAll(value[:min(len(value), enough)], "\r\n", ""))
	if strings.HasPrefix(value, stamp) || strings.HasPrefix(value, encodeStamp(stamp)) {
		return true
	}
	shown, err := new(mime.WordDecoder).DecodeHeader(value)
	return err == nil && strings.HasPrefix(strings.TrimSpace(shown), stamp)
}
