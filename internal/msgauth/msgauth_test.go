package msgauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

const zoneText = `
bank.example          TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example   TXT "v=DMARC1; p=reject"
mx.bank.example       A   192.0.2.1
mx.bank.example       TXT "v=spf1 a -all"
1.2.0.192.in-addr.arpa PTR mx.bank.example.
`

var client = netip.MustParseAddr("192.0.2.1")

// evaluate runs one message through v and returns its Evaluation.
func evaluate(t *testing.T, v *Verifier, from, raw string) *Evaluation {
	t.Helper()
	c := v.Connect(t.Context(), Session{Client: client})
	defer c.Close()
	c.Helo("mx.bank.example")
	env := Envelope{MailFrom: from, Recipients: []string{"<r@here.example>"}, QueueID: "4Q"}
	m := c.Begin(Session{TLSVersion: "TLSv1.3"}, env)
	defer m.Close()
	h, body := message.Parse([]byte(raw))
	m.EndOfHeader(h)
	if _, err := m.Write(body); err != nil {
		t.Fatal(err)
	}
	return m.Finish(t.Context(), env)
}

const hello = "From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"

func TestEvaluation(t *testing.T) {
	v := NewVerifier(nameserver.Zone(t, zoneText), Options{})
	e := evaluate(t, v, "<a@bank.example>", hello)
	if e.MailFrom.Result != spf.Pass || e.HELO.Result != spf.Pass || e.IPRev.Status != iprev.Pass || e.DMARC.Result != dmarc.ResultPass || !e.DMARC.AlignedSPF {
		t.Errorf("results: %s %s %s %s", e.MailFrom.Result, e.HELO.Result, e.IPRev.Status, e.DMARC.Result)
	}
	if e.Session.Client != client || e.Session.HELO != "mx.bank.example" || e.Session.TLSVersion != "TLSv1.3" || e.Envelope.QueueID != "4Q" {
		t.Errorf("facts of session and envelope: %+v %+v", e.Session, e.Envelope)
	}
	if want := int64(len(hello) - len("\r\n")); e.Envelope.Size != want {
		t.Errorf("size %d, want %d", e.Envelope.Size, want)
	}
	if e.Lookups() == 0 || e.Cost[SPF].Lookups != 3 || e.Cost[IPRev].Lookups != 2 {
		t.Errorf("cost: %+v", e.Cost)
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"author_domain":"bank.example"`, `"spf_mailfrom":{"identity":"mailfrom","result":"pass"`, `"dmarc":{"result":"pass"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("JSON lacks %s", want)
		}
	}
}

// TestConnectionCountedOnce: the lookups of the connection count with its first message, not with
// its second.
func TestConnectionCountedOnce(t *testing.T) {
	v := NewVerifier(nameserver.Zone(t, zoneText), Options{})
	c := v.Connect(t.Context(), Session{Client: client})
	defer c.Close()
	c.Helo("mx.bank.example")
	// SPF: the record and the host of HELO with the first message, and the record of MAIL FROM with each.
	checks := []int{3, 1}
	for i, want := range []int{2, 0} {
		m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
		m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
		e := m.Finish(t.Context(), Envelope{})
		m.Close()
		if e.Cost[IPRev].Lookups != want || e.IPRev.Status != iprev.Pass {
			t.Errorf("message %d: %d lookups for iprev, want %d; %s", i+1, e.Cost[IPRev].Lookups, want, e.IPRev.Status)
		}
		if got := e.Cost[SPF].Lookups; got != checks[i] {
			t.Errorf("message %d: %d lookups for SPF, want %d", i+1, got, checks[i])
		}
	}
}

// silent is a resolver that never answers. Its Lookup returns when the context ends.
type silent struct{ dns.LookupOnly }

func (silent) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
}

// deaf is a resolver that ignores its context and fails after an hour.
type deaf struct{ dns.LookupOnly }

func (deaf) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	time.Sleep(time.Hour)
	return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ}
}

// TestBudget: whatever the resolver does, the end of the message waits no longer than the budget,
// and the missing results are temporary errors.
func TestBudget(t *testing.T) {
	const signature = "DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s1; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
	for name, r := range map[string]dns.Resolver{"silent": silent{}, "deaf": deaf{}} {
		synctest.Test(t, func(t *testing.T) {
			v := NewVerifier(r, Options{Budget: 3 * time.Second})
			begin := time.Now()
			e := evaluate(t, v, "<a@bank.example>", signature+hello)
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("%s: end of message waited %v", name, took)
			}
			if e.DMARC.Result != dmarc.ResultTempError || e.MailFrom.Result != spf.TempError || e.IPRev.Status != iprev.TempError {
				t.Errorf("%s: dmarc %s, spf %s, iprev %s", name, e.DMARC.Result, e.MailFrom.Result, e.IPRev.Status)
			}
			late := dmarc.DNSError{Kind: dns.KindTimeout.String(), Name: "_dmarc.bank.example", Type: dns.TypeTXT, Detail: outOfTime}
			if d := e.DMARC; name == "deaf" && (d.Reason != dmarc.ReasonPolicyError || d.DNSError == nil || *d.DNSError != late) {
				t.Errorf("%s: dmarc %s %+v", name, d.Reason, d.DNSError)
			}
			time.Sleep(2 * time.Hour) // also the lookups of deaf end now
		})
	}
}

