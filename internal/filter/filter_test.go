package filter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/blind"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

const id = "mx.example.jp"

const zoneText = `
bank.example              TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
_dmarc.shop.example       TXT "v=DMARC1; p=quarantine"
_dmarc.hobby.example      TXT "v=DMARC1; p=none"
helo.bank.example         TXT "v=spf1 ip4:192.0.2.0/24 -all"
six.example               TXT "v=spf1 ip6:2001:db8::/32 -all"
_dmarc.six.example        TXT "v=DMARC1; p=reject"
! silent.example * timeout
! _dmarc.silent.example * timeout
! _dmarc.silent.bank.example * timeout
`

// recorder keeps what observers are told.
type recorder struct {
	mu       sync.Mutex
	verdicts []policy.Verdict
	skipped  []policy.Verdict
	queueIDs []string // of all
}

func (r *recorder) Evaluated(e *msgauth.Evaluation, v policy.Verdict, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verdicts = append(r.verdicts, v)
	r.queueIDs = append(r.queueIDs, e.Envelope.QueueID)
}

func (r *recorder) NotEvaluated(_ msgauth.Session, e msgauth.Envelope, v policy.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped = append(r.skipped, v)
	r.queueIDs = append(r.queueIDs, e.QueueID)
}

// serve runs the filter behind a real milter server.
func serve(t *testing.T, r dns.Resolver, j judge.Judge, limits milter.Limits) (addr string, seen *recorder) {
	t.Helper()
	return serveBlind(t, r, j, limits, nil)
}

// serveBlind is serve with somebody who is told what cannot be seen.
func serveBlind(t *testing.T, r dns.Resolver, j judge.Judge, limits milter.Limits, watch *blind.Watch) (addr string, seen *recorder) {
	t.Helper()
	seen = &recorder{}
	j.Verifier = msgauth.NewVerifier(r, msgauth.Options{Budget: 2 * time.Second})
	if j.Label.HostName == "" {
		j.Label.AuthServID = id
	}
	o := Options{Judge: &j, Blind: watch, Observers: []Observer{seen}}
	s := milter.New(milter.Options{NewSession: New(o).NewSession, Limits: limits, ReplyAt: New(o).ReplyAt()})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, milter.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String(), seen
}

// mtaSession is one SMTP session as the MTA shows it.
type mtaSession struct {
	t *testing.T
	c *client.Client
}

func open(t *testing.T, addr, ip, helo string, offer client.Offer) mtaSession {
	t.Helper()
	c, err := client.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Negotiate(offer); err != nil {
		t.Fatal(err)
	}
	peer := netip.AddrPort{}
	if ip != "" {
		peer = netip.AddrPortFrom(netip.MustParseAddr(ip), 40000)
	}
	if _, err := c.Connect("client.example", peer); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Helo(helo); err != nil {
		t.Fatal(err)
	}
	return mtaSession{t, c}
}

// send returns the answer and the header as the reader would get it.
func (s mtaSession) send(from, raw string, args ...string) (client.Result, message.Header) {
	s.t.Helper()
	return s.sendTo(client.Envelope{From: from, FromArgs: args, To: []string{"<to@here.example>"}, QueueID: "4Q"}, raw)
}

