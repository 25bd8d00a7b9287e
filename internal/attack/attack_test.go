// Package attack tries the tricks of senders of forged mail on the whole daemon. A milter client
// plays Postfix on one side of the daemon; a name server with the attacker's answers is on the
// other side. Most tests send every message to two daemons: one in enforce mode and one in monitor
// mode, which only labels. The functions in check_test.go check the same invariants for every
// message.
package attack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// authServID is the authserv-id of both daemons.
const authServID = "mx.here.example"

// attackerIP is the address of the attacker's client. SPF permits it only for attacker.example and
// its mail host.
const attackerIP = "192.0.2.66"

// baseZone has the two parties of most cases. Mail of attacker.example authenticates and aligns.
// bank.example is the domain that the attacker wants to impersonate.
const baseZone = `
attacker.example          TXT "v=spf1 ip4:192.0.2.66 -all"
mail.attacker.example     A   192.0.2.66
mail.attacker.example     TXT "v=spf1 a -all"
66.2.0.192.in-addr.arpa   PTR mail.attacker.example
_dmarc.attacker.example   TXT "v=DMARC1; p=none"
bank.example              TXT "v=spf1 ip4:198.51.100.1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
here.example              A   203.0.113.1
`

// daemons is a pair of daemons, one in enforce mode and one in monitor mode, that use the same
// zone.
type daemons struct {
	*daemon.Pair
	zone *zone.Zone
}

// start starts both daemons with a zone made of baseZone and zoneText. The DNS cache is off, so
// each message asks all its questions. The functions in "change" edit the configuration of both
// daemons.
func start(tb testing.TB, zoneText string, change ...func(*config.Config)) *daemons {
	tb.Helper()
	z := nameserver.Zone(tb, baseZone+zoneText)
	return &daemons{zone: z, Pair: daemon.StartPair(tb, z, authServID, func(cfg *config.Config) {
		if cfg.Mode == policy.Monitor {
			cfg.Headers.MailFrom = "address" // the label then shows the whole address in MAIL FROM
		}
		for _, f := range change {
			f(cfg)
		}
	})}
}

// attempt is one message of an attacker. An empty string stands for a default value, with which the
// message passes as mail of attacker.example.
type attempt struct {
	ip, client, helo string
	mailFrom         string // in angle brackets
	fields           string // header fields, each with CRLF; may include From if from is nil
	from             []string
	body             string
	raw              string // the whole message; if set, fields, from and body are not used
	queries          int    // number of DNS questions that the message may cause, if more than maxQueries
	quietHELO        bool   // the client sends no HELO
}

// maxQueries is the number of DNS questions that one message without signatures may cause: two SPF
// checks of 10 mechanisms each, and the DMARC tree walk. Cases that cause more questions set their
// own limit.
const maxQueries = 60

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (a attempt) message() []byte {
	if a.raw != "" {
		return []byte(a.raw)
	}
	var b strings.Builder
	for _, f := range a.from {
		b.WriteString("From:" + f + "\r\n")
	}
	b.WriteString(a.fields)
	b.WriteString("Subject: s\r\n\r\n" + or(a.body, "body\r\n"))
	return []byte(b.String())
}

// outcome is what the two daemons did with a message.
type outcome struct {
	// verdict is what the daemon in enforce mode did: accept, quarantine, reject or tempfail. reply
	// is the text of its SMTP reply.
	verdict, reply string
	// label is our field as written by the daemon in monitor mode. header is the whole header after
	// the edits of that daemon.
	label   authres.Field
	header  []client.Field
	queries int
	asked   []string // the questions that the daemon in monitor mode asked, sorted
}

// results returns the label's results of a method, separated by commas: "pass" or "pass,fail".
func (o outcome) results(method string) string {
	var out []string
	for _, r := range o.label.Results {
		if r.Method == method {
			out = append(out, r.Value)
		}
	}
	return strings.Join(out, ",")
}

