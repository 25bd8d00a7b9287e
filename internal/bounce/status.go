package bounce

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/textproto"
	"strconv"
	"strings"

	"sekimori/internal/printable"
)

const (
	// maxStatus is how many octets of a delivery status are read.
	maxStatus = 64 << 10
	// maxScanned is how many octets of a message are searched for a delivery status. It comes after a
	// text for people, and before what was returned of the message.
	maxScanned = 1 << 20
	// maxLine is how many octets of a line are looked at. RFC 5322 §2.1.1 allows 998.
	maxLine = 4096
	// maxType is the length of the longest Content-Type that is understood, in octets.
	maxType = 4096
	// maxNested is how many multiparts may be in each other. Some gateways put a bounce into a multipart of their own.
	maxNested = 4
	// maxReply is the length of the longest reply that is kept, in octets.
	maxReply = 500
)

// failure is what a delivery status notification says about a mail that could not be delivered, in the
// forms of Options.Failed.
type failure struct{ status, reply string }

// read reads a message to its end, and returns the first failure that its delivery status reports. It returns
// false if the message reports none.
func read(r io.Reader) (failure, bool, error) {
	s := scanner{r: bufio.NewReaderSize(io.LimitReader(r, maxScanned), maxLine)}
	status, err := s.deliveryStatus()
	if err != nil {
		return failure{}, false, err
	}
	f, failed := parseStatus(status)
	return f, failed, nil
}

// scanner finds the delivery status in a message. It keeps nothing else of the message.
type scanner struct {
	r          *bufio.Reader
	boundaries []string // of the multiparts that the scanner is in, each with "--" before it
	err        error    // why there are no more lines; nil at the end of the message
}

// next returns the next line without its end, and false after the last one. A line longer than maxLine is cut.
func (s *scanner) next() (string, bool) {
	line, err := s.r.ReadSlice('\n')
	text := string(bytes.TrimRight(line, "\r\n"))
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = s.r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
		return "", false
	}
	return text, len(line) > 0
}

// deliveryStatus returns the content of the first delivery status, or nothing.
func (s *scanner) deliveryStatus() ([]byte, error) {
	kind, params, _ := s.contentType()
	for {
		if !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "" || len(s.boundaries) >= maxNested {
			return nil, s.err
		}
		s.boundaries = append(s.boundaries, "--"+params["boundary"])
		for {
			if !s.skip() {
				return nil, s.err
			}
			var encoding string
			kind, params, encoding = s.contentType()
			if kind == "message/delivery-status" || kind == "message/global-delivery-status" { // RFC 3464 §2.1, RFC 6533 §5
				content := s.content(encoding)
				return content, s.err
			}
			if strings.HasPrefix(kind, "multipart/") {
				break
			}
		}
	}
}

// contentType reads the fields of a header to their end, and returns what they say about the content.
func (s *scanner) contentType() (kind string, params map[string]string, encoding string) {
	name, value, text := "", "", ""
	end := func() {
		switch name {
		case "content-type":
			text = value
		case "content-transfer-encoding":
			encoding = strings.ToLower(strings.TrimSpace(value))
		}
		name, value = "", ""
	}
	for {
		line, _ := s.next()
		if line == "" { // also at the end of the message
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(value)+len(line) <= maxType { // of a field that is not read, the value is forgotten
				value += line
			}
			continue
		}
		end()
		if before, after, ok := strings.Cut(line, ":"); ok {
			switch before = strings.ToLower(strings.TrimRight(before, " \t")); before {
			case "content-type", "content-transfer-encoding":
				name, value = before, after
			}
		}
	}
	end()
	kind, params, _ = mime.ParseMediaType(text) // what is wrong has no kind; a type with a bad parameter has no parameters
	return kind, params, encoding
}

// skip reads to the begin of the next part. It returns false if there is none.
func (s *scanner) skip() bool {
	for {
		line, ok := s.next()
		if !ok {
			return false
		}
		switch depth, last := s.delimiter(line); {
		case depth < 0:
		case !last:
			s.boundaries = s.boundaries[:depth+1]
			return true
		default:
			if s.boundaries = s.boundaries[:depth]; depth == 0 {
				return false
			}
		}
	}
}

