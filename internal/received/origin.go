package received

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

// Transaction is what the MTA knew of a message.
type Transaction struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header // as the client sent it
	Time     time.Time      // of receipt; zero if it is not known
	By       dns.Name       // the host that received it; "" if it is not known
	// Internal: the message never came from outside.
	Internal bool
}

// TimeOf returns the field that says when a message was received from client:
// the topmost that names it, else the topmost with a date. ok is false where
// there is none, as in a message that was stored before its MTA wrote one.
func TimeOf(h message.Header, client netip.Addr) (f Field, ok bool) {
	for value := range h.All("Received") {
		r, err := Parse(value)
		if err != nil || r.Date.IsZero() {
			continue
		}
		if r.Address == client {
			return r, true
		}
		if !ok {
			f, ok = r, true
		}
	}
	return f, ok
}

// deliveryFields are put on top by the own hosts on delivery; where no Received
// field says how far these go, only such fields are taken off.
var deliveryFields = []string{"Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "Delivery-date", "X-Envelope-From", "X-Envelope-To"}

// Find separates what the client sent from what the own hosts put on top of it.
func (o Origin) Find(h message.Header, mboxSender string, trusted func(netip.Addr) bool) (Transaction, error) {
	if o.Client.IsValid() {
		n := 0
		for n < len(h) && slices.ContainsFunc(deliveryFields, h[n].Is) {
			n++
		}
		t := Transaction{Session: msgauth.Session{Client: o.Client.Unmap(), HELO: o.HELO}, Header: h[n:]}
		return t, t.mailFrom(o, h[:n], mboxSender)
	}
	at, r, err := o.border(h, trusted)
	if err != nil {
		return Transaction{}, err
	}
	t := Transaction{
		Session:  msgauth.Session{Client: r.Address, ClientName: r.Name, HELO: r.HELO},
		Envelope: msgauth.Envelope{QueueID: r.ID},
		Header:   h[at+1:], Time: r.Date, By: r.By, Internal: !r.Address.IsValid(),
	}
	if r.Authenticated() {
		t.Session.Authenticated = "unknown" // a Received field does not say who
	}
	if r.For != "" {
		t.Envelope.Recipients = []string{"<" + r.For + ">"}
	}
	if t.Internal {
		return t, nil
	}
	return t, t.mailFrom(o, h[:at+1], mboxSender)
}

// border returns the field that the MTA at the border wrote.
func (o Origin) border(h message.Header, trusted func(netip.Addr) bool) (at int, border Field, err error) {
	if o.Received > 0 {
		return o.numbered(h)
	}
	at, seen := -1, 0
	for i, f := range h {
		if !f.Is("Received") {
			continue
		}
		seen++
		if invoked(f.Value) {
			if at < 0 && strings.Contains(f.Value, " invoked by ") && !slices.ContainsFunc(h[i+1:], func(f message.Field) bool { return f.Is("Received") && !invoked(f.Value) }) {
				return i, Field{}, nil // handed over on the host: qmail wrote nothing else
			}
			continue
		}
		r, err := Parse(f.Value)
		switch {
		case err != nil && o.namesTrusted(f.Value):
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		case err == nil && slices.Contains(o.TrustedHosts, r.By) && !r.Address.IsValid() && !r.within():
			return 0, r, fmt.Errorf("%w (number %d)", errUnreadable, seen)
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
	return o.last(at, border)
}

// numbered returns the field that the operator counted.
func (o Origin) numbered(h message.Header) (at int, border Field, err error) {
	seen := 0
	for i, f := range h {
		if !f.Is("Received") {
			continue
		}
		if seen++; seen < o.Received {
			continue
		}
		r, err := Parse(f.Value)
		if err == nil && !r.Address.IsValid() && !r.within() {
			err = errUnreadable
		}
		if err != nil {
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		}
		return i, r, nil
	}
	return 0, border, fmt.Errorf("%d received fields, number %d is wanted", seen, o.Received)
}

// invoked reports qmail's note that one of its programs was started, such as
// "(qmail 1234 invoked from network)". It names neither host nor client; those
// of a message from the network stand in a field of their own below it.
func invoked(value string) bool {
	text := strings.TrimSpace(message.Unfold(value))
	return strings.HasPrefix(text, "(qmail ") && strings.Contains(text, " invoked ")
}

// namesTrusted reports whether a field that cannot be read might be by a
// trusted host.
func (o Origin) namesTrusted(value string) bool {
	value = strings.ToLower(value)
	return slices.ContainsFunc(o.TrustedHosts, func(n dns.Name) bool { return strings.Contains(value, string(n)) })
}

func (o Origin) last(at int, border Field) (int, Field, error) {
	if at < 0 {
		return 0, border, errors.New("the topmost received field is not by a trusted host")
	}
	return at, border, nil
}

// mailFrom finds the envelope sender in what the own hosts put on top.
func (t *Transaction) mailFrom(o Origin, top message.Header, mboxSender string) error {
	switch {
	case o.MailFrom != nil:
		t.Envelope.MailFrom = "<" + *o.MailFrom + ">"
		return nil
	case t.fromTop(top):
		return nil
	case mboxSender == "MAILER-DAEMON":
		t.Envelope.MailFrom = "<>"
		return nil
	case mboxSender != "" && mboxSender != "-": // a mail reader's copy has "-"
		t.Envelope.MailFrom = "<" + mboxSender + ">"
		return nil
	}
	return errors.New("the envelope sender is not known: no Return-Path, envelope-from or mbox separator; give --from")
}

func (t *Transaction) fromTop(top message.Header) bool {
	for _, f := range top {
		if f.Is("Return-Path") {
			t.Envelope.MailFrom = "<" + unbracket(message.Unfold(f.Value)) + ">"
			return true
		}
	}
	for _, f := range slices.Backward(top) { // the border's own, if it has one
		if !f.Is("Received") {
			continue
		}
		if r, err := Parse(f.Value); err == nil && r.HasEnvelopeFrom {
			t.Envelope.MailFrom = "<" + strings.TrimSpace(r.EnvelopeFrom) + ">"
			return true
		}
	}
	return false
}
