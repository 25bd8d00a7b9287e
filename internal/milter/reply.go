package milter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

// Reply is a Session's answer to an event. The zero Reply is [Continue].
type Reply string

// The plain replies. Accept and Discard are valid for a message. From Connect and Helo they
// count as Continue, because an MTA that gets them there sends the milter nothing more of the
// whole SMTP session.
const (
	Continue Reply = "c" // go on
	Accept   Reply = "a" // deliver the message; the milter gets no more of it
	Discard  Reply = "d" // the client is told that the message was accepted, and the message is thrown away
	Reject   Reply = "r" // refuse with 5xx, in the words of the MTA
	Tempfail Reply = "t" // refuse with 4xx, in the words of the MTA
)

// Outline may be returned by Oversize of an [Outliner]. It is not valid anywhere else.
const Outline Reply = "outline"

const (
	// flawed separates the reply from a note that says why the argument of Custom was invalid.
	flawed = "\x00"
	// progressNotice (SMFIR_PROGRESS) is written like a reply, but the MTA goes on waiting for the
	// real reply.
	progressNotice = Reply("p")
)

// Custom makes a reply with code and text of our own. A reply that an MTA would refuse
// ([smtp.Reply.Validate]) becomes a plain Reject if its code is 5yz, and a plain Tempfail
// otherwise; when the reply is sent, the log says what was wrong with it. A malformed reply must
// not be sent, because the MTA would then use its default action, which may be to accept the
// message.
//
// Postfix and Sendmail use the reply as a format string, so Custom doubles each '%'.
func Custom(r smtp.Reply) Reply {
	if err := r.Validate(); err != nil {
		plain := Tempfail
		if r.Code/100 == 5 {
			plain = Reject
		}
		return plain + Reply(flawed+err.Error())
	}
	return Reply(wire.CodeReply) + Reply(strings.ReplaceAll(r.String(), "%", "%%"))
}

// Code returns the SMTP reply code of a Custom reply. For other replies it returns 0.
func (r Reply) Code() int {
	if len(r) < 4 || r[0] != wire.CodeReply {
		return 0
	}
	code, _ := strconv.Atoi(string(r[1:4])) // 0 if this is not a number
	return code
}

// String returns the reply in the form that the log shows.
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

// check returns the reply that is sent for r. If that is not r, the error says why.
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

// delivers reports whether the message is delivered after r.
func (r Reply) delivers() bool { return r == Continue || r == Accept }