// delimiter returns which boundary a line is, or -1, and whether it ends its multipart.
func (s *scanner) delimiter(line string) (depth int, last bool) {
	if !strings.HasPrefix(line, "--") {
		return -1, false
	}
	line = strings.TrimRight(line, " \t")
	for i := len(s.boundaries) - 1; i >= 0; i-- {
		if rest, ok := strings.CutPrefix(line, s.boundaries[i]); ok && (rest == "" || rest == "--") {
			return i, rest != ""
		}
	}
	return -1, false
}

// content reads the content of a part, up to maxStatus octets.
func (s *scanner) content(encoding string) []byte {
	var b bytes.Buffer
	for {
		line, ok := s.next()
		if !ok {
			break
		}
		if depth, _ := s.delimiter(line); depth >= 0 {
			break
		}
		if strings.TrimSpace(line) == "" {
			line = "" // some gateways add spaces
		}
		if b.Len()+len(line)+1 > maxStatus {
			break
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	if encoding != "base64" {
		return b.Bytes()
	}
	// What comes before a mistake is kept.
	text, _ := io.ReadAll(base64.NewDecoder(base64.StdEncoding, &b))
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}

// parseStatus returns the first recipient in a delivery status (RFC 3464 §2.3) to whom the mail could not be delivered.
func parseStatus(text []byte) (failure, bool) {
	for group := range bytes.SplitSeq(text, []byte("\n\n")) {
		fields := recipientFields(string(group))
		if action, _, _ := strings.Cut(fields["Action"], "("); !strings.EqualFold(strings.TrimSpace(action), "failed") {
			continue
		}
		f := failure{status: statusCode(fields["Status"])}
		kind, text, ok := strings.Cut(fields["Diagnostic-Code"], ";")
		if !ok {
			kind, text = "", fields["Diagnostic-Code"]
		}
		text = strings.Join(strings.Fields(text), " ")
		// Some MTAs (Exim) write 5.0.0 whatever the reply was.
		if strings.EqualFold(strings.TrimSpace(kind), "smtp") && (f.status == "" || strings.HasSuffix(f.status, ".0.0")) {
			if told := replyStatus(text); told != "" && (f.status == "" || told[0] == f.status[0]) {
				f.status = told
			}
		}
		f.reply = printable.Marked(text, maxReply)
		return f, true
	}
	return failure{}, false
}

// recipientFields returns the fields of a group that are read, unfolded, by their names in canonical form.
func recipientFields(group string) map[string]string {
	fields := map[string]string{}
	name := ""
	for line := range strings.SplitSeq(group, "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if name != "" {
				fields[name] += line
			}
			continue
		}
		before, after, ok := strings.Cut(line, ":")
		if name = ""; !ok {
			continue
		}
		switch key := textproto.CanonicalMIMEHeaderKey(strings.TrimRight(before, " \t")); key {
		case "Action", "Status", "Diagnostic-Code":
			if _, twice := fields[key]; !twice {
				name, fields[key] = key, after
			}
		}
	}
	return fields
}

// statusCode returns the enhanced status code with which s begins, after spaces, or "".
func statusCode(s string) string {
	s = strings.TrimSpace(s)
	if end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		s = s[:end]
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return ""
	}
	for _, p := range parts[1:] {
		if n, err := strconv.Atoi(p); err != nil || n > 999 || strconv.Itoa(n) != p {
			return ""
		}
	}
	return s
}

// replyStatus returns the enhanced status code in an SMTP reply such as "550 5.1.1 unknown" or
// "550-5.1.1 unknown", or "".
func replyStatus(reply string) string {
	for i, word := range strings.FieldsFunc(reply[:min(len(reply), 64)], func(r rune) bool { return r == ' ' || r == '-' || r == '#' }) {
		if s := statusCode(word); s == word { // no word is empty
			return s
		}
		if i == 1 { // the code, and what should be the enhanced code
			break
		}
	}
	return ""
}
