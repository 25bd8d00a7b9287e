package submit

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"

	"github.com/emersion/go-smtp"

	"sekimori/internal/printable"
)

// maxReply is the length of the longest text about a reply in octets. It is kept with the delivery and shown
// to the operator. RFC 5321 §4.5.3.1.5 allows 512 octets for a line.
const maxReply = 500

// failure returns the temporary result for an error of go-smtp or of the connection. step says what
// was tried, if that is not clear from the reply; it may be empty.
func (t *transaction) failure(step string, err error) Result {
	code, text := 0, ""
	if se := (*smtp.SMTPError)(nil); errors.As(err, &se) {
		code, text = se.Code, se.Message
		if e := se.EnhancedCode; e != smtp.EnhancedCodeNotSet {
			text = fmt.Sprintf("%d.%d.%d %s", e[0], e[1], e[2], text) // go-smtp has cut it off
		}
	} else if te := (*textproto.Error)(nil); errors.As(err, &te) {
		code, text = te.Code, te.Msg
	}
	if code == 0 && t.conn != nil && t.conn.failed != nil {
		err = t.conn.failed
	}
	r := Result{Reply: sentence(err)}
	if code >= 200 && code <= 599 {
		r = answer(code, text)
	}
	if step != "" {
		r.Reply = printable.Marked(step+": "+r.Reply, maxReply)
	}
	r.Kind = Temporary
	return r
}

// aboutUs reports whether a code means that this host may not submit mail as it is configured,
// whatever the mail is: a login or TLS is missing (RFC 4954 §6, RFC 3207 §4).
func aboutUs(code int) bool { return code == 530 || code == 534 || code == 535 || code == 538 }

// answer returns a Result with a reply of the MTA. Its Kind is not set.
func answer(code int, text string) Result {
	r := Result{Code: code}
	first, rest, _ := strings.Cut(text, " ")
	if isEnhanced(first, code) {
		r.Enhanced = first
		// Each line of a reply repeats the enhanced code (RFC 2034 §4).
		text = first + " " + strings.ReplaceAll(rest, "\n"+first+" ", " ")
	}
	text = strings.Join(strings.Fields(text), " ")
	r.Reply = printable.Marked(strings.TrimSpace(strconv.Itoa(code)+" "+text), maxReply)
	return r
}

// isEnhanced reports whether s is an enhanced status code for a reply with the code (RFC 3463 §2).
func isEnhanced(s string, code int) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(code/100) {
		return false
	}
	for _, p := range parts[1:] {
		if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 999 || strconv.Itoa(n) != p {
			return false
		}
	}
	return true
}

// sentence says what went wrong when there was no reply.
func sentence(err error) string {
	var timeout net.Error
	var unverified *tls.CertificateVerificationError
	var protocol textproto.ProtocolError
	switch {
	case errors.Is(err, errLongReply), errors.Is(err, smtp.ErrTooLongLine):
		return "the reply of the mail server was too long"
	case errors.As(err, &protocol):
		return "the reply of the mail server was malformed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the mail server did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the mail server closed the connection"
	case errors.As(err, &unverified):
		return printable.Marked("the certificate of the mail server is not trusted: "+unverified.Err.Error(), maxReply)
	}
	return printable.Marked(err.Error(), maxReply)
}