func (s mtaSession) sendTo(env client.Envelope, raw string) (client.Result, message.Header) {
	s.t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	res, err := s.c.SendMessage(env, []byte(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	fields, _ := client.Split([]byte(raw))
	var h message.Header
	for _, f := range client.Apply(fields, res.Modifications) {
		h = append(h, message.Field(f))
	}
	return res, h
}

func quarantined(res client.Result) bool {
	for _, m := range res.Modifications {
		if m.Kind == client.Quarantine {
			return true
		}
	}
	return false
}

// ours parses the field on top, which must be ours and the only one.
func ours(t *testing.T, h message.Header) string {
	t.Helper()
	if len(h) == 0 || !h[0].Is(authres.FieldName) {
		t.Fatalf("our field is not on top: %q", h)
	}
	for _, v := range h[1:].Values(authres.FieldName) {
		if authres.ClaimsID(v, id) {
			t.Errorf("another field claims our id: %q", v)
		}
	}
	if _, err := authres.Parse(h[0].Value); err != nil {
		t.Errorf("our own field does not parse: %v\n%s", err, h[0].Value)
	}
	return strings.Join(strings.Fields(h[0].Value), " ")
}

const mail = "From: A <a@%s>\nSubject: s\n\nbody\n"

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ip, helo string
		from     string
		raw      string
		o        judge.Judge
		offer    client.Offer
		answer   string // prefix, "" for delivery
		hold     bool
		label    []string
		verdict  policy.Action
	}{
		{name: "aligned SPF", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.mailfrom=bank.example;", "dmarc=pass header.from=bank.example policy.dmarc=reject", "dkim=none", "arc=none", "iprev=permerror policy.iprev=192.0.2.1"}, verdict: policy.Accept},
		{name: "IPv6 client", ip: "2001:db8::1", helo: "h.example", from: "<a@six.example>", raw: fmt.Sprintf(mail, "six.example"),
			label: []string{"dmarc=pass", "policy.iprev=\"2001:db8::1\""}, verdict: policy.Accept},
		{name: "null sender: HELO", ip: "192.0.2.1", helo: "helo.bank.example", from: "<>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.helo=helo.bank.example", "dmarc=pass"}, verdict: policy.Accept},
		{name: "p=reject", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "bank.example"),
			answer: "550 5.7.1 Email rejected per DMARC policy for bank.example (", verdict: policy.Reject},
		{name: "p=reject in monitor mode", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "bank.example"), o: judge.Judge{Policy: policy.Config{Mode: policy.Monitor}},
			label: []string{"dmarc=fail (monitor, would reject: dmarc_reject) header.from=bank.example"}, verdict: policy.Reject},
		{name: "p=quarantine", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"),
			hold: true, label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "p=quarantine by header", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"), o: judge.Judge{Policy: policy.Config{Quarantine: policy.QuarantineTag}},
			label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "p=quarantine where the MTA has no quarantine", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"),
			offer: client.Offer{Version: 6, Actions: 0x1ff &^ 0x20, Protocol: 0x1fffff},
			label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "an MTA that lets nothing be edited", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "hobby.example"),
			offer: client.Offer{Version: 6, Actions: 0, Protocol: 0x1fffff}, answer: "451 4.3.0 ", verdict: policy.TempFail},
		{name: "p=none", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "hobby.example"),
			label: []string{"dmarc=fail (tag: dmarc_policy_none)"}, verdict: policy.Tag},
		{name: "no record", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "nobody.example"),
			label: []string{"dmarc=none (tag: no_policy) header.from=nobody.example"}, verdict: policy.Tag},
		{name: "silent DNS", ip: "203.0.113.1", helo: "h.example", from: "<x@silent.example>", raw: fmt.Sprintf(mail, "silent.example"),
			label: []string{"spf=temperror", "dmarc=temperror (tag: temperror, not decided: policy timeout) header.from=silent.example"}, verdict: policy.Tag},
		{name: "silent DNS below a known policy", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "silent.bank.example"),
			answer: "451 4.7.5 ", verdict: policy.TempFail},
		{name: "silent DNS below a known policy, accepted", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "silent.bank.example"), o: judge.Judge{Policy: policy.Config{TempError: policy.Accept}},
			label: []string{"dmarc=temperror (tag: temperror, not decided: policy timeout) header.from=silent.bank.example"}, verdict: policy.Tag},
		{name: "silent DNS, tempfail", ip: "203.0.113.1", helo: "h.example", from: "<x@silent.example>", raw: fmt.Sprintf(mail, "silent.example"), o: judge.Judge{Policy: policy.Config{TempErrorUnknown: policy.TempFail}},
			answer: "451 4.7.24 ", verdict: policy.TempFail},
		{name: "client address unknown", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{`spf=none reason="no-address"`, "dmarc=fail", "indirect: client_unknown"}, hold: true, verdict: policy.Quarantine},
		{name: "client behind a NAT of ours", ip: "172.17.0.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{`spf=none reason="private_client" smtp.mailfrom=`, "dmarc=fail", "indirect: client_unknown", "iprev=permerror policy.iprev=172.17.0.1"}, hold: true, verdict: policy.Quarantine},
		{name: "two From fields", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: "From: a@bank.example\n" + fmt.Sprintf(mail, "evil.example"),
			answer: "550 5.7.1 From header", verdict: policy.Reject},
		{name: "no header at all", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: "\nbody\n",
			answer: "550 5.7.1 From header", verdict: policy.Reject},
		{name: "forged results go, others stay", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>",
			raw: "Authentication-Results: MX.example.JP; dmarc=pass\nAuthentication-Results: other.example; spf=pass\nauthentication-RESULTS: (c) mx.EXAMPLE.jp/1 (c)\n ; spf=pass\nAuthentication-Results: mx.example.jp; none\n" +
				fmt.Sprintf(mail, "bank.example"),
			label: []string{"dmarc=pass"}, verdict: policy.Accept},
		{name: "a sender cannot write results", ip: "192.0.2.1", helo: "h.example", from: "<\"x; dkim=pass header.d=bank.example\"@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.mailfrom=bank.example; dkim=none"}, verdict: policy.Accept},
		{name: "the address where it is asked for", ip: "192.0.2.1", helo: "h.example", from: "<a.b+c@bank.example>", raw: fmt.Sprintf(mail, "bank.example"), o: judge.Judge{Label: label.Settings{MailFrom: label.MailFromAddress}},
			label: []string{"spf=pass smtp.mailfrom=a.b+c@bank.example; "}, verdict: policy.Accept},
		{name: "Received-SPF", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"), o: judge.Judge{Label: label.Settings{ReceivedSPF: true}},
			label: []string{"dmarc=pass"}, verdict: policy.Accept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, seen := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			if tt.offer.Version == 0 {
				tt.offer = client.PostfixOffer()
			}
			s := open(t, addr, tt.ip, tt.helo, tt.offer)
			res, h := s.send(tt.from, tt.raw)
			if tt.answer != "" {
				if got := res.Action.String(); !strings.HasPrefix(got, tt.answer) {
					t.Errorf("answer %q, want %q...", got, tt.answer)
				}
			} else {
				if !res.Action.Delivers() {
					t.Fatalf("answer %s", res.Action)
				}
				label := ours(t, h)
				for _, want := range tt.label {
					if !strings.Contains(label, want) {
						t.Errorf("label lacks %q:\n%s", want, label)
					}
				}
			}
			if quarantined(res) != tt.hold {
				t.Errorf("quarantined %t, want %t", quarantined(res), tt.hold)
			}
			if tt.o.Label.ReceivedSPF {
				if v := h.Values(authres.ReceivedSPFName); len(v) != 1 || !strings.Contains(v[0], "client-ip=192.0.2.1") {
					t.Errorf("Received-SPF: %q", v)
				}
			}
			if strings.Contains(tt.raw, "other.example") && len(h.Values(authres.FieldName)) != 2 {
				t.Errorf("the other host's field is gone: %q", h)
			}
			if len(seen.verdicts) != 1 || seen.verdicts[0].Action != tt.verdict {
				t.Errorf("observers were told %+v, want %s", seen.verdicts, tt.verdict)
			}
		})
	}
}

