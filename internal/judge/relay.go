package judge

import (
	"context"
	"net/netip"
	"slices"

	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/received"
)

// Relay is a host in front of the MTA that takes mail from strangers and hands it on, such
// as a backup MX or a filter. The MTA sees the address of the relay instead of the client's.
// The client is read from the topmost Received field, because the relay wrote that field:
// a stranger cannot put a field above it. No field below it is believed.
type Relay struct {
	Network netip.Prefix // addresses of the relay, as the MTA sees them
	// By are the names that the relay writes after "by". If By is empty, any name is
	// allowed. A field with another name counts as unreadable.
	By []policy.Pattern
}

// relay returns the first relay whose network contains the client, or nil if there is none.
func (j *Judge) relay(client netip.Addr) *Relay {
	client = client.Unmap().WithZone("")
	for i := range j.Relays {
		if j.Relays[i].Network.Contains(client) {
			return &j.Relays[i]
		}
	}
	return nil
}

// relayed is a connection from a relay. Each message on it has a client of its own, so each
// message gets a msgauth.Connection of its own.
type relayed struct {
	relay    *Relay
	ctx      context.Context
	verifier *msgauth.Verifier // nil if no message is evaluated
}

// Relayed reports whether the connection comes from a relay, so that its client is not the
// client of its messages.
func (c *Connection) Relayed() bool { return c.relayed != nil }

// behind returns the session s without the facts about the relay, which are not facts about
// the client. It keeps the address of the relay in Session.Relay. The field RelayLine is
// RelayUnreadable until the client has been read.
func behind(s msgauth.Session) msgauth.Session {
	s.Relay, s.RelayLine = s.Client.Unmap().WithZone(""), msgauth.RelayUnreadable
	s.Client, s.ClientName, s.HELO = netip.Addr{}, "", ""
	return s
}

// readClient adds the client that the header names to s, the session of a message that a
// relay handed on. If the relay names no client, or a host of the site as the client, the
// client stays unknown.
func (j *Judge) readClient(s *msgauth.Session, from *Relay, h message.Header) {
	f, err := received.Topmost(h)
	named := len(from.By) == 0 || slices.ContainsFunc(from.By, func(p policy.Pattern) bool { return p.Matches(f.By) })
	switch {
	case err != nil || !named:
	case (msgauth.Session{Client: f.Address}).Unknown() || j.Trusts(f.Address) || j.relay(f.Address) != nil:
		s.RelayLine = msgauth.RelayPrivate
	default:
		s.RelayLine = msgauth.RelayRead
		s.Client, s.ClientName, s.HELO = f.Address, f.Name, f.HELO
	}
}

// meetClient reads the client from the header. Then it starts the checks that start at
// CONNECT, HELO and MAIL if a client does not come by a relay.
func (c *Case) meetClient() {
	from := c.connection.relayed
	c.connection.judge.readClient(&c.Session, from.relay, c.header)
	c.client = from.verifier.Connect(from.ctx, c.Session)
	if c.Session.HELO != "" {
		c.client.Helo(c.Session.HELO)
	}
	c.check = c.client.Begin(c.Session, c.Envelope)
}
