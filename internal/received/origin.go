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

// Origin says how to find the client from which a stored message came. Exactly one of
// Client, Received and TrustedHosts is set.
type Origin struct {
	Client netip.Addr // the client of every message
	// Received counts the Received fields from the top. That one is of the MTA that the
	// daemon serves.
	Received int
	// TrustedHosts are one's own hosts. The fields at the top of a message are theirs. The
	// first of these fields whose client is not in a trusted network is the one at the
	// border, or the last of them if there is no such client. Anybody may have written the
	// fields below it.
	TrustedHosts []dns.Name
	// HELO and MailFrom are those of every message, if Client is set. Without MailFrom,
	// the sender in Return-Path or in the mbox counts.
	HELO     string
	MailFrom *string
}

// Transaction is what the MTA knew of a message.
type Transaction struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header // as the client sent it
	Time     time.Time      // when the host received the message; zero if it is not known
	By       dns.Name       // the host that received it; "" if it is not known
	// Internal says that the message did not come from outside.
	Internal bool
}

// TimeOf returns the field that says when a message was received from client: the topmost
// field that names the client, or else the topmost field with a date. ok is false if there
// is no such field, as in a message that was stored before its MTA wrote one.
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

// deliveryFields are the fields that one's own hosts put on top on delivery. Find removes
// only these if no Received field marks the border.
var deliveryFields = []string{
	"Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "Delivery-date", "X-Envelope-From", "X-Envelope-To",
}

// Find returns what is known of the message h: the header as the client sent it, and the
// client and envelope from the fields that one's own hosts put on top. mboxSender is the
// sender in the separator of an mbox, "" if there is none. trusted reports whether an
// address is in a trusted network.
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
		t.Session.Authenticated = "unknown" // a Received field does not name the user
	}
	if r.For != "" {
		t.Envelope.Recipients = []string{"<" + r.For + ">"}
	}
	if t.Internal {
		return t, nil
	}
	return t, t.mailFrom(o, h[:at+1], mboxSender)
}

// border returns the field of the MTA at the border, and its index.
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
			if at < 0 && strings.Contains(f.Value, " invoked by ") && !slices.ContainsFunc(h[i+1:], ofHost) {
				return i, Field{}, nil // submitted on the host: qmail writes no other field then
			}
			continue
		}
		r, err := Parse(f.Value)
		switch {
		case err != nil && o.namesTrusted(f.Value):
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		case err == nil && slices.Contains(o.TrustedHosts, r.By) && !r.Address.IsValid() && !r.movedWithinHost():
			return 0, r, fmt.Errorf("%w (number %d)", errUnreadable, seen)
		case err != nil || !slices.Contains(o.TrustedHosts, r.By):
			// Anybody may have written this field and those below it.
			return lastTrusted(at, border)
		}
		// A field without an address, such as that of a move by LMTP, replaces only one
		// that has no address either.
		if r.Address.IsValid() || at < 0 || !border.Address.IsValid() {
			at, border = i, r
		}
		if r.Address.IsValid() && !trusted(r.Address) {
			return at, border, nil
		}
	}
	return lastTrusted(at, border)
}

// numbered returns the field that o.Received counts.
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
		if err == nil && !r.Address.IsValid() && !r.movedWithinHost() {
			err = errUnreadable
		}
		if err != nil {
			return 0, r, fmt.Errorf("%w (number %d)", err, seen)
		}
		return i, r, nil
	}
	return 0, border, fmt.Errorf("the message has %d received fields, and number %d was asked for", seen, o.Received)
}

// ofHost reports whether f is a Received field that a host wrote for a message, and not a
// note of qmail.
func ofHost(f message.Field) bool { return f.Is("Received") && !invoked(f.Value) }

// invoked reports whether value is a note of qmail that one of its programs was started, such
// as "(qmail 1234 invoked from network)". The note names neither host nor client. For a
// message from the network, another field below it names them.
func invoked(value string) bool {
	text := strings.TrimSpace(message.Unfold(value))
	return strings.HasPrefix(text, "(qmail ") && strings.Contains(text, " invoked ")
}

// namesTrusted reports whether a trusted host may have written a field that cannot be read.
func (o Origin) namesTrusted(value string) bool {
	value = strings.ToLower(value)
	return slices.ContainsFunc(o.TrustedHosts, func(n dns.Name) bool { return strings.Contains(value, string(n)) })
}

// lastTrusted returns the last field of a trusted host that border has seen. at is -1 if
// there is none.
func lastTrusted(at int, border Field) (int, Field, error) {
	if at < 0 {
		return 0, border, errors.New("the topmost received field is not by a trusted host")
	}
	return at, border, nil
}

// mailFrom finds the envelope sender in top, the fields that one's own hosts put on top, or
// takes that of the mbox.
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
	case mboxSender != "" && mboxSender != "-": // the copy of a mail reader has "-"
		t.Envelope.MailFrom = "<" + mboxSender + ">"
		return nil
	}
	return errors.New("the envelope sender is not known: no Return-Path, envelope-from or mbox separator; give --from")
}

// fromTop takes the envelope sender from Return-Path or a Received field. It reports whether
// there is one.
func (t *Transaction) fromTop(top message.Header) bool {
	for _, f := range top {
		if f.Is("Return-Path") {
			t.Envelope.MailFrom = "<" + unbracket(message.Unfold(f.Value)) + ">"
			return true
		}
	}
	for _, f := range slices.Backward(top) { // the field of the border comes last, and counts first
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