// TestSessionKeepsFacts: the second and third message of a connection are
// judged with the client and HELO of the first, and nothing else of it.
func TestSessionKeepsFacts(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{})
	s := open(t, addr, "192.0.2.1", "helo.bank.example", client.PostfixOffer())
	if res, _ := s.send("<x@evil.example>", fmt.Sprintf(mail, "shop.example")); !quarantined(res) {
		t.Error("first message was not held")
	}
	res, _ := s.send("<x@evil.example>", "From: a@b.example, c@d.example\n\nx\n")
	if res.Action.Code != 550 {
		t.Errorf("second message: %s", res.Action)
	}
	res, h := s.send("<>", fmt.Sprintf(mail, "bank.example"))
	if label := ours(t, h); !strings.Contains(label, "dmarc=pass") || quarantined(res) {
		t.Errorf("third message: %s", label)
	}
	if err := s.c.Quit(); err != nil {
		t.Fatal(err)
	}
	if len(seen.verdicts) != 3 {
		t.Errorf("%d verdicts", len(seen.verdicts))
	}
}

func TestTrust(t *testing.T) {
	const forged = "Authentication-Results: mx.example.jp; dmarc=pass\n"
	network := func(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }
	for _, tt := range []struct {
		name, ip, login string
		o               judge.Judge
		evaluated       bool
		fields          int // Authentication-Results left
	}{
		{"trusted network: untouched", "10.1.2.3", "", judge.Judge{Trusted: network}, false, 1},
		{"authenticated: not evaluated, but nobody writes results in our name", "203.0.113.1", "ann", judge.Judge{TrustAuthenticated: true}, false, 0},
		{"authenticated, but not trusted for it", "203.0.113.1", "ann", judge.Judge{}, true, 1},
		{"stranger", "203.0.113.1", "", judge.Judge{Trusted: network, TrustAuthenticated: true}, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, seen := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			s := open(t, addr, tt.ip, "h.example", client.PostfixOffer())
			if tt.login != "" {
				s.c.SetMacro("{auth_authen}", tt.login)
			}
			res, h := s.send("<x@evil.example>", forged+fmt.Sprintf(mail, "hobby.example"))
			if !res.Action.Delivers() {
				t.Fatalf("answer %s", res.Action)
			}
			if got := len(h.Values(authres.FieldName)); got != tt.fields {
				t.Errorf("%d Authentication-Results fields, want %d: %q", got, tt.fields, h)
			}
			if tt.evaluated != (len(seen.verdicts) == 1) || tt.evaluated == (len(seen.skipped) == 1) {
				t.Errorf("evaluated %d, skipped %d", len(seen.verdicts), len(seen.skipped))
			}
		})
	}
}

