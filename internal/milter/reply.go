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

// flawed begins a note on what is wrong with the reply that Custom was given.
// progressNotice is not a Reply, but is sent as one: SMFIR_PROGRESS.
const (
	flawed         = "\x00"
	progressNotice = Reply("p")
)

// Custom is a reply in our own words. A reply that an MTA would refuse
// ([smtp.Reply.Validate]) becomes a plain Reject if its code is 5yz, otherwise a
// plain Tempfail, and is logged when it is sent: an MTA that gets a malformed reply
// falls back to its default action, which may be to accept the message.
//
// Postfix and Sendmail read a reply as a format, so '%' is sent doubled.
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
