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

// The plain replies. Accept and Discard are about a message. At Connect and Helo they count
// as Continue, because an MTA that is told to accept there would send the milter nothing
// more of the whole SMTP session.
const (
	Continue Reply = "c" // go on
	Accept   Reply = "a" // deliver the message; the milter needs nothing more of it
	Discard  Reply = "d" // accept the message and throw it away
	Reject   Reply = "r" // 5xx, in the words of the MTA
	Tempfail Reply = "t" // 4xx, in the words of the MTA
)

// Outline is what Oversize of an [Outliner] may return. It is not a reply elsewhere.
const Outline Reply = "outline"

const (
	// flawed begins a note within a Reply, which says what was wrong with the argument of
	// Custom.
	flawed = "\x00"
	// progressNotice (SMFIR_PROGRESS) is sent like a reply.
	progressNotice = Reply("p")
)

// Custom makes a reply in our own words. A reply that an MTA would refuse
// ([smtp.Reply.Validate]) becomes a plain Reject if its code is 5yz, and a plain Tempfail
// otherwise. What was wrong is logged when the reply is sent. A malformed reply must not be
// sent, because the MTA would then use its default action, which may be to accept the
// message.
//
// Postfix and Sendmail read a reply as a format, so '%' is sent twice.
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
	if r == "" || r[0] != wire.CodeReply || len(r) < 4 {
		return 0
	}
	code, err := strconv.Atoi(string(r[1:4]))
	if err != nil {
		return 0
	}
	return code
}

// String returns the reply as the log shows it.
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

// check returns the reply that is sent for r. If that is another one, the error says why.
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