// atEnd is a session that says when end of message has come.
type atEnd struct {
	milter.Session
	came chan struct{}
}

func (s atEnd) EndOfMessage(ctx context.Context, m *milter.Modifier) milter.Reply {
	close(s.came)
	return s.Session.EndOfMessage(ctx, m)
}

// stuck answers nothing until its context ends.
type stuck struct{}

func (stuck) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ}
}

// TestDrainIsNoWayIn: a message whose evaluation the daemon's end cuts off has
// to come again; in monitor mode it passes.
func TestDrainIsNoWayIn(t *testing.T) {
	for _, tt := range []struct {
		mode policy.Mode
		code int
	}{{policy.Enforce, 451}, {policy.Monitor, 0}} {
		came := make(chan struct{})
		seen := &recorder{}
		o := Options{Observers: []Observer{seen}, Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(stuck{}, msgauth.Options{Budget: time.Minute}), Label: label.Settings{Names: label.Names{AuthServID: id}},
			Policy: policy.Config{Mode: tt.mode},
		}}
		server := milter.New(milter.Options{NewSession: func(c *milter.Conn) milter.Session { return atEnd{New(o).NewSession(c), came} }, ReplyAt: New(o).ReplyAt()})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(ln) }()
		s := open(t, ln.Addr().String(), "203.0.113.1", "h.example", client.PostfixOffer())
		down := make(chan struct{})
		go func() {
			defer close(down)
			<-came
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // the deadline has passed already
			_ = server.Shutdown(ctx)
		}()
		res, err := s.c.SendMessage(client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
		// The reply is sent before the connection is closed; ABORT may find it
		// closed.
		if res.Action.Code != tt.code || res.Action.Delivers() != (tt.code == 0) {
			t.Errorf("%s: answer %s, %v", tt.mode, res.Action, err)
		}
		<-down
	}
}

// bomb panics at one name.
type bomb struct{ dns.Resolver }

func (b bomb) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if strings.HasSuffix(string(name), "bank.example") {
		panic("boom")
	}
	return b.Resolver.Lookup(ctx, name, typ)
}

func TestOnPanic(t *testing.T) {
	if r := OnPanic(policy.Config{Mode: policy.Enforce}); r.Code() != 451 {
		t.Errorf("enforce: %s", r)
	}
	if r := OnPanic(policy.Config{Mode: policy.Monitor}); r != milter.Accept {
		t.Errorf("monitor mode acts: %s", r)
	}
}

// TestPanicCostsOneMessage: a bug in an evaluator is a temporary error of that
// message, never a reject, and the next one is judged.
func TestPanicCostsOneMessage(t *testing.T) {
	addr, _ := serve(t, bomb{nameserver.Zone(t, zoneText)}, judge.Judge{Policy: policy.Config{Reject: policy.RejectAlways}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	res, h := s.send("<x@evil.example>", fmt.Sprintf(mail, "bank.example"))
	if label := ours(t, h); !res.Action.Delivers() || !strings.Contains(label, "dmarc=temperror") {
		t.Errorf("answer %s, %s", res.Action, label)
	}
	if _, h := s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example")); !strings.Contains(ours(t, h), "dmarc=fail") {
		t.Error("the next message was not judged")
	}
}
