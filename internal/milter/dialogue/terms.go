// Package dialogue knows the rules of the conversation between an MTA and a
// milter: what both agree on at the beginning, in which order the commands may
// come, and which of them get a reply. It holds values and does no I/O.
package dialogue

import (
	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// newestVersion is the newest version of the protocol that we speak.
const newestVersion = 6

// Actions that this milter asks the MTA to allow.
const (
	AddHeader    = gomilter.OptAddHeader
	ChangeHeader = gomilter.OptChangeHeader
	Quarantine   = gomilter.OptQuarantine
	AskMacros    = gomilter.OptSetSymList
)

// noReply has the flag by which a milter says that it gives no reply to a command.
// The MTA then does not wait for one.
var noReply = [256]gomilter.OptProtocol{
	wire.CmdConnect:     gomilter.OptNoConnReply,
	wire.CmdHelo:        gomilter.OptNoHeloReply,
	wire.CmdMail:        gomilter.OptNoMailReply,
	wire.CmdRcpt:        gomilter.OptNoRcptReply,
	wire.CmdData:        gomilter.OptNoDataReply,
	wire.CmdUnknown:     gomilter.OptNoUnknownReply,
	wire.CmdHeader:      gomilter.OptNoHeaderReply,
	wire.CmdEndOfHeader: gomilter.OptNoEOHReply,
	wire.CmdBody:        gomilter.OptNoBodyReply,
}

// Terms are what the MTA and this milter agreed on.
type Terms struct {
	Version  uint32
	Actions  gomilter.OptAction
	Protocol gomilter.OptProtocol
}

// Negotiate returns the terms: everything that we want, as far as the MTA offers it. An
// MTA drops a milter that asks for more. repliesTo reports whether we want to reply to cmd.
func Negotiate(o wire.Offer, repliesTo func(cmd byte) bool) Terms {
	actions := AddHeader | ChangeHeader | Quarantine | AskMacros
	protocol := gomilter.OptNoUnknown | gomilter.OptHeaderLeadingSpace
	for cmd, flag := range noReply {
		if !repliesTo(byte(cmd)) {
			protocol |= flag
		}
	}
	return Terms{
		Version:  min(o.Version, newestVersion),
		Actions:  actions & gomilter.OptAction(o.Actions),
		Protocol: protocol & gomilter.OptProtocol(o.Protocol),
	}
}

// Silent reports whether the MTA expects no reply to cmd.
func (t Terms) Silent(cmd byte) bool { return t.Protocol&noReply[cmd] != 0 }

// LeadingSpace reports whether the values of header fields come with their leading
// space, and are to be written with it.
func (t Terms) LeadingSpace() bool { return t.Protocol&gomilter.OptHeaderLeadingSpace != 0 }

// Macros returns the macros that we ask for at each stage. The list replaces the
// MTA's own, and Postfix does not send {client_addr} and the like by itself. From the
// end of the header on we ask for the queue id only, because Postfix sends the macros
// again before every header field and every part of the body.
func Macros() map[gomilter.Stage][]string {
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