// property returns the first value of a property in the label, for example of "header.from" for the
// method "dmarc".
func (o outcome) property(method, name string) string {
	for _, r := range o.label.Results {
		for _, p := range r.Properties {
			if r.Method == method && string(p.Type)+"."+p.Name == name {
				return p.Value
			}
		}
	}
	return ""
}

// reason returns the reason given with the first result of a method.
func (o outcome) reason(method string) string {
	for _, r := range o.label.Results {
		if r.Method == method {
			return r.Reason
		}
	}
	return ""
}

// String returns the outcome in the form that the test cases use: "reject spf=pass dkim=none
// dmarc=fail from=bank.example".
func (o outcome) String() string {
	s := fmt.Sprintf("%s spf=%s dkim=%s dmarc=%s", o.verdict, o.results("spf"), o.results("dkim"), o.results("dmarc"))
	if from := o.property("dmarc", "header.from"); from != "" {
		s += " from=" + from
	}
	if r := o.reason("dmarc"); r != "" {
		s += " reason=" + r
	}
	return s
}

// send sends the message to both daemons and checks the invariants of both outcomes.
func (d *daemons) send(t *testing.T, a attempt) outcome {
	t.Helper()
	var o outcome
	enforced, _ := d.one(t, d.Enforce, a, &o)
	o.verdict, o.reply = verdict(t, enforced)
	if enforced.Action.Delivers() {
		checkEdits(t, a, enforced)
	} else if len(enforced.Modifications) > 0 {
		t.Errorf("edits of a message that was refused: %+v", enforced.Modifications)
	}
	labelled, sent := d.one(t, d.Monitor, a, &o)
	if !labelled.Action.Delivers() {
		t.Fatalf("monitor mode answered %v at %s", labelled.Action, labelled.Stage)
	}
	o.label = checkEdits(t, a, labelled)
	o.header = client.Apply(sent, labelled.Modifications)
	for _, method := range []string{"spf", "dmarc"} {
		if got := o.results(method); got == "" || strings.Contains(got, ",") {
			t.Errorf("results of %s: %q, want exactly one", method, got)
		}
	}
	if limit := max(a.queries, maxQueries); o.queries > limit {
		t.Errorf("%d questions, at most %d: %q", o.queries, limit, o.asked)
	}
	return o
}

// one sends the message to one daemon. It returns the daemon's answer and the header that was sent.
func (d *daemons) one(t *testing.T, to *daemon.Daemon, a attempt, o *outcome) (client.Result, []client.Field) {
	t.Helper()
	d.zone.ResetQueries()
	udp, tcp := d.DNS.Count()
	peer := mta.Peer{
		Name: or(a.client, "mail.attacker.example"),
		Addr: netip.AddrPortFrom(netip.MustParseAddr(or(a.ip, attackerIP)), 2525),
		HELO: or(a.helo, "mail.attacker.example"),
	}
	if a.quietHELO {
		peer.HELO = ""
	}
	message := a.message()
	env := client.Envelope{From: or(a.mailFrom, "<x@attacker.example>"), To: []string{"<r@here.example>"}, QueueID: "4Q"}
	res, err := to.Send(peer, env, message)
	if err != nil {
		t.Fatal(err)
	}
	u, v := d.DNS.Count()
	o.asked = d.zone.Queries()
	asked := u + v - udp - tcp
	for _, q := range o.asked {
		if q == " NS" { // a probe of a slow server, not caused by the message
			asked--
		}
	}
	o.queries = max(o.queries, asked)
	slices.Sort(o.asked)
	header, _ := client.Split(message)
	return res, header
}

// expect sends the message and checks the outcome in the form of outcome.String. The text of the
// outcome must be the argument "want", or begin with it and a space.
func (d *daemons) expect(t *testing.T, a attempt, want string) outcome {
	t.Helper()
	o := d.send(t, a)
	if got := o.String(); got != want && !strings.HasPrefix(got, want+" ") {
		t.Errorf("got  %s\nwant %s\nreply %q, asked %q", got, want, o.reply, o.asked)
	}
	return o
}