// hole is a resolver that never answers for names at or below one domain.
type hole struct {
	dns.LookupOnly
	next  dns.Resolver
	under dns.Name
}

func (h hole) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name.Under(h.under) {
		return silent{}.Lookup(ctx, name, typ)
	}
	return h.next.Lookup(ctx, name, typ)
}

// TestSilentKeyIsNoWayOut: a spoofer's signature names a key that never arrives. The wait for this
// key does not use up the time that DMARC needs to find that the signature's domain does not align.
func TestSilentKeyIsNoWayOut(t *testing.T) {
	const signature = "DKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=s1; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(hole{next: nameserver.Zone(t, zoneText), under: "evil.example"}, Options{Budget: 10 * time.Second})
		begin := time.Now()
		e := evaluate(t, v, "<x@evil.example>", signature+hello)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("end of message waited %v", took)
		}
		if e.DMARC.Result != dmarc.ResultFail {
			t.Errorf("dmarc %s %s", e.DMARC.Result, e.DMARC.Reason)
		}
	})
}

// TestShownOnlyResultsDoNotHoldUp: if the servers of the reverse zone or of the HELO domain are
// silent, a message that passes DMARC waits only for about the time of Options.Grace.
func TestShownOnlyResultsDoNotHoldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, zoneText)
		for _, r := range []dns.Resolver{hole{next: z, under: "in-addr.arpa"}, hole{next: z, under: "mx.bank.example"}} {
			begin := time.Now()
			e := evaluate(t, NewVerifier(r, Options{}), "<a@bank.example>", hello)
			if took := time.Since(begin); e.DMARC.Result != dmarc.ResultPass || took > 2*DefaultGrace {
				t.Errorf("dmarc %s after %v", e.DMARC.Result, took)
			}
		}
	})
}

// TestGreetings: a new HELO ends the check of the previous one.
func TestGreetings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		v := NewVerifier(counting{open: &open}, Options{})
		c := v.Connect(t.Context(), Session{Client: client})
		defer c.Close()
		for i := range 100 {
			c.Helo(fmt.Sprintf("h%d.example", i))
			synctest.Wait()
		}
		if n := open.Load(); n > 2 { // one of iprev, one of the last HELO
			t.Errorf("%d lookups are open", n)
		}
	})
}

// counting is a resolver that never answers and counts the lookups that wait.
type counting struct {
	dns.LookupOnly
	open *atomic.Int64
}

func (c counting) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	c.open.Add(1)
	defer c.open.Add(-1)
	return silent{}.Lookup(ctx, name, typ)
}

// TestBodySlowerThanBudget: the budget bounds only the waiting for DNS. A message whose body takes
// longer to arrive still gets its answers.
func TestBodySlowerThanBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(nameserver.Zone(t, zoneText+"_dmarc.sub.bank.example TXT \"v=DMARC1; p=reject\"\n"), Options{Budget: time.Second})
		c := v.Connect(t.Context(), Session{Client: client})
		defer c.Close()
		c.Helo("mx.bank.example")
		m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
		defer m.Close()
		m.EndOfHeader(message.Header{{Name: "From", Value: " a@sub.bank.example"}})
		time.Sleep(time.Minute)
		if e := m.Finish(t.Context(), Envelope{}); e.DMARC.Result != dmarc.ResultPass {
			t.Errorf("dmarc %s %s", e.DMARC.Result, e.DMARC.Reason)
		}
	})
}

// bomb is a resolver that panics when it is asked for typ at name, or at any name if name is "".
type bomb struct {
	dns.LookupOnly
	next dns.Resolver
	typ  dns.Type
	name dns.Name
}

func (b bomb) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if typ == b.typ && (b.name == "" || b.name == name) {
		panic("boom")
	}
	return b.next.Lookup(ctx, name, typ)
}

func TestPanics(t *testing.T) {
	r := nameserver.Zone(t, zoneText)
	for _, tt := range []struct {
		name      string
		r         dns.Resolver
		component Mechanism
		dmarc     dmarc.Result
		null      bool
	}{
		{"iprev: no other result changes", bomb{next: r, typ: dns.TypePTR, name: ""}, IPRev, dmarc.ResultPass, false},
		{"SPF: the identifier might have passed", bomb{next: r, typ: dns.TypeTXT, name: "bank.example"}, SPF, dmarc.ResultTempError, false},
		{"SPF of the null sender: HELO's domain might have passed", bomb{next: r, typ: dns.TypeTXT, name: "mx.bank.example"}, SPF, dmarc.ResultTempError, true},
		{"DMARC: the policy is not known", bomb{next: r, typ: dns.TypeTXT, name: "_dmarc.bank.example"}, DMARC, dmarc.ResultTempError, false},
	} {
		from := "<a@bank.example>"
		if tt.null {
			from = "<>"
		}
		e := evaluate(t, NewVerifier(tt.r, Options{}), from, hello)
		if e.DMARC.Result != tt.dmarc {
			t.Errorf("%s: dmarc=%s", tt.name, e.DMARC.Result)
		}
		found := false
		for _, p := range e.Panics {
			found = found || (p.Component == tt.component && p.Value == "boom" && strings.Contains(p.Stack, "bomb"))
		}
		if !found {
			t.Errorf("%s: panics %+v", tt.name, e.Panics)
		}
	}
}

