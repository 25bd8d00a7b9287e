package milter

import (
	"net"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// Action is something a milter may do to a message.
type Action uint32

// The actions this package asks for.
const (
	ActionAddHeader    = Action(gomilter.OptAddHeader)
	ActionChangeHeader = Action(gomilter.OptChangeHeader)
	ActionQuarantine   = Action(gomilter.OptQuarantine)
	ActionAskMacros    = Action(gomilter.OptSetSymList)
)

// negotiated is what the MTA and we agreed on.
type negotiated struct {
	version  uint32
	actions  Action
	protocol gomilter.OptProtocol
}

// negotiate takes of what we want what the MTA offers; an MTA drops a milter
// that asks for more.
func negotiate(o wire.Offer, at ReplyAt) negotiated {
	actions := ActionAddHeader | ActionChangeHeader | ActionQuarantine | ActionAskMacros
	protocol := gomilter.OptNoUnknown | gomilter.OptHeaderLeadingSpace |
		gomilter.OptNoDataReply | gomilter.OptNoUnknownReply |
		gomilter.OptNoHeaderReply | gomilter.OptNoEOHReply | gomilter.OptNoBodyReply
	for _, step := range []struct {
		replies bool
		none    gomilter.OptProtocol
	}{
		{at.Connect, gomilter.OptNoConnReply},
		{at.Helo, gomilter.OptNoHeloReply},
		{at.Mail, gomilter.OptNoMailReply},
		{at.Rcpt, gomilter.OptNoRcptReply},
	} {
		if !step.replies {
			protocol |= step.none
		}
	}
	return negotiated{
		version:  min(o.Version, protocolVersion),
		actions:  actions & Action(o.Actions),
		protocol: protocol & gomilter.OptProtocol(o.Protocol),
	}
}

// silent reports whether the MTA expects no reply to cmd.
func (n negotiated) silent(cmd byte) bool {
	var flag gomilter.OptProtocol
	switch cmd {
	case wire.CmdConnect:
		flag = gomilter.OptNoConnReply
	case wire.CmdHelo:
		flag = gomilter.OptNoHeloReply
	case wire.CmdMail:
		flag = gomilter.OptNoMailReply
	case wire.CmdRcpt:
		flag = gomilter.OptNoRcptReply
	case wire.CmdData:
		flag = gomilter.OptNoDataReply
	case wire.CmdUnknown:
		flag = gomilter.OptNoUnknownReply
	case wire.CmdHeader:
		flag = gomilter.OptNoHeaderReply
	case wire.CmdEndOfHeader:
		flag = gomilter.OptNoEOHReply
	case wire.CmdBody:
		flag = gomilter.OptNoBodyReply
	}
	return n.protocol&flag != 0
}

// symList asks for macros at every stage: a list of ours replaces the MTA's
// own, and Postfix does not send {client_addr} and the like by itself. From
// end of header on only the queue id, because Postfix sends the macros again
// before every header field and every part of the body.
func symList() map[gomilter.Stage][]string {
	return map[gomilter.Stage][]string{
		gomilter.StageConnect: {
			"j", "_", "{daemon_name}", "{daemon_addr}", "{client_addr}", "{client_name}",
			"{client_port}", "{client_ptr}", "{client_resolve}", "v", "{if_addr}",
		},
		gomilter.StageHelo: {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}"},
		gomilter.StageMailFrom: {
			"i", "{auth_type}", "{auth_authen}", "{auth_ssf}", "{auth_author}",
			"{mail_addr}", "{mail_host}", "{mail_mailer}",
		},
		gomilter.StageRcptTo: {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		gomilter.StageData:   {"i"},
		gomilter.StageEOH:    {"i"},
		gomilter.StageEOM:    {"i"},
	}
}

// Conn is what a Session can learn of its connection. It may be used during
// the Session's callbacks only.
type Conn struct {
	remote net.Addr
	local  net.Addr
	neg    negotiated
	macros wire.Macros
}

// Macro returns the value of a macro, with or without its braces: "i",
// "{auth_authen}". "" means the MTA did not send it. When several stages have
// it, the latest counts; macros sent for a message are forgotten with it.
func (c *Conn) Macro(name string) string { return c.macros.Get(name) }

// RemoteAddr is the MTA's end of the milter connection, not the SMTP client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// HasAction reports whether the MTA lets us do a.
func (c *Conn) HasAction(a Action) bool { return c.neg.actions&a == a }

// LocalAddr is our end of the milter connection.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RepliesToRcpt reports whether the MTA waits for a reply to RCPT.
func (c *Conn) RepliesToRcpt() bool { return !c.neg.silent(wire.CmdRcpt) }

// HasLeadingSpace reports whether header values come with their leading space
// as received, and are written so; if not it was guessed.
func (c *Conn) HasLeadingSpace() bool {
	return c.neg.protocol&gomilter.OptHeaderLeadingSpace != 0
}

// Version is the protocol version agreed on.
func (c *Conn) Version() int { return int(c.neg.version) }
