package milter

import "net"

// Action is something a milter may do to a message.
type Action uint32

// The actions this package asks for.
const (
	ActionAddHeader    Action = 1 << 0 // SMFIF_ADDHDRS
	ActionChangeHeader Action = 1 << 4 // SMFIF_CHGHDRS
	ActionQuarantine   Action = 1 << 5 // SMFIF_QUARANTINE
	actionSetSymList   Action = 1 << 8 // SMFIF_SETSYMLIST
)

// What is asked of the protocol: steps that are not shown, and steps where the
// MTA waits for no reply.
const (
	noHeaderReply     = 1 << 7  // SMFIP_NR_HDR
	noUnknown         = 1 << 8  // SMFIP_NOUNKNOWN
	noConnReply       = 1 << 12 // SMFIP_NR_CONN
	noHeloReply       = 1 << 13 // SMFIP_NR_HELO
	noMailReply       = 1 << 14 // SMFIP_NR_MAIL
	noRcptReply       = 1 << 15 // SMFIP_NR_RCPT
	noDataReply       = 1 << 16 // SMFIP_NR_DATA
	noUnknownReply    = 1 << 17 // SMFIP_NR_UNKN
	noEOHReply        = 1 << 18 // SMFIP_NR_EOH
	noBodyReply       = 1 << 19 // SMFIP_NR_BODY
	withLeadingSpaces = 1 << 20 // SMFIP_HDR_LEADSPC
)

// negotiated is what the MTA and we agreed on.
type negotiated struct {
	version  uint32
	actions  Action
	protocol uint32
}

// negotiate takes of what we want what the MTA offers; an MTA drops a milter
// that asks for more.
func negotiate(o offer, at ReplyAt) negotiated {
	actions := ActionAddHeader | ActionChangeHeader | ActionQuarantine | actionSetSymList
	protocol := uint32(noUnknown | withLeadingSpaces |
		noDataReply | noUnknownReply | noHeaderReply | noEOHReply | noBodyReply)
	for _, step := range []struct {
		replies bool
		none    uint32
	}{
		{at.Connect, noConnReply},
		{at.Helo, noHeloReply},
		{at.Mail, noMailReply},
		{at.Rcpt, noRcptReply},
	} {
		if !step.replies {
			protocol |= step.none
		}
	}
	return negotiated{
		version:  min(o.version, protocolVersion),
		actions:  actions & Action(o.actions),
		protocol: protocol & o.protocol,
	}
}

// silent reports whether the MTA expects no reply to cmd.
func (n negotiated) silent(cmd byte) bool {
	var flag uint32
	switch cmd {
	case cmdConnect:
		flag = noConnReply
	case cmdHelo:
		flag = noHeloReply
	case cmdMail:
		flag = noMailReply
	case cmdRcpt:
		flag = noRcptReply
	case cmdData:
		flag = noDataReply
	case cmdUnknown:
		flag = noUnknownReply
	case cmdHeader:
		flag = noHeaderReply
	case cmdEndOfHeader:
		flag = noEOHReply
	case cmdBody:
		flag = noBodyReply
	}
	return n.protocol&flag != 0
}

// symList asks for macros at every stage: a list of ours replaces the MTA's
// own, and Postfix does not send {client_addr} and the like by itself. From
// end of header on only the queue id, because Postfix sends the macros again
// before every header field and every part of the body.
var symList = []struct {
	stage  uint32 // SMFIM_CONNECT and so on
	macros string
}{
	{0, "j _ {daemon_name} {daemon_addr} {client_addr} {client_name} {client_port} {client_ptr} {client_resolve} v {if_addr}"}, // CONNECT
	{1, "{tls_version} {cipher} {cipher_bits} {cert_subject}"},                                                                 // HELO
	{2, "i {auth_type} {auth_authen} {auth_ssf} {auth_author} {mail_addr} {mail_host} {mail_mailer}"},                          // MAIL
	{3, "i {rcpt_addr} {rcpt_host} {rcpt_mailer}"},                                                                             // RCPT
	{4, "i"}, // DATA
	{5, "i"}, // end of message
	{6, "i"}, // end of header
}

// Conn is what a Session can learn of its connection. It may be used during
// the Session's callbacks only.
type Conn struct {
	remote net.Addr
	neg    negotiated
	macros macros
}

// Macro returns the value of a macro, with or without its braces: "i",
// "{auth_authen}". "" means the MTA did not send it. When several stages have
// it, the latest counts; macros sent for a message are forgotten with it.
func (c *Conn) Macro(name string) string { return c.macros.get(name) }

// RemoteAddr is the MTA's end of the milter connection, not the SMTP client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// HasAction reports whether the MTA lets us do a.
func (c *Conn) HasAction(a Action) bool { return c.neg.actions&a == a }

// RepliesToRcpt reports whether the MTA waits for a reply to RCPT.
func (c *Conn) RepliesToRcpt() bool { return !c.neg.silent(cmdRcpt) }

// HasLeadingSpace reports whether header values come with their leading space
// as received, and are written so; if not it was guessed.
func (c *Conn) HasLeadingSpace() bool {
	return c.neg.protocol&withLeadingSpaces != 0
}

// Version is the protocol version agreed on.
func (c *Conn) Version() int { return int(c.neg.version) }
