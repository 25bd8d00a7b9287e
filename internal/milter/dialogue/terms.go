// Package dialogue has the rules of the dialogue between an MTA and a milter: what the two agree
// on at the beginning, in which order the commands may come, and which commands get a reply. It
// holds values and does no I/O.
package dialogue

import (
	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// newestVersion is the newest protocol version that this milter speaks.
const newestVersion = 6

// The actions that this milter asks the MTA to allow.
const (
	AddHeader    = gomilter.OptAddHeader
	ChangeHeader = gomilter.OptChangeHeader
	Quarantine   = gomilter.OptQuarantine
	AskMacros    = gomilter.OptSetSymList
)

// noReply has, for each command, the flag by which a milter says that it gives no reply to this
// command. The MTA then does not wait for a reply.
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

// Terms are the result of the negotiation: the version, actions and protocol flags that the MTA
// and this milter agreed on.
type Terms struct {
	Version  uint32
	Actions  gomilter.OptAction
	Protocol gomilter.OptProtocol
}

// Negotiate returns the terms: those actions and protocol flags that this milter wants and the MTA
// offers. An MTA closes the connection if a milter asks for more than the MTA offered. repliesTo
// reports whether the milter wants to reply to cmd.
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

// LeadingSpace reports whether the MTA sends and expects values of header fields with the white
// space that follows the colon.
func (t Terms) LeadingSpace() bool { return t.Protocol&gomilter.OptHeaderLeadingSpace != 0 }

// Macros returns the macros that this milter asks for at each stage. These lists replace the lists
// in the configuration of the MTA. They must name {client_addr} and similar macros, because Postfix
// does not send these by default. The lists for the end of the header and later stages name only
// the queue id, because Postfix repeats the macros before every header field and every part of the
// body. wire.Sign is not for the MTA: it tells our own programs that this milter is sekimori.
func Macros() map[gomilter.Stage][]string {
	return map[gomilter.Stage][]string{
		gomilter.StageConnect: {
			"j", "_", "{daemon_name}", "{daemon_addr}", "{client_addr}", "{client_name}",
			"{client_port}", "{client_ptr}", "{client_resolve}", "v", "{if_addr}", wire.Sign,
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
