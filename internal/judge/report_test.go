package judge

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/report/failure"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// TestMarks checks that a Decision says what the reports need to know of the header.
func TestMarks(t *testing.T) {
	marks := func(j *Judge) { j.Marks = &report.Marks{Spam: []report.SpamSign{{Name: "X-Spam"}}} }
	const subject = "Subject: Report Domain: shop.example Submitter: isp.example\n"
	for _, tt := range []struct {
		r           row
		about, spam bool
	}{
		{row{name: "neither", change: marks}, false, false},
		{row{name: "about reports", change: marks, header: subject}, true, false},
		{row{name: "spam", change: marks, header: "X-Spam: y\n"}, false, true},
		{row{name: "no store", header: subject + "X-Spam: y\n"}, false, false},
		{row{name: "not evaluated", change: marks, client: "127.0.0.1", header: subject + "X-Spam: y\n"}, false, false},
	} {
		c := tt.r.judge(t).Open(t.Context(), tt.r.message())
		if d := c.Finish(t.Context()); d.AboutReports != tt.about || d.Spam != tt.spam {
			t.Errorf("%s: about reports %v, spam %v", tt.r.name, d.AboutReports, d.Spam)
		}
	}
}

// TestIncident checks which messages may be told of in a failure report, and that the Decision has
// nothing of the recipients and the body.
func TestIncident(t *testing.T) {
	observe := func(j *Judge) {
		consent(j)
		j.Marks, j.Failures = &report.Marks{}, &failure.Options{AuthServID: "mx.here.example"}
	}
	const zone = `
_dmarc.bank.example  TXT "v=DMARC1; p=reject; ruf=mailto:f@bank.example"
bank.example         TXT "v=spf1 ip4:192.0.2.1 -all"
`
	bob := []string{"<bob@here.example>"}
	for _, tt := range []struct {
		r    row
		want bool
	}{
		{row{name: "fails", change: observe, to: bob}, true},
		{row{name: "monitored", change: func(j *Judge) { observe(j); j.Policy.Mode = policy.Monitor }, to: bob}, true},
		{row{name: "off", change: consent, to: bob}, false},
		{row{name: "passes", change: observe, client: "192.0.2.1", to: bob}, false},
		{row{name: "opted out", change: observe, to: []string{"<ann@here.example>"}}, false},
		{row{name: "mixed", change: observe, to: []string{"<bob@here.example>", "<ann@here.example>"}}, false},
		{row{name: "not evaluated", change: observe, client: "127.0.0.1", to: bob}, false},
		{row{name: "about reports", change: observe, to: bob, header: "Subject: Report Domain: shop.example Submitter: isp.example\n"}, false},
		{row{name: "oversize", change: observe, to: bob, header: strings.Repeat("X: y\n", 20)}, false},
		{row{name: "oversize, monitored", change: func(j *Judge) { observe(j); j.Policy.Mode = policy.Monitor }, to: bob, header: strings.Repeat("X: y\n", 20)}, false},
		{row{name: "put off", change: func(j *Judge) {
			observe(j)
			j.Policy.Rules = []policy.Rule{{ID: "r1", Then: policy.Outcome{Action: policy.TempFail}}}
		}, to: bob}, false},
	} {
		j := tt.r.judge(t)
		j.Verifier = msgauth.NewVerifier(nameserver.Zone(t, zone), msgauth.Options{LookAhead: true})
		d := j.Open(t.Context(), tt.r.message()).Finish(t.Context())
		if (d.Incident != nil) != tt.want {
			t.Errorf("%s: %s %s: %+v", tt.r.name, d.Verdict.Applied, d.Verdict.Reason, d.Incident)
		}
		if d.Incident != nil && strings.Contains(fmt.Sprint(*d.Incident), "bob") {
			t.Errorf("%s: a recipient in %+v", tt.r.name, *d.Incident)
		}
	}
}

// late is a resolver that answers one name late.
type late struct {
	dns.LookupOnly
	next  dns.Resolver
	name  dns.Name
	delay time.Duration
}

func (l late) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == l.name {
		select {
		case <-time.After(l.delay):
		case <-ctx.Done():
			return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
		}
	}
	return l.next.Lookup(ctx, name, typ)
}

// TestRowIsWhole checks the row of a message that passes by its signature, so that its reply does not
// wait for SPF.
func TestRowIsWhole(t *testing.T) {
	const zone = `
_dmarc.bank.example     TXT "v=DMARC1; p=reject; rua=mailto:d@bank.example"
bank.example            TXT "v=spf1 ip4:192.0.2.1 -all"
`
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signed := signer.DKIM(t, key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s1; h=From; bh=%BH; b=", "From: a@bank.example\r\n\r\nx\r\n")
	record := "s1._domainkey.bank.example TXT \"" + signer.Record(key.Public()) + "\"\n"
	for _, tt := range []struct {
		name       string
		delay      time.Duration
		store      bool
		to         string
		spf        report.SPFResult
		aligned    bool
		incomplete bool
	}{
		{"400 ms away", 400 * time.Millisecond, true, "<bob@here.example>", report.SPFResult{Domain: "bank.example", Result: "pass"}, true, false},
		{"never", time.Hour, true, "<bob@here.example>", report.SPFResult{Domain: "bank.example", Result: "temperror", Human: "not waited for"}, false, true},
		{"no store", 400 * time.Millisecond, false, "<bob@here.example>", report.SPFResult{Domain: "bank.example", Result: "temperror", Human: "not waited for"}, false, true},
		{"nobody agreed", 400 * time.Millisecond, true, "<ann@here.example>", report.SPFResult{}, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := row{change: func(j *Judge) {
				z := late{next: nameserver.Zone(t, zone+record), name: "bank.example", delay: tt.delay}
				j.Verifier = msgauth.NewVerifier(z, msgauth.Options{LookAhead: true})
				j.Whole = tt.store
				consent(j)
			}, client: "192.0.2.1", to: []string{tt.to}}
			m := r.message()
			header, body := message.Parse([]byte(signed))
			m.Header = header
			begin := time.Now()
			c := r.judge(t).Open(t.Context(), m)
			c.Write(body)
			d := c.Finish(t.Context())
			if took := time.Since(begin); took != msgauth.DefaultGrace {
				t.Errorf("%s: the reply took %v", tt.name, took)
			}
			if d.Evaluation.MailFrom.Result != spf.TempError || d.Verdict.Action != policy.Accept {
				t.Errorf("%s: spf %s, verdict %s", tt.name, d.Evaluation.MailFrom.Result, d.Verdict.Action)
			}
			if (d.Whole != nil) != (tt.store && tt.spf.Result != "") {
				t.Fatalf("%s: whole is %v", tt.name, d.Whole)
			}
			e := d.Evaluation
			if d.Whole != nil {
				e = d.Whole.Wait(t.Context())
			}
			o, ok := report.Observe(e, d.Verdict, report.Options{})
			if ok != (tt.spf.Result != "") || o.Row.AuthSPF != tt.spf || o.Row.SPF != tt.aligned || o.Incomplete != tt.incomplete {
				t.Errorf("%s: row %v: %+v", tt.name, ok, o)
			}
			if d.Evaluation.MailFrom.Result != spf.TempError || d.Evaluation.DMARC.AlignedSPF {
				t.Errorf("%s: the Evaluation of the reply changed", tt.name)
			}
		})
	}
}
