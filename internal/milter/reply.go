package milter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sekimori/internal/milter/wire"
)

// Reply is a Session's answer to an event. The zero Reply is [Continue].
type Reply string

// The plain replies. Accept and Discard are about a message: at Connect and
// Helo they count as Continue, because an MTA that is told to accept there
// shows nothing more of the whole SMTP session.
const (
	Continue Reply = "c" // go on
	Accept   Reply = "a" // no more of this message is of interest; deliver it
	Discard  Reply = "d" // take the message and throw it away
	Reject   Reply = "r" // 5xx in the MTA's words
	Tempfail Reply = "t" // 4xx in the MTA's words
)

// Outline is a Session's answer to Oversize only: see [Outliner].
const Outline Reply = "outline"

// flawed begins a note on what Custom was asked. progressNotice is no Reply, but
// is sent as one: SMFIR_PROGRESS.
const (
	flawed         = "\x00"
	progressNotice = Reply("p")
)

// Limits of a custom reply.
const (
	// maxReplyLine is a line without its CRLF (RFC 5321 §4.5.3.1.5).
	maxReplyLine = 510
	// maxReplyLines is libmilter's MAXREPLYLINES.
	maxReplyLines = 32
)

// Custom is a reply in our own words, with FormatReply's arguments. What
// FormatReply refuses becomes a plain Tempfail or Reject, whichever the code
// asked for, and is logged when it is sent: an MTA that is sent a malformed
// reply falls back to its default action, which may be to accept the message.
func Custom(code int, enhanced string, lines ...string) Reply {
	text, err := FormatReply(code, enhanced, lines...)
	if err != nil {
		plain := Tempfail
		if code/100 == 5 {
			plain = Reject
		}
		return plain + Reply(flawed+err.Error())
	}
	return Reply(wire.CodeReply) + Reply(text)
}

// FormatReply returns the text of an SMTP reply as an MTA wants it from a
// milter: every line begins with code and enhanced, lines are separated by
// CRLF, '%' is doubled, and what is not printable ASCII is a '?'. Lines are
// cut at 510 octets and after the 32nd. code is 400 to 599; enhanced (RFC
// 3463) is of the same class or "".
func FormatReply(code int, enhanced string, lines ...string) (string, error) {
	if code < 400 || code > 599 {
		return "", fmt.Errorf("milter: reply code %d is not 4xx or 5xx", code)
	}
	class := byte('0' + code/100)
	if enhanced != "" && !validEnhanced(enhanced, class) {
		return "", fmt.Errorf("milter: enhanced code %q does not fit reply code %d", enhanced, code)
	}
	if len(lines) == 0 {
		lines = []string{"Message refused"}
	}
	lines = lines[:min(len(lines), maxReplyLines)]
	var b strings.Builder
	for i, line := range lines {
		separator := "-"
		if i == len(lines)-1 {
			separator = " "
		}
		text := printable(line)
		switch {
		case enhanced != "":
			text = enhanced + " " + text
		case text != "" && isDigit(text[0]) && text[0] != class:
			// Postfix takes a digit after the code for an enhanced code, and
			// one of another class for a malformed reply.
			text = string(class) + ".0.0 " + text
		}
		text = strconv.Itoa(code) + separator + text
		text = text[:min(len(text), maxReplyLine)]
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(strings.ReplaceAll(text, "%", "%%"))
	}
	return b.String(), nil
}

// validEnhanced reports whether s is an enhanced status code (RFC 3463 §2) of
// the class.
func validEnhanced(s string, class byte) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != string(class) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// printable returns s with every character that is not printable ASCII
// replaced by '?', so no text of ours or a sender's can end the reply.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// Code returns the SMTP reply code of a Custom reply, else 0.
func (r Reply) Code() int {
	if r == "" || r[0] != wire.CodeReply || len(r) < 4 {
		return 0
	}
	code, err := strconv.Atoi(string(r[1:4]))
	if err != nil {
		return 0
	}
	return code
}

// String returns the reply as a log shows it.
func (r Reply) String() string {
	plain, _ := r.check()
	switch plain {
	case Continue:
		return "continue"
	case Accept:
		return "accept"
	case Discard:
		return "discard"
	case Reject:
		return "reject"
	case Tempfail:
		return "tempfail"
	}
	return strings.ReplaceAll(string(plain[1:]), "%%", "%")
}

// check returns what is sent for r, and why that is not what was asked for.
func (r Reply) check() (Reply, error) {
	plain, note, bad := strings.Cut(string(r), flawed)
	switch {
	case bad:
		return Reply(plain), errors.New(note)
	case r == "":
		return Continue, nil
	case r == Continue, r == Accept, r == Discard, r == Reject, r == Tempfail, r[0] == wire.CodeReply && r.Code() != 0:
		return r, nil
	}
	return Tempfail, fmt.Errorf("milter: unknown reply %q", string(r))
}

// delivers reports whether the message lives on after r.
func (r Reply) delivers() bool { return r == Continue || r == Accept }
