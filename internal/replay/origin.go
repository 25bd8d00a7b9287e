package replay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
)

// Origin says how to find out from where a stored message came. Exactly one of
// Client, Received and TrustedHosts is set.
type Origin struct {
	Client netip.Addr // every message came from here
	// Received is the number of the Received field, from the top, that the MTA
	// wrote which the daemon serves.
	Received int
	// TrustedHosts are one's own hosts. Of the fields at the top that they
	// wrote, the last one before a client that is not in a trusted network is
	// the one. What is below it, anybody may have written.
	TrustedHosts []dns.Name
	// HELO and MailFrom are those of every message where Client is given;
	// without MailFrom that of Return-Path or the mbox counts.
	HELO     string
	MailFrom *string
}

// transaction is what the MTA knew of a message.
type transaction struct {
	session  msgauth.Session
	envelope msgauth.Envelope
	header   message.Header // as the client sent it
	received time.Time      // zero if it is not known
	// internal: the message never came from outside.
	internal bool
}

// deliveryFields are put on top by the own hosts on delivery; where no Received
// field says how far these go, only such fields are taken off.
var deliveryFields = []string{"Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "Delivery-date", "X-Envelope-From", "X-Envelope-To"}

// find separates what the client sent from what the own hosts put on top of it.
func (o Origin) find(h message.Header, mboxSender string, trusted func(netip.Addr) bool) (transaction, error) {
	if o.Client.IsValid() {
		n := 0
		for n < len(h) && slices.ContainsFunc(deliveryFields, h[n].Is) {
			n++
		}
		t := transaction{session: msgauth.Session{Client: o.Client.Unmap(), HELO: o.HELO}, header: h[n:]}
		return t, t.mailFrom(o, h[:n], mboxSender)
	}
	at, r, err := o.border(h, trusted)
	if err != nil {
		return transaction{}, err
	}
	t := transaction{
		session:  msgauth.Session{Client: r.Address, ClientName: r.Name, HELO: r.HELO},
		envelope: msgauth.Envelope{QueueID: r.ID},
		header:   h[at+1:], received: r.Date, internal: !r.Address.IsValid(),
	}
	if r.authenticated() {
		t.session.Authenticated = "unknown" // a Received field does not say who
	}
	if r.For != "" {
		t.envelope.Recipients = []string{"<" + r.For + ">"}
	}
	if t.internal {
		return t, nil
	}
	return t, t.mailFrom(o, h[:at+1], mboxSender)
}

// border returns the field that the MTA at the border wrote.
func (o Origin) border(h message.Header, trusted func(netip.Addr) bool) (at int, border Received, err error) {
	at, seen := -1, 0
	for i, f := range h {
		if !f.Is("Received") {
			continue
		}
		seen++
		if o.Received > 0 && seen < o.Received {
			continue
		}
		r, err := ParseReceived(f.Value)
		switch {
		case o.Received > 0 && err != nil:
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		case o.Received > 0:
			return i, r, nil
		case err != nil && o.namesTrusted(f.Value):
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		case err != nil || !slices.Contains(o.TrustedHosts, r.By):
			// Nothing from here on is known to be true.
			return o.last(at, border)
		}
		// A message moves within a host without an address, by LMTP say.
		if r.Address.IsValid() || at < 0 || !border.Address.IsValid() {
			at, border = i, r
		}
		if r.Address.IsValid() && !trusted(r.Address) {
			return at, border, nil
		}
	}
	if o.Received > 0 {
		return 0, border, fmt.Errorf("%d received fields, number %d is wanted", seen, o.Received)
	}
	return o.last(at, border)
}

// namesTrusted reports whether a field that cannot be read might be by a
// trusted host.
func (o Origin) namesTrusted(value string) bool {
	value = strings.ToLower(value)
	return slices.ContainsFunc(o.TrustedHosts, func(n dns.Name) bool { return strings.Contains(value, string(n)) })
}

func (o Origin) last(at int, border Received) (int, Received, error) {
	if at < 0 {
		return 0, border, errors.New("the topmost received field is not by a trusted host")
	}
	return at, border, nil
}

// mailFrom finds the envelope sender in what the own hosts put on top.
func (t *transaction) mailFrom(o Origin, top message.Header, mboxSender string) error {
	switch {
	case o.MailFrom != nil:
		t.envelope.MailFrom = "<" + *o.MailFrom + ">"
		return nil
	case t.fromTop(top):
		return nil
	case mboxSender == "MAILER-DAEMON":
		t.envelope.MailFrom = "<>"
		return nil
	case mboxSender != "" && mboxSender != "-": // a mail reader's copy has "-"
		t.envelope.MailFrom = "<" + mboxSender + ">"
		return nil
	}
	return errors.New("the envelope sender is not known: no Return-Path, envelope-from or mbox separator; give --from")
}

func (t *transaction) fromTop(top message.Header) bool {
	for _, f := range top {
		if f.Is("Return-Path") {
			t.envelope.MailFrom = "<" + unbracket(message.Unfold(f.Value)) + ">"
			return true
		}
	}
	for _, f := range slices.Backward(top) { // the border's own, if it has one
		if !f.Is("Received") {
			continue
		}
		if r, err := ParseReceived(f.Value); err == nil && r.HasEnvelopeFrom {
			t.envelope.MailFrom = "<" + strings.TrimSpace(r.EnvelopeFrom) + ">"
			return true
		}
	}
	return false
}
