package label

import (
	"mime"
	"strings"

	"sekimori/internal/message"
)

// maxSubject bounds a stamped subject, in octets. Postfix cuts fields at 60,000.
const maxSubject = 50_000

// stampSubject puts the stamp before every Subject of the message that does not have
// it yet: of several, mail clients differ in which they show. It reports whether there
// is a Subject.
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

// encodeStamp returns the stamp as a Subject may hold it (RFC 2047).
func encodeStamp(stamp string) string {
	return mime.BEncoding.Encode("utf-8", strings.TrimSpace(stamp))
}

// withStamp returns the value with the stamp before it, and leaves the words and folds
// as they are. Octets that no field may hold (NUL, a lone CR, blank lines) are removed,
// because a sender could otherwise make the change fail and so avoid the stamp.
func withStamp(value, stamp string) string {
	value = strings.TrimLeft(foldable(value), " \t")
	const maxLine = 900 // octets; a line has at most 998 (RFC 5322 §2.1.1)
	first, _, _ := strings.Cut(value, "\r\n")
	separator := " "
	switch mark := encodeStamp(stamp); {
	case len(first) > maxLine && value != "":
		separator = "\r\n "
	case mark != strings.TrimSpace(stamp) && strings.HasPrefix(value, "=?"):
		// White space between two encoded words is not shown, so the space is encoded too.
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

// hasStamp reports whether the value begins with the stamp, as it is written or as it
// is shown.
func hasStamp(value, stamp string) bool {
	const enough = 1000 // octets: a stamp has at most 40 characters
	stamp = strings.TrimSpace(stamp)
	value = strings.TrimSpace(strings.ReplaceAll(value[:min(len(value), enough)], "\r\n", ""))
	if strings.HasPrefix(value, stamp) || strings.HasPrefix(value, encodeStamp(stamp)) {
		return true
	}
	shown, err := new(mime.WordDecoder).DecodeHeader(value)
	return err == nil && strings.HasPrefix(strings.TrimSpace(shown), stamp)
}