// TestNoAuthor: for a message without an author, DMARC looks nothing up.
func TestNoAuthor(t *testing.T) {
	z := nameserver.Zone(t, zoneText)
	var e *Evaluation
	synctest.Test(t, func(t *testing.T) {
		e = evaluate(t, NewVerifier(z, Options{}), "<a@bank.example>", "Subject: s\r\n\r\n")
		synctest.Wait() // the lookups are made in goroutines
	})
	if e.FromError == nil || e.FromError.Kind != author.KindMissing || e.DMARC.Result != dmarc.ResultPermError {
		t.Errorf("from error %v, dmarc %s", e.FromError, e.DMARC.Result)
	}
	for _, q := range z.Queries() {
		if strings.HasPrefix(q, "_dmarc") {
			t.Errorf("asked %s", q)
		}
	}
}

// TestMalformedReturnPath: SPF's result for a malformed return path is none (RFC 7208 §4.3).
func TestMalformedReturnPath(t *testing.T) {
	e := evaluate(t, NewVerifier(nameserver.Zone(t, zoneText), Options{}), "<a b@@bank.example>", hello)
	if e.MailFrom.Result != spf.None || e.MailFrom.Identity != spf.MailFrom || e.DMARC.Result != dmarc.ResultFail {
		t.Errorf("spf of %s %s, dmarc %s", e.MailFrom.Identity, e.MailFrom.Result, e.DMARC.Result)
	}
}

// TestCloseAfterPanic: after a panic in EndOfHeader, only this message is lost. Write and Close
// must not panic as well, because that would end the connection.
func TestCloseAfterPanic(t *testing.T) {
	broken := false
	v := NewVerifier(nameserver.Zone(t, zoneText), Options{Now: func() time.Time {
		if broken {
			panic("boom")
		}
		return time.Now()
	}})
	c := v.Connect(t.Context(), Session{Client: client})
	defer c.Close()
	m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
	broken = true
	func() {
		defer func() {
			if recover() == nil {
				t.Error("EndOfHeader did not panic")
			}
		}()
		m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
	}()
	if _, err := m.Write([]byte("x\r\n")); err != nil {
		t.Error(err)
	}
	m.Close()
}

// TestUnknown checks which clients cannot be identified.
func TestUnknown(t *testing.T) {
	for client, want := range map[netip.Addr]bool{
		{}: true, netip.MustParseAddr("10.0.0.1"): true, netip.MustParseAddr("192.0.2.1"): false, netip.MustParseAddr("2001:db8::1"): false,
	} {
		if got := (Session{Client: client}).Unknown(); got != want {
			t.Errorf("%v: %t", client, got)
		}
	}
}

// TestPanicked checks that only a task that has ended by a panic counts as one that panicked.
func TestPanicked(t *testing.T) {
	for why, tt := range map[string]struct {
		task *task[int]
		want bool
	}{
		"ended":                     {&task[int]{}, false},
		"ended by a panic":          {&task[int]{panic: &Panic{}}, true},
		"runs":                      {&task[int]{done: make(chan struct{})}, false},
		"panics, but has not ended": {&task[int]{done: make(chan struct{}), panic: &Panic{}}, false},
	} {
		if got := tt.task.panicked(); got != tt.want {
			t.Errorf("%s: %t", why, got)
		}
	}
}

// TestDefaults checks what is set in the place of a zero option, and that other options stay.
func TestDefaults(t *testing.T) {
	cache := dkim.NewCache()
	for _, tt := range []struct{ given, want Options }{
		{Options{}, Options{Budget: DefaultBudget, Grace: DefaultGrace}},
		{Options{Budget: -1, Grace: -1}, Options{Budget: DefaultBudget, Grace: 0}},
		{Options{Budget: 1, Grace: 1, DKIM: dkim.Options{Cache: cache}}, Options{Budget: 1, Grace: 1, DKIM: dkim.Options{Cache: cache}}},
	} {
		got := NewVerifier(nameserver.Zone(t, ""), tt.given).o
		if got.Budget != tt.want.Budget || got.Grace != tt.want.Grace || got.DKIM.Cache == nil || got.Now == nil || tt.want.DKIM.Cache != nil && got.DKIM.Cache != cache {
			t.Errorf("%+v: %+v", tt.given, got)
		}
	}
}

// TestReserve checks the part of the budget that is set aside for alignment.
func TestReserve(t *testing.T) {
	for budget, want := range map[time.Duration]time.Duration{time.Second: time.Second / 4, 4 * maxReserve: maxReserve, time.Hour: maxReserve} {
		if got := NewVerifier(nameserver.Zone(t, ""), Options{Budget: budget}).reserve(); got != want {
			t.Errorf("%v of %v", got, budget)
		}
	}
}
