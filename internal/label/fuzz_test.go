package label

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/naive"
	"sekimori/internal/testkit/nameserver"
)

const fuzzZone = `
attacker.example          TXT "v=spf1 ip4:192.0.2.66 exists:%{l}.x.example -all"
xn--r8jz45g.example       TXT "v=spf1 ip4:192.0.2.66 -all"
66.2.0.192.in-addr.arpa   PTR mail.attacker.example
mail.attacker.example     A   192.0.2.66
_dmarc.attacker.example   TXT "v=DMARC1; p=none"
bank.example              TXT "v=spf1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
`

// FuzzLabel checks the fields that we write for any session, envelope, header and settings.
// A naive program, which knows neither quoted strings nor comments, must see exactly our
// results. Each value must parse as one field.
func FuzzLabel(f *testing.F) {
	signature := func(tags string) string {
		return "DKIM-Signature: v=1; a=rsa-sha256; d=attacker.example; s=s; h=from; bh=AAAA; b=AAAA=; " + tags + "\r\nFrom: a@bank.example\r\n\r\n"
	}
	for _, s := range []struct{ helo, from, raw string }{
		{"mail.attacker.example", "<a@attacker.example>", "From: a@bank.example\r\n\r\nx"},
		{"x; dmarc=pass", "<>", "From: a@bank.example\r\n\r\n"},
		{"[IPv6:2001:db8::1]", "<>", "From: a@b.example, c@d.example\r\n\r\n"},
		{"h.example", `<"; spf=pass"@attacker.example>`, "From: \"dmarc=pass\" <a;dkim=pass@bank.example>\r\n\r\n"},
		{"h.example", `<"\"; dkim=pass \\"@attacker.example>`, "\r\n"},
		{"h.example", "<用户@例え.example>", "From: 用户@例え.example\r\n\r\n"},
		{"例え.example", "<；spf＝pass@attacker.example>", "From: ；dmarc＝pass@例え.example\r\n\r\n"},
		{"h.example", "<a=b@attacker.example>", signature("i=; dmarc=pass@attacker.example")},
		{"h.example", "<a/b@attacker.example>", signature(`i="x=3B=20dmarc=3Dpass"@attacker.example`)},
		{"h.example", "<a@[192.0.2.1]>", signature("i=a.b@attacker.example") + strings.Repeat(signature("x"), 20)},
		{"h.example", "<" + strings.Repeat("x", 300) + "@attacker.example>", signature("i=用户@attacker.example")},
		{"h.example", "<a@attacker.example>", "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x; s=y; b=\"; arc=pass\r\nFrom: a@bank.example\r\n\r\n"},
	} {
		f.Add(s.helo, s.from, s.raw, true, true)
		f.Add(s.helo, s.from, s.raw, false, false)
	}
	verifier := msgauth.NewVerifier(nameserver.Zone(f, fuzzZone), msgauth.Options{Budget: time.Second})
	f.Fuzz(func(t *testing.T, helo, from, raw string, smtputf8, address bool) {
		e := judge(t, verifier, helo, from, raw, smtputf8)
		v := policy.Decide(e, policy.Config{})
		for _, style := range []Style{StyleOwn, StyleAuthMilt, StyleOpenDMARC, StyleRspamd} {
			o := Settings{Style: style}
			if address {
				o.MailFrom = MailFromAddress
			}
			text := Text(&o, id, e, v)
			for _, wrong := range naive.Check(text, said(t, e, style, text)) {
				t.Errorf("%s: %s:\n%q", style, wrong, text)
			}
			if field, err := authres.Parse(text); err != nil || field.AuthServID != id {
				t.Errorf("%q: %v", text, err)
			}
			checkReceived(t, receivedSPF(o.MailFrom, id, e))
		}
	})
}

// judge evaluates a message that comes from the attacker's IP address.
func judge(t *testing.T, verifier *msgauth.Verifier, helo, from, raw string, smtputf8 bool) *msgauth.Evaluation {
	session := msgauth.Session{Client: netip.MustParseAddr("192.0.2.66"), HELO: helo, ClientName: helo}
	envelope := msgauth.Envelope{MailFrom: from, SMTPUTF8: smtputf8, QueueID: helo, Recipients: []string{"<to@here.example>"}}
	connection := verifier.Connect(context.Background(), session)
	defer connection.Close()
	connection.Helo(helo)
	check := connection.Begin(session, envelope)
	defer check.Close()
	header, body := message.Parse([]byte(raw))
	check.EndOfHeader(header)
	if _, err := check.Write(body); err != nil {
		t.Fatal(err)
	}
	return check.Finish(context.Background(), envelope)
}

// said returns the results that a program must find in text, the value of the field. Those
// are the results of the evaluation, without the signatures that are left out because the
// field is long.
func said(t *testing.T, e *msgauth.Evaluation, style Style, text string) naive.Field {
	want := naive.Field{Results: []naive.Result{{Method: "spf", Value: string(e.MailFrom.Result)}}}
	utf8OK := internationalized(e)
	for i := range e.DKIM {
		want.Results = append(want.Results, naive.Result{Method: "dkim", Value: string(e.DKIM[i].Result)})
	}
	if len(e.DKIM) == 0 {
		want.Results = append(want.Results, naive.Result{Method: "dkim", Value: "none"})
	}
	if shown := strings.Count(text, "\r\n dkim="); shown < len(e.DKIM) {
		want.Results = want.Results[:1+shown] // results that are left out must not be "pass"; the attacker has no key
		for i := range e.DKIM {
			if e.DKIM[i].Result == "pass" {
				t.Error("a forged signature passes")
			}
		}
	}
	want.Results = append(want.Results, naive.Result{Method: "dmarc", Value: string(e.DMARC.Result)})
	want.Results = append(want.Results, naive.Result{Method: "arc", Value: string(e.ARC.Status)}, naive.Result{Method: "iprev", Value: string(e.IPRev.Status)})
	if style != StyleRspamd || e.DMARC.Result != "none" || e.FromError != nil {
		want.From = domainText(e.From.AuthorDomain, utf8OK)
	}
	return want
}

// checkReceived checks the name=value pairs of a Received-SPF field. A program that splits
// the field at every semicolon must see the same pairs.
func checkReceived(t *testing.T, text string) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	for i, pair := range strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\r\n", ""), ";") {
		pair = strings.TrimPrefix(strings.TrimSpace(pair), first+" ")
		name, value, found := strings.Cut(pair, "=")
		switch strings.TrimSpace(name) {
		case "receiver", "client-ip", "envelope-from", "helo", "identity", "mechanism", "problem":
			if !found || strings.ContainsAny(value, "=()\\ <>,\r\n") || strings.Count(value, `"`)%2 != 0 {
				t.Errorf("pair %d %q in %q", i, pair, text)
			}
		case "":
		default:
			t.Errorf("pair %d %q in %q", i, pair, text)
		}
	}
}
