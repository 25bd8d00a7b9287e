package milter

import (
	"net"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
)

// Action is something that the MTA may allow a milter to do to a message.
type Action uint32

// The actions that this package asks for.
const (
	ActionAddHeader    = Action(dialogue.AddHeader)
	ActionChangeHeader = Action(dialogue.ChangeHeader)
	ActionQuarantine   = Action(dialogue.Quarantine)
	ActionAskMacros    = Action(dialogue.AskMacros)
)

// to reports whether the Sessions give a reply to cmd.
func (r ReplyAt) to(cmd byte) bool {
	switch cmd {
	case wire.CmdConnect:
		return r.Connect
	case wire.CmdHelo:
		return r.Helo
	case wire.CmdMail:
		return r.Mail
	case wire.CmdRcpt:
		return r.Rcpt
	}
	return false
}

// Conn tells a Session about its connection. The Session may use it only during its callbacks.
type Conn struct {
	remote net.Addr
	local  net.Addr
	terms  dialogue.Terms
	macros wire.Macros
}

// Macro returns the value of a macro. The name may be written with or without braces: "i",
// "{auth_authen}". "" means that the MTA did not send the macro. If the MTA sent it at several
// stages, Macro returns the value of the latest stage. Macros of a message are forgotten at its
// end.
func (c *Conn) Macro(name string) string { return c.macros.Get(name) }

// RemoteAddr is the address of the MTA's end of the milter connection. It is not the address of the
// SMTP client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr is the address of this end of the milter connection.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// HasAction reports whether the MTA allows the milter the action a.
func (c *Conn) HasAction(a Action) bool { return Action(c.terms.Actions)&a == a }

// RepliesToRcpt reports whether the MTA waits for a reply to RCPT.
func (c *Conn) RepliesToRcpt() bool { return !c.terms.Silent(wire.CmdRcpt) }

// HasLeadingSpace reports whether the MTA sends and expects values of header fields with the white
// space that follows the colon. If not, the MTA removes one leading space from a value, and this
// package puts it back.
func (c *Conn) HasLeadingSpace() bool { return c.terms.LeadingSpace() }

// Version is the protocol version that was agreed on.
func (c *Conn) Version() int { return int(c.terms.Version) }
