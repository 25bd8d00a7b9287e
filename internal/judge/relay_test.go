package judge

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// relayAt is the address of the relay in these tests. It writes mx2.here.example after "by".
const relayAt = "198.51.100.25"

// withRelays sets three relays: one with a name, one in a private network without a name, and one
// that is also in a trusted network.
func withRelays(j *Judge) {
	j.Relays = []Relay{
		{Network: netip.MustParsePrefix("198.51.100.24/31"), By: []policy.Pattern{"mx2.here.example", ".filter.example"}},
		{Network: netip.MustParsePrefix("10.9.0.0/16")},
		{Network: netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// by returns the Received field of the relay for a client, in the form of Postfix.
func by(client, host string) string {
	return fmt.Sprintf("Received: from mail.bank.example (mail.bank.example [%s])\n\tby %s (Postfix) with ESMTPS id X\n", client, host)
}

const good = "192.0.2.1" // the client that the SPF record of bank.example permits

// TestRelay checks for which client a message of a relay is judged. None of the fields below the
// topmost one may be believed.
func TestRelay(t *testing.T) {
	const mx2 = "mx2.here.example"
	bank := strings.TrimPrefix(by(good, mx2), "Received: ")
	for _, tt := range []struct {
		name   string
		relay  string // "" means relayAt
		login  string
		header string
		line   msgauth.RelayLine
		client string // the client of the Evaluation; "" if it is unknown
		want   string
	}{
		{name: "the client is permitted", header: by(good, mx2), line: "read", client: good, want: "accept dmarc_pass"},
		{name: "the client is a spoofer", header: by("203.0.113.66", mx2), line: "read", client: "203.0.113.66", want: "reject dmarc_reject"},
		{name: "another name of the relay", header: by(good, "a.filter.example"), line: "read", client: good, want: "accept dmarc_pass"},
		{name: "IPv6", header: by("IPv6:2001:db8::66", mx2), line: "read", client: "2001:db8::66", want: "reject dmarc_reject"},
		{name: "no name is asked for", relay: "10.9.0.1", header: by(good, "any.example"), line: "read", client: good, want: "accept dmarc_pass"},
		{name: "a relay mapped into IPv6", relay: "::ffff:" + relayAt, header: by(good, mx2), line: "read", client: good, want: "accept dmarc_pass"},
		{name: "fields of a filter above", header: "X-Spam: no\n" + by(good, mx2), line: "read", client: good, want: "accept dmarc_pass"},

		{name: "a forged field below", header: by("203.0.113.66", mx2) + by(good, mx2), line: "read", client: "203.0.113.66", want: "reject dmarc_reject"},
		{name: "a field of another host on top", header: by(good, "evil.example") + by(good, mx2), line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "a name that ends as the relay's", header: by(good, "x"+mx2) + by(good, mx2), line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "an unreadable field on top", header: "Received: from x ? by " + mx2 + "\n" + by(good, mx2), line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "no field", line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "a field with another name", header: "X-Received: " + bank, line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "mail of the relay itself", header: "Received: by " + mx2 + " (Postfix) id X\n" + by(good, mx2), line: "unreadable", want: "quarantine dmarc_indirect"},
		{name: "an address in HELO", header: "Received: from [" + good + "] (helo=[" + good + "]) by " + mx2 + " with esmtp\n", line: "read", client: good,
			want: "accept dmarc_pass"},
		{name: "another address in HELO", header: "Received: from [203.0.113.66] (helo=[" + good + "]) by " + mx2 + " with esmtp\n", line: "read",
			client: "203.0.113.66", want: "reject dmarc_reject"},

		{name: "a private client", header: by("172.17.0.1", mx2) + by(good, mx2), line: "private", want: "quarantine dmarc_indirect"},
		{name: "a hop within the relay", header: by("127.0.0.1", mx2) + by(good, mx2), line: "private", want: "quarantine dmarc_indirect"},
		{name: "a client in a trusted network", header: by("203.0.113.200", mx2), line: "private", want: "quarantine dmarc_indirect"},
		{name: "another relay", header: by("198.51.100.24", mx2) + by(good, mx2), line: "private", want: "quarantine dmarc_indirect"},
		{name: "the MTA's own field about the relay", header: by(relayAt, mx2) + by(good, mx2), line: "private", want: "quarantine dmarc_indirect"},

		{name: "a login of the relay", login: "mx2", header: by("203.0.113.66", mx2), line: "read", client: "203.0.113.66", want: "reject dmarc_reject"},
		{name: "a login at the relay", header: strings.ReplaceAll(by("203.0.113.66", mx2), "ESMTPS", "ESMTPSA"), line: "read", client: "203.0.113.66",
			want: "reject dmarc_reject"},
		{name: "a trusted relay", relay: "127.0.0.1", header: by("203.0.113.66", mx2), client: "127.0.0.1", want: "skip trusted_network"},
		{name: "no relay", relay: "203.0.113.1", header: by(good, mx2), client: "203.0.113.1", want: "reject dmarc_reject"},
		{name: "a neighbour of the relay", relay: "198.51.100.26", header: by(good, mx2), client: "198.51.100.26", want: "reject dmarc_reject"},
		{name: "over a limit", header: by(good, mx2) + strings.Repeat("X: y\n", 20), line: "unreadable", want: "reject oversize"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.relay == "" {
				tt.relay = relayAt
			}
			r := row{client: tt.relay, login: tt.login, header: tt.header, change: func(j *Judge) {
				withRelays(j)
				trusted := j.Trusted
				j.Trusted = func(a netip.Addr) bool { return trusted(a) || a == netip.MustParseAddr("203.0.113.200") }
			}}
			c := r.judge(t).Open(t.Context(), r.message())
			c.Write([]byte("x\r\n"))
			d := c.Finish(t.Context())
			if got := fmt.Sprintf("%s %s", d.Verdict.Action, d.Verdict.Reason); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			s := d.Session
			if s.RelayLine != tt.line || s.Relay.IsValid() != (tt.line != "") || s.Relay.IsValid() && s.Relay != netip.MustParseAddr(tt.relay).Unmap() {
				t.Errorf("relay %s, line %q, want %q", s.Relay, s.RelayLine, tt.line)
			}
			if client, _ := netip.ParseAddr(tt.client); s.Client != client {
				t.Errorf("client %s, want %s", s.Client, client)
			}
			if e := d.Evaluation; e != nil && tt.client == "" && (e.MailFrom.Result != "none" || e.HELO.Result != "none" || e.IPRev.Status != "permerror" || s.HELO != "") {
				t.Errorf("SPF %s and %s, iprev %s, HELO %q", e.MailFrom.Result, e.HELO.Result, e.IPRev.Status, s.HELO)
			}
		})
	}
}

// TestRelayNullSender checks that the null sender is judged by the HELO name that the relay wrote
// down, not by the relay's own.
func TestRelayNullSender(t *testing.T) {
	for helo, want := range map[string]string{"bank.example": "pass", "h.example": "none"} {
		r := row{client: relayAt, change: withRelays, header: strings.Replace(by(good, "mx2.here.example"), "mail.bank.example", helo, 1)}
		m := r.message()
		m.Session.HELO, m.Envelope.MailFrom = "bank.example", "<>"
		d := r.judge(t).Open(t.Context(), m).Finish(t.Context())
		if e := d.Evaluation; string(e.MailFrom.Result) != want || string(e.HELO.Result) != want || !e.MailFrom.NullSender || d.Session.HELO != helo {
			t.Errorf("HELO %s: SPF %s and %s, HELO %s", helo, e.MailFrom.Result, e.HELO.Result, d.Session.HELO)
		}
	}
}

// TestRelayConnection sends several messages on one connection of a relay. Each has its own client,
// and nothing of one message may remain for the next.
func TestRelayConnection(t *testing.T) {
	r := row{client: relayAt, change: func(j *Judge) { withRelays(j); consent(j) }}
	m := r.message()
	connection := r.judge(t).Connect(t.Context(), m.Session)
	defer connection.Close()
	connection.Helo("mx2.here.example")
	if !connection.Relayed() {
		t.Error("the connection does not come from a relay")
	}
	for _, tt := range []struct{ client, want string }{{good, "accept"}, {"203.0.113.66", "reject"}, {"", "quarantine"}, {good, "accept"}} {
		c := connection.Begin(m.Session, m.Envelope)
		if !c.AsksRecipients() || !c.Recipient("<bob@here.example>", "", false) {
			t.Error("the recipient's consent is not asked for")
		}
		if tt.client != "" {
			name, value, _ := strings.Cut(by(tt.client, "mx2.here.example"), ":")
			c.Header(name, value)
		}
		c.Header("From", " a@bank.example")
		c.EndOfHeader()
		c.Write([]byte("x\r\n"))
		d := c.Finish(t.Context())
		c.Close()
		if string(d.Verdict.Action) != tt.want || d.Verdict.Consent.In != 1 {
			t.Errorf("client %q: %s, want %s, consent %+v", tt.client, d.Verdict.Action, tt.want, d.Verdict.Consent)
		}
	}
	c := connection.Begin(m.Session, m.Envelope) // the MTA shows neither header nor body
	defer c.Close()
	if d := c.Finish(t.Context()); d.Evaluation == nil || d.Verdict.Reason != policy.ReasonInvalidFrom || d.Session.RelayLine != msgauth.RelayUnreadable {
		t.Errorf("without a header: %+v", d.Verdict)
	}
}

// TestRelayLimit checks that a message over a limit is not evaluated in monitor mode either.
func TestRelayLimit(t *testing.T) {
	r := row{client: relayAt, change: func(j *Judge) { withRelays(j); consent(j); j.Policy.Mode = policy.Monitor }}
	m := r.message()
	connection := r.judge(t).Connect(t.Context(), m.Session)
	defer connection.Close()
	c := connection.Begin(m.Session, m.Envelope)
	defer c.Close()
	if goesOn := c.Oversize("header_fields"); !goesOn {
		t.Error("monitor mode does not go on")
	}
	c.EndOfHeader()
	if c.evaluates() || c.AsksRecipients() {
		t.Error("the message is evaluated")
	}
	if d := c.Finish(t.Context()); d.Oversize == "" || d.Session.Client.IsValid() || d.Session.Relay != m.Session.Client {
		t.Errorf("%+v", d.Session)
	}
}

// TestConsentOfSkipped checks that nobody is asked for the recipients of a message that is not
// evaluated.
func TestConsentOfSkipped(t *testing.T) {
	for _, r := range []row{{client: "127.0.0.1"}, {login: "ann"}} {
		r.change = consent
		m := r.message()
		connection := r.judge(t).Connect(t.Context(), m.Session)
		if c := connection.Begin(m.Session, m.Envelope); c.AsksRecipients() {
			t.Errorf("%+v: the directory is asked", m.Session)
		}
		connection.Close()
	}
}

// silent is a resolver that answers only when the context of the question ends.
type silent struct {
	dns.LookupOnly
	asked, ended atomic.Int64
}

func (s *silent) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	s.asked.Add(1)
	defer s.ended.Add(1)
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ}
}

// TestRelayClose checks that Close ends the lookups about the client of a message, before and after
// the client is known.
func TestRelayClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := row{client: relayAt, change: withRelays}
		j, m := r.judge(t), r.message()
		asked := &silent{}
		j.Verifier = msgauth.NewVerifier(asked, msgauth.Options{})
		connection := j.Connect(t.Context(), m.Session)
		early := connection.Begin(m.Session, m.Envelope)
		early.Close()
		c := connection.Begin(m.Session, m.Envelope)
		c.Header("Received", strings.TrimPrefix(by(good, "mx2.here.example"), "Received:"))
		c.EndOfHeader()
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if a, e := asked.asked.Load(), asked.ended.Load(); a < 3 || a != e { // SPF of HELO and MAIL, and iprev
			t.Errorf("%d of %d lookups ended", e, a)
		}
		connection.Close()
	})
}
