package attack

import (
	"strings"
	"testing"

	"sekimori/internal/config"
)

// explanations are texts that a hostile domain publishes as the explanation of its SPF record
// (exp=).
var explanations = []struct{ why, zone string }{
	{"honest", `x.e.example TXT "See http://e.example/why?s=%{S};i=%{I}"`},
	{"a reply of its own", `x.e.example TXT "no\013\010250 2.0.0 OK"`},
	{"line feed", `x.e.example TXT "no\010250 OK"`},
	{"NUL", `x.e.example TXT "no\000yes"`},
	{"8-bit octets", `x.e.example TXT "no \195\169"`},
	{"format characters", `x.e.example TXT "%%s%%n%%d"`},
	{"a field", `x.e.example TXT "x\013\010Authentication-Results: mx.here.example; dmarc=pass"`},
	{"results", `x.e.example TXT "x; dmarc=pass header.from=bank.example"`},
	{"quotes and parentheses", `x.e.example TXT "\"(\\"`},
	{"60 KiB", "x.e.example TXT " + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 240)},
	{"macro bomb", `x.e.example TXT "` + strings.Repeat("%{l}%{s}%{d}%{h}", 15) + `"`},
	{"%{p} in an explanation", `x.e.example TXT "%{p}%{p}%{p}"`},
	{"unfinished macro", `x.e.example TXT "%{"`},
	{"unknown macro", `x.e.example TXT "%{z}"`},
	{"two texts", "x.e.example TXT \"one\"\nx.e.example TXT \"two\""},
	{"no text", ""},
	{"the client's words", `x.e.example TXT "%{h} %{l}"`},
	{"CNAME to itself", `x.e.example CNAME x.e.example`},
}

// TestExplanations checks that the explanation of a hostile domain changes neither the results nor
// the reply code. send checks that the reply is still a single line of printable ASCII.
func TestExplanations(t *testing.T) {
	for _, c := range explanations {
		t.Run(c.why, func(t *testing.T) {
			d := start(t, "e.example TXT \"v=spf1 -all exp=x.e.example\"\n"+c.zone+"\n",
				func(c *config.Config) { c.Policy.SPFFail, c.Headers.ReceivedSPF = "reject", true })
			for _, helo := range []string{"[192.0.2.66]", "x\r\n250 OK", "%s%{l}"} {
				d.expect(t, attempt{helo: helo, mailFrom: "<\"%s\r\n250 OK\"@e.example>", from: []string{" a@e.example"}},
					"accept spf=none dkim=none dmarc=none from=e.example")
				o := d.expect(t, attempt{helo: helo, mailFrom: "<%s%n@e.example>", from: []string{" a@e.example"}},
					"reject spf=fail dkim=none dmarc=none from=e.example")
				if !strings.HasPrefix(o.reply, "5.7.23 ") {
					t.Errorf("reply %q", o.reply)
				}
			}
		})
	}
}

// TestExplanationBomb checks that exp= in an included record is ignored, and that a record with two
// exp= has a permanent error (RFC 7208 §6).
func TestExplanationBomb(t *testing.T) {
	d := start(t, `
e.example     TXT "v=spf1 include:i.e.example -all exp=x.e.example exp=y.e.example"
f.example     TXT "v=spf1 include:i.e.example -all"
i.e.example   TXT "v=spf1 -all exp=z.e.example"
z.e.example   TXT "zzz"
`)
	a := attempt{mailFrom: "<x@e.example>", helo: "[192.0.2.66]", from: []string{" a@e.example"}, queries: 8}
	d.expect(t, a, "accept spf=permerror dkim=none dmarc=none from=e.example")
	a.mailFrom = "<x@f.example>"
	o := d.expect(t, a, "accept spf=fail dkim=none dmarc=none from=e.example")
	for _, q := range o.asked {
		if strings.HasPrefix(q, "z.") {
			t.Errorf("the explanation of an included record was asked for: %q", o.asked)
		}
	}
}
