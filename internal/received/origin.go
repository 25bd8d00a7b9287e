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

// Origin says how to find the client from which a stored message came. Exactly one of Client,
// Received and TrustedHosts is set.
type Origin struct {
	Client netip.Addr // every message came from this client
	// Received is the number of the Received field that the MTA of the daemon wrote, counted from
	// the top.
	Received int
	// TrustedHosts are the site's own hosts. Find reads the Received fields from the top, as long
	// as these hosts wrote them. Anybody may have written the fields below. The host at the border
	// is the host that wrote the first field whose client is not in a trusted network. If there is
	// no such field, it is the host that wrote the last field with a client address, or else the
	// last field.
	TrustedHosts []dns.Name
	// HELO is the HELO name of every message. It is used only if Client is set. MailFrom is the
	// envelope sender of every message. If it is nil, the sender is taken from Return-Path, from a
	// Received field, or from the mbox separator.
	HELO     string
	MailFrom *string
}

// Transaction is what the MTA at the border knew about a message.
type Transaction struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header // the header as the client sent it
	Time     time.Time      // when the MTA received the message; zero if it is not known
	By       dns.Name       // the host that received the message; "" if it is not known
	// Internal says that the message did not come from outside: the field of the host at the border
	// names no client address.
	Internal bool
}

// TimeOf returns the field that says when a message was received from client. It is the topmost
// field with a date that names the client. If there is none, it is the topmost field with a date.
// ok is false if no field has a date, for example because the message was stored before its MTA
// wrote a field.
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

// deliveryFields are fields that the site's own hosts put on top of a message when they deliver it.
// If Origin.Client is set, Find removes only these fields.
var deliveryFields = []string{
	"Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "Delivery-date", "X-Envelope-From", "X-Envelope-To",
}

// Find returns what is known about the message with the header h. The Transaction has the header as
// the client sent it. The client and the envelope are from the fields that the site's own hosts put
// on top of h. mboxSender is the sender in the separator of an mbox, or "" if there is none.
// trusted reports whether an address is in a trusted network.
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
		t.Session.Authenticated = "unknown" // a Received field does not have the name of the user
	}
	if r.For != "" {
		t.Envelope.Recipients = []string{"<" + r.For + ">"}
	}
	if t.Internal {
		return t, nil
	}
	return t, t.mailFrom(o, h[:at+1], mboxSender)
}

// border returns the Received field of the host at the border (see TrustedHosts), and its index.
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
				return i, Field{}, nil // qmail writes only this note if a message is submitted on the host
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
			// No trusted host wrote this field, so the fields of the trusted hosts end here.
			return lastTrusted(at, border)
		}
		// A field without an address, such as a field that an LMTP server wrote, does not replace a
		// field with an address.
		if r.Address.IsValid() || at < 0 || !border.Address.IsValid() {
			at, border = i, r
		}
		if r.Address.IsValid() && !trusted(r.Address) {
			return at, border, nil
		}
	}
	return lastTrusted(at, border)
}

// numbered returns the Received field with the number o.Received, and its index.
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

// ofHost reports whether f is a Received field of a host, and not a note of qmail.
func ofHost(f message.Field) bool { return f.Is("Received") && !invoked(f.Value) }

// invoked reports whether value is a note that one of qmail's programs was started, such as "(qmail
// 1234 invoked from network)". The note names neither host nor client. If the message came from the
// network, another field below the note names them.
func invoked(value string) bool {
	text := strings.TrimSpace(message.Unfold(value))
	return strings.HasPrefix(text, "(qmail ") && strings.Contains(text, " invoked ")
}

// namesTrusted reports whether the name of a trusted host is in the text of a field that cannot be
// parsed. If so, a trusted host may have written the field.
func (o Origin) namesTrusted(value string) bool {
	value = strings.ToLower(value)
	return slices.ContainsFunc(o.TrustedHosts, func(n dns.Name) bool { return strings.Contains(value, string(n)) })
}

// lastTrusted returns its arguments: border is the last field of a trusted host, and at is the
// index of that field. It returns an error if there was no such field (at is -1).
func lastTrusted(at int, border Field) (int, Field, error) {
	if at < 0 {
		return 0, border, errors.New("the topmost received field is not by a trusted host; name the host that it has after \"by\"")
	}
	return at, border, nil
}

// mailFrom sets the envelope sender. It takes o.MailFrom if there is one. Otherwise it takes the
// sender in top, the fields that the site's own hosts put on top, and finally mboxSender.
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
	case mboxSender != "" && mboxSender != "-": // a mail reader that copies a message writes "-"
		t.Envelope.MailFrom = "<" + mboxSender + ">"
		return nil
	}
	return errors.New("the envelope sender is not known: no Return-Path, envelope-from or mbox separator; give --from")
}

// fromTop sets the envelope sender from a Return-Path or Received field in top. It reports whether
// there is one.
func (t *Transaction) fromTop(top message.Header) bool {
	for _, f := range top {
		if f.Is("Return-Path") {
			t.Envelope.MailFrom = "<" + unbracket(message.Unfold(f.Value)) + ">"
			return true
		}
	}
	for _, f := range slices.Backward(top) { // begin with the last field, which the host at the border wrote
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
